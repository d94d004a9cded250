"""A golb's life: what comes of each signal, with the rest of golb left out. The signals are real, and go to the tests' own process."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import Factory, define
from structlog.testing import capture_logs
from support.stack import BOUND_S, make_config
from trio.testing import wait_all_tasks_blocked

from golb.service.life import Life

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

STORM = 20
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Whatever a life leaves unheeded harms the tests' own process as little as what it sets."""
    before = [signal.signal(number, lambda *_: None) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@define
class Living:
    """What a life is told, and what has come of it. Its drain and its reloads take until they are let go on."""

    reloads: int = 0
    drains: int = 0
    may_reload: trio.Event = Factory(trio.Event)
    may_end: trio.Event = Factory(trio.Event)
    ended: trio.Event = Factory(trio.Event)
    """It has been ended at once."""

    async def reload(self) -> None:
        self.reloads += 1
        await self.may_reload.wait()

    async def drain(self, *, for_successor: bool) -> None:
        assert not for_successor
        self.drains += 1
        await self.may_end.wait()

    async def hears(self, number: int) -> None:
        """Send it a signal, and return when it has done with it what it can."""
        os.kill(os.getpid(), number)
        await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()


@asynccontextmanager
async def living() -> AsyncIterator[Living]:
    """Run one that serves."""
    around = Living()
    life = Life(make_config(), {}, drain=around.drain, reload=around.reload, sockets=dict)
    life.begin()
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(run, life, around))
            yield around
            nursery.cancel_scope.cancel()


async def run(life: Life, around: Living, task_status: trio.TaskStatus[None]) -> None:
    with trio.CancelScope() as service:
        await life.run(service, task_status=task_status)
    around.ended.set()


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110 - a signal has no event
        await trio.sleep(0.002)


async def test_hangups_that_come_while_one_is_heeded_are_one_more_reload() -> None:
    async with living() as around:
        await around.hears(signal.SIGHUP)
        await until(lambda: around.reloads == 1)
        for _ in range(STORM):
            await around.hears(signal.SIGHUP)
        assert around.reloads == 1
        around.may_reload.set()
        await until(lambda: around.reloads == 2)
        await wait_all_tasks_blocked()
        assert around.reloads == 2
        await around.hears(signal.SIGHUP)  # and none of it is forgotten
        await until(lambda: around.reloads == 3)


async def test_one_that_drains_does_not_reload_and_says_so() -> None:
    async with living() as around:
        await around.hears(signal.SIGTERM)
        await until(lambda: around.drains)
        with capture_logs() as logs:
            await around.hears(signal.SIGHUP)
            await until(lambda: logs)
        assert logs == [{"event": "not reloaded, golb is stopping", "log_level": "warning"}]
        assert around.reloads == 0


async def test_a_second_signal_to_stop_does_not_wait_for_what_the_first_one_has_begun() -> None:
    async with living() as around:
        await around.hears(signal.SIGTERM)
        await until(lambda: around.drains)
        await around.hears(signal.SIGINT)
        await around.ended.wait()
        assert around.drains == 1


async def test_one_that_has_ended_does_not_die_by_a_signal_to_go_on_with() -> None:
    async with living():
        pass
    for number in (signal.SIGHUP, signal.SIGUSR2):
        assert signal.getsignal(number) == signal.SIG_IGN


async def test_a_reload_that_takes_long_keeps_no_signal_from_being_heeded() -> None:
    async with living() as around:
        await around.hears(signal.SIGHUP)
        await until(lambda: around.reloads == 1)
        await around.hears(signal.SIGTERM)
        await until(lambda: around.drains)

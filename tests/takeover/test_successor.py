"""A running golb starts its successor: the new one serves, or the old one goes on."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio
from support.stack import BOUND_S
from takeover.running import HOST, descriptors, running

from golb.takeover import giving as module
from golb.takeover import start_successor

if TYPE_CHECKING:
    import pytest
    from takeover.running import Running

PROGRAM = Path(__file__).with_name("small_successor.py")


async def start(old: Running, behaviour: str, program: str = sys.executable) -> bool:
    with trio.fail_after(BOUND_S):
        return await start_successor([program, "-I", "-S", str(PROGRAM), behaviour], os.environ, old.giver)


async def end(process: trio.Process | None) -> None:
    assert process is not None
    process.kill()
    await process.wait()


async def test_a_successor_serves_at_the_same_port() -> None:
    with running() as old:
        with socket.create_connection((HOST, old.port)) as early:
            assert await start(old, "serves")
            assert old.stops == 1
            with socket.create_connection((HOST, old.port)) as late:
                assert [early.recv(10), late.recv(10)] == [b"new", b"new"]
        await end(old.giver.successor)


async def test_where_the_successor_fails_the_old_one_goes_on_and_the_next_one_is_tried() -> None:
    with running() as old:
        before = descriptors()
        with structlog.testing.capture_logs() as logs:
            assert not await start(old, "dies")
        assert (logs[-1]["event"], logs[-1]["exit"]) == ("successor failed", 3)
        assert old.giver.successor is None
        assert old.stops == 0
        assert descriptors() == before
        assert await start(old, "serves")
        await end(old.giver.successor)


async def test_a_successor_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(module, "_END_TIMEOUT_S", 0.05)
    with running() as old:
        before = descriptors()
        with structlog.testing.capture_logs() as logs:
            assert not await start(old, "hangs")
        assert logs[-1]["exit"] == -9
        assert old.stops == 0
        assert descriptors() == before


async def test_a_successor_that_cannot_be_started_changes_nothing() -> None:
    with running() as old:
        before = descriptors()
        with structlog.testing.capture_logs() as logs:
            assert not await start(old, "serves", program="/nowhere")
        assert logs[-1]["event"] == "successor cannot be started"
        assert descriptors() == before
        assert await start(old, "serves")
        await end(old.giver.successor)


async def test_two_successors_at_once_are_one() -> None:
    with running() as old:
        results: list[bool] = []

        async def replace() -> None:
            results.append(await start(old, "serves"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(replace)
            nursery.start_soon(replace)
        assert sorted(results) == [False, True]
        assert old.stops == 1
        await end(old.giver.successor)


async def test_an_old_one_that_has_stopped_for_a_successor_that_is_gone_ends_too() -> None:
    with running() as old:
        with structlog.testing.capture_logs() as logs:
            assert await start(old, "dies_ready")
        assert old.stops == 1
        await end(old.giver.successor)
        assert {line["event"] for line in logs} >= {"is to be taken over", "successor started"}


async def test_of_a_successor_that_is_gone_nobody_says_that_it_serves() -> None:
    with running() as old:

        async def stop() -> None:
            assert old.giver.successor is not None
            await old.giver.successor.wait()

        old.giver = module.Giver(lambda: {old.place: old.listeners}, stop)
        with structlog.testing.capture_logs() as logs:
            assert await start(old, "dies_ready")
        assert [line["event"] for line in logs][-1].startswith("the new one is gone")

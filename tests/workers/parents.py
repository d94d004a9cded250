"""A parent with one worker, whose processes are `small_worker.py`."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import Factory, define
from support.stack import BOUND_S

from golb.updaters import Broadcaster, InForce
from golb.weights import Endpoint, Weights, WeightUpdate
from golb.workers.place import Place
from golb.workers.worker import Surroundings, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROGRAM = Path(__file__).with_name("small_worker.py")
POD = Endpoint("10.42.0.5", 8080)


def put(function: str, revision: int) -> WeightUpdate:
    return WeightUpdate(function, Weights({POD: revision}), revision)


@define
class Parent:
    command: list[str]
    """What starts a process; see `small_worker.py`."""
    descriptors: tuple[int, ...] = ()
    """That they inherit, as if these were listening sockets."""
    revision: int = 0
    """The newest one that has been published."""
    ends: int = 0
    """How many of them have ended, or could not be started."""
    serving: list[int] = Factory(list)
    """Of which worker it was told that it serves."""
    away: list[int] = Factory(list)
    """Of which worker it was told that it does not any more."""
    printed: str = ""
    errors: str = ""
    broadcaster: Broadcaster = Factory(Broadcaster)
    in_force: InForce = Factory(lambda self: InForce(lambda: self.revision), takes_self=True)
    worker: Worker = Factory(lambda self: self._make_worker(), takes_self=True)
    _told: tuple[trio.MemorySendChannel[dict[str, Any]], trio.MemoryReceiveChannel[dict[str, Any]]] = Factory(
        lambda: trio.open_memory_channel[dict[str, Any]](1000)
    )

    def _make_worker(self) -> Worker:
        surroundings = Surroundings(
            command=self.command,
            environ=lambda: os.environ,
            subscribe=self.broadcaster.subscribe,
            taker=self.in_force.taker,
            print_output=self._print,
            print_errors=self._print_error,
            on_serving=self.serving.append,
            on_away=self.away.append,
            on_health=lambda index, told: self._told[0].send_nowait({**told, "by": index}),
        )
        return Worker(3, self._place, surroundings, on_end=self._note_end)

    def publish(self, *updates: WeightUpdate) -> None:
        self.revision = max((update.revision for update in updates), default=self.revision)
        self.in_force.published()
        self.broadcaster.publish(updates)

    async def told(self, key: str) -> Any:
        """Return what a process tells next under a key."""
        while True:
            told = await self._told[1].receive()
            if key in told:
                return told[key]

    def close(self) -> None:
        for end in self._told:
            end.close()

    def _place(self, link: int) -> Place:
        return Place(index=3, of=4, link=link, listeners=self.descriptors, inbox=link, outboxes=(), counts=link)

    async def _print(self, text: str) -> None:
        self.printed += text

    async def _print_error(self, text: str) -> None:
        self.errors += text

    def _note_end(self) -> None:
        self.ends += 1


@asynccontextmanager
async def running_worker(
    behaviour: str = "serves", *, program: str = sys.executable, descriptors: tuple[int, ...] = ()
) -> AsyncIterator[Parent]:
    """Run a worker that may serve, and whose table has the function f; cancelled at the end."""
    parent = Parent([program, "-I", "-S", str(PROGRAM), behaviour], descriptors)
    parent.publish(put("f", 1))
    parent.worker.let_serve()
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parent.worker.run)
            yield parent
            nursery.cancel_scope.cancel()
    parent.close()

"""What a parent says to one process of a worker, from its start to its end: weights, whether it may serve, questions, and whether it is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import trio

from golb.workers.link import LinkLost
from golb.workers.questions import Questions
from golb.workers.updates import in_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from golb.weights import WeightUpdate
    from golb.workers.link import Link

# Whether it is alive, it is asked in the loop that serves its requests.
_ASK_EVERY_S = 1.0
_ANSWER_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 5.0
"""So long may a process take to read a message that is sent to it."""
# Where the whole machine stood still, deadlines are over before anybody could have answered: time for that.
_SECOND_CHANCE_S = 1.0
# Python and its packages are read, and perhaps compiled, from a slow disk by a slow processor.
_START_TIMEOUT_S = 60.0
# Where there is no table to be had, it shall tell its clients so.
_TABLE_TIMEOUT_S = 2.0


class Batches(Protocol):
    """What a broadcaster's subscriber gets."""

    async def receive(self) -> Mapping[str, WeightUpdate]:
        """Return the newest update of each function that has one; the first batch is the whole table."""


class Taker(Protocol):
    """A worker's part in which weights are in force; see `golb.updaters.InForce`."""

    def take(self) -> None:
        """Take note that all updates published so far are being handed over."""

    def hand_over(self) -> None:
        """Take note that the worker has them."""

    def leave(self) -> None:
        """Count no more."""


class Conversation:
    """The parent's side.

    Args:
        link: to the process.
        on_table: called when the process has the whole table.
        on_serving: called when it accepts requests.
        on_draining: called when it accepts no more.
        on_health: told of endpoints that begin to rest in it, or serve again.
    """

    def __init__(
        self,
        link: Link,
        *,
        on_table: Callable[[], object],
        on_serving: Callable[[], object],
        on_draining: Callable[[], object],
        on_health: Callable[[dict[str, Any]], object],
    ) -> None:
        self._link = link
        self._on_table = on_table
        self._on_serving = on_serving
        self._on_draining = on_draining
        self._on_health = on_health
        self._alive = trio.Event()
        self._taken = trio.Event()
        self._has_started = trio.Event()
        self._is_fed = trio.Event()
        self._has_table = trio.Event()
        self.questions = Questions(link)
        self.serves = False
        """Whether the process accepts requests."""

    async def run(
        self,
        subscribe: Callable[[], AbstractContextManager[Batches]],
        taker: Taker,
        may_serve: trio.Event,
    ) -> float:
        """Go on until the process has not answered for too long; return for how many seconds.

        Args:
            subscribe: to the weights.
            taker: of these.
            may_serve: once it is set, the process is let.

        Raises:
            LinkLost: it is gone, or does not read.
        """
        silent_s, lost = 0.0, ""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                nursery.start_soon(self._feed, subscribe, taker)
                nursery.start_soon(self._let_serve, may_serve)
                silent_s = await self._watch()
                nursery.cancel_scope.cancel()
        except* LinkLost as group:
            lost = str(group.exceptions[0])
        finally:
            taker.leave()
            self.questions.close()
        if lost:
            raise LinkLost(lost)
        return silent_s

    async def _listen(self) -> NoReturn:
        while True:
            match await self._link.receive():
                case {"alive": _}:
                    self._alive.set()
                    self._has_started.set()
                case {"taken": _}:
                    self._taken.set()
                case {"serves": _}:
                    self.serves = True
                    self._on_serving()
                case {"drains": _}:
                    self.serves = False
                    self._on_draining()
                case {"health": health}:
                    self._on_health(health)
                case {"to": _} as message:
                    self.questions.take(message)

    async def _feed(self, subscribe: Callable[[], AbstractContextManager[Batches]], taker: Taker) -> NoReturn:
        """Send the weights; what changes before the last ones have been taken is sent together."""
        with subscribe() as batches:
            await self._has_started.wait()  # before, it reads nothing, and a table does not fit into a socket
            while True:
                batch = await batches.receive()
                self._is_fed.set()
                taker.take()
                self._taken = trio.Event()
                for rows, is_last in in_messages(batch.values()):
                    await self._link.send({"weights": rows, "of": len(batch), "last": is_last})
                await self._taken.wait()
                taker.hand_over()
                self._has_table.set()
                self._on_table()

    async def _let_serve(self, may_serve: trio.Event) -> None:
        await may_serve.wait()
        await self._has_started.wait()
        with trio.move_on_after(_TABLE_TIMEOUT_S):
            await self._is_fed.wait()
        if self._is_fed.is_set():  # with a part of the table it would refuse what it could serve a moment later
            await self._has_table.wait()
        await self._link.send({"serve": True})

    async def _watch(self) -> float:
        """Return when the process has not answered for too long: after how many seconds."""
        timeout_s = _START_TIMEOUT_S
        while True:
            self._alive = trio.Event()
            await self._link.send({"ask_alive": True})
            for at_most_s in (timeout_s, _SECOND_CHANCE_S):
                with trio.move_on_after(at_most_s):
                    await self._alive.wait()
            if not self._alive.is_set():
                return timeout_s + _SECOND_CHANCE_S
            timeout_s = _ANSWER_TIMEOUT_S
            await trio.sleep(_ASK_EVERY_S)

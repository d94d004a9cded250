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
_ASK_EVERY_S = 0.5
# One that has only much to do answers within tenths of a second; if it takes longer, others can have its new connections.
_PATIENCE_S = 1.4
# Where this process had much to do, an answer may be there that it has not read.
_LAST_LOOK_S = 0.1
# Beyond that: until it is taken for one that will never answer, and whose calls are lost.
_ANSWER_TIMEOUT_S = 3.5
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
        on_silence: called when it accepts requests, but has not answered for so long that nobody should wait for it.
        on_answer: called when it answers after all.
        on_health: told of endpoints that begin to rest in it, or serve again.
    """

    def __init__(
        self,
        link: Link,
        *,
        on_table: Callable[[], object],
        on_serving: Callable[[], object],
        on_draining: Callable[[], object],
        on_silence: Callable[[], object],
        on_answer: Callable[[], object],
        on_health: Callable[[dict[str, Any]], object],
    ) -> None:
        self._link = link
        self._on_table = on_table
        self._on_serving = on_serving
        self._on_draining = on_draining
        self._on_silence = on_silence
        self._on_answer = on_answer
        self._on_health = on_health
        self._alive = trio.Event()
        self._taken = trio.Event()
        self._has_started = trio.Event()
        self._is_fed = trio.Event()
        self._has_table = trio.Event()
        self.questions = Questions(link)
        self.serves = False
        """Whether the process accepts requests."""
        self.drains = False
        """Whether it accepts no more, and ends when what it has is done."""
        self.under_way: Mapping[str, int] = {}
        """How much it had under way when it answered last; empty if it never has."""

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
                nursery.start_soon(self._ask)
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
                case {"alive": under_way}:
                    self.under_way = under_way
                    self._alive.set()
                    self._has_started.set()
                case {"taken": is_all}:
                    self._alive.set()
                    if is_all:
                        self._taken.set()
                case {"serves": _}:
                    self.serves = True
                    self._on_serving()
                case {"drains": _}:
                    self.serves, self.drains = False, True
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

    async def _ask(self) -> NoReturn:
        while True:
            await self._link.send({"ask_alive": True})
            await trio.sleep(_ASK_EVERY_S)

    async def _watch(self) -> float:
        """Return when the process has not answered for too long: after how many seconds."""
        # From the last answer on, and not from a question on, which may have to wait for a process that reads nothing.
        timeout_s = _START_TIMEOUT_S
        while True:
            self._alive = alive = trio.Event()
            if not (await _is_set_within(_PATIENCE_S, alive) or await _is_set_within(_LAST_LOOK_S, alive)):
                is_missed = self.serves
                if is_missed:
                    self._on_silence()
                if not (await _is_set_within(timeout_s, alive) or await _is_set_within(_SECOND_CHANCE_S, alive)):
                    return _PATIENCE_S + _LAST_LOOK_S + timeout_s + _SECOND_CHANCE_S
                if is_missed and self.serves:
                    self._on_answer()
                    await self._link.send({"publish": True})
            timeout_s = _ANSWER_TIMEOUT_S


async def _is_set_within(at_most_s: float, event: trio.Event) -> bool:
    with trio.move_on_after(at_most_s):
        await event.wait()
    return event.is_set()

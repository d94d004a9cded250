"""How much of the event loop's time the admin port may take: little at once, and a part of it in all.

The data port's requests share the loop, so whatever may take long is done in slices with pauses in between, and all
who do such work take turns. A request waits for a slice at most once in each round of the loop.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import trio

from golb.errors import GolbError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# In seconds. Together they say that the admin port takes a third of the loop's time at most.
_SLICE_S = 0.001
_PAUSE_S = 0.002


class Pace:
    """The turns of all who do long work."""

    def __init__(self) -> None:
        self._turn = trio.Lock()

    @asynccontextmanager
    async def slices(self) -> AsyncIterator[Slices]:
        """Have a turn meanwhile, shared with others slice by slice."""
        slices = Slices(self._turn)
        await slices.begin()
        try:
            yield slices
        finally:
            slices.end()


class Slices:
    """The slices of one piece of work."""

    def __init__(self, turn: trio.Lock) -> None:
        self._turn = turn
        self._has_turn = False
        self._began_s = 0.0

    async def begin(self) -> None:
        """Wait for a turn."""
        await self._turn.acquire()
        self._has_turn = True
        self._began_s = perf_counter()

    def end(self) -> None:
        """Let others have theirs."""
        if self._has_turn:
            self._has_turn = False
            self._turn.release()

    async def keep(self) -> None:
        """Pause if the slice is over. To be called after each step, none of which takes longer than a slice."""
        if perf_counter() - self._began_s >= _SLICE_S:
            await trio.sleep(_PAUSE_S)  # nobody else works meanwhile
            self.end()
            await self.begin()

    async def hand(self, piece: bytes, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send a piece of what has been made, while others have their turn: a client may take long to read it."""
        self.end()
        await send(piece)
        await self.begin()


class Busy(GolbError):
    """As much is being done, and waited for, as may be. Answer 503 with Retry-After."""


class Places:
    """Lets few do something at once, and few wait for it.

    Args:
        at_once: how many may (> 0).
        waiting: how many may wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._places = trio.Semaphore(at_once, max_value=at_once)
        self._waiting = waiting

    def admit(self) -> None:
        """Look whether one more may have a place, or wait for one.

        Raises:
            Busy: all are taken, and as many wait as may.
        """
        if self._places.value == 0 and self._places.statistics().tasks_waiting >= self._waiting:
            raise Busy

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Have a place meanwhile, after a wait perhaps; to be entered at once after `admit`."""
        async with self._places:
            yield

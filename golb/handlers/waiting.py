"""Who waits for a place, or for an endpoint to come: first in, first out, in bounded number and for a bounded time.

Rule: whoever waits costs a task's wait and no more. A place that becomes free is given to the first who may have it
before anybody can take it, so that nobody overtakes. A client that goes away leaves the queue, if that can be seen:
not before all of its request's body has arrived.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
import trio

from golb.errors import ClientGone, Overloaded
from golb.fibers import attach

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from golb.asgi import Receive

LOG = structlog.get_logger()

P = TypeVar("P")


class _Waiter(Generic[P]):
    """One request that waits."""

    __slots__ = ("arrival", "client_gone", "place", "try_to_enter", "woken")

    def __init__(self, arrival: int, try_to_enter: Callable[[], P | None]) -> None:
        self.arrival = arrival
        self.try_to_enter = try_to_enter
        self.place: P | None = None
        self.client_gone = False
        self.woken = trio.Event()

    async def watch(self, receive: Receive) -> None:
        """Wait for the client to go away."""
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except Exception:  # `receive` may be any server's; nothing of it reaches the other requests
            LOG.exception("client cannot be watched")
        self.client_gone = True
        self.woken.set()


class WaitingRoom(Generic[P]):
    """Requests that wait; those with one key may all go where the first of them may.

    Args:
        size: how many may wait at once.
        leave: called with a place that was given to a request which could not take it.
        is_full: whether nobody may go on, whatever the key; spares asking each of them.
    """

    def __init__(self, size: int, leave: Callable[[P], object], is_full: Callable[[], bool] = lambda: False) -> None:
        self.size = size
        """As above; where it shrinks, those who wait already stay."""
        self._leave = leave
        self._is_full = is_full
        self._queues: dict[Hashable, deque[_Waiter[P]]] = {}
        self.waiting = 0
        """How many wait."""
        self.turned_away = 0
        """How many found no room, or waited in vain."""

    def is_waited_for(self, key: Hashable) -> bool:
        """Tell whether a request of this key waits, so that another one has to stand in line behind it."""
        return key in self._queues

    def waiting_for(self, key: Hashable) -> int:
        """Return how many requests of this key wait."""
        return len(self._queues.get(key, ()))

    async def wait(
        self,
        key: Hashable,
        arrival: int,
        try_to_enter: Callable[[], P | None],
        *,
        timeout_s: float,
        at_most: int | None = None,
        receive: Receive | None,
    ) -> P:
        """Return the request's place, once it has one.

        Args:
            key: which requests it stands in line with.
            arrival: its place in the order in which all have come. It may have waited in another room before.
            try_to_enter: takes a place and returns it, or None; called by `look`. Must neither wait nor raise.
            timeout_s: how long to wait, in seconds.
            at_most: how many of this key may wait.
            receive: tells of the client's disconnect, if all of the request has arrived.

        Raises:
            Overloaded: there is no room, or no place came in time; the text says which.
            ClientGone: nobody waits any more.
        """
        queue = self._queues.get(key)
        ahead = len(queue) if queue is not None else 0
        if self.waiting >= self.size or (at_most is not None and ahead >= at_most):
            self.turned_away += 1
            raise Overloaded(f"{ahead if self.waiting < self.size else self.waiting} requests wait already")
        if queue is None:
            queue = self._queues[key] = deque()
        waiter = _Waiter(arrival, try_to_enter)
        position = len(queue)
        while position and queue[position - 1].arrival > arrival:
            position -= 1
        queue.insert(position, waiter)
        self.waiting += 1
        try:
            await attach()
            with trio.move_on_after(timeout_s):
                async with trio.open_nursery() as nursery:
                    if receive is not None:
                        nursery.start_soon(waiter.watch, receive)
                    await waiter.woken.wait()
                    nursery.cancel_scope.cancel()
        except BaseException:  # cancelled: the place goes to the next one
            if waiter.place is not None:
                self._leave(waiter.place)
            raise
        finally:
            if waiter.place is None:
                self._remove(key, waiter)
        if waiter.place is None and not waiter.client_gone:
            self.turned_away += 1
            raise Overloaded(f"no place within {timeout_s:g} s")
        if waiter.client_gone:
            if waiter.place is not None:
                self._leave(waiter.place)
            raise ClientGone("the client went away while its request waited")
        assert waiter.place is not None  # noqa: S101 - has just been looked at
        return waiter.place

    def look(self, key: Hashable = None) -> None:
        """Let all go on that may, in the order in which they came; with a key, only those of it."""
        if key is None:
            keys = sorted(self._queues, key=lambda key: self._queues[key][0].arrival)
        else:
            keys = [key] if key in self._queues else []
        for waited_for in keys:
            if self._is_full():
                return
            queue = self._queues[waited_for]
            while queue and (place := queue[0].try_to_enter()) is not None:
                waiter = queue.popleft()
                waiter.place = place
                waiter.woken.set()
                self.waiting -= 1
            if not queue:
                del self._queues[waited_for]

    def _remove(self, key: Hashable, waiter: _Waiter[P]) -> None:
        queue = self._queues[key]
        queue.remove(waiter)
        self.waiting -= 1
        if not queue:
            del self._queues[key]

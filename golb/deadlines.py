"""All timeouts of a process, kept by one task.

Rule: to wait with a deadline costs a few assignments; a cancel scope for each wait would cost 20 µs of a request's 40.
Method: waits of one kind all last equally long, so the order in which they begin is the order in which they end, and
only the oldest of each kind need be looked at. Each queue is a doubly linked list, since most waits end early, wherever they
stand: to take one out of a dict of a thousand, and put it in again, takes ten lines of the processor's cache. Time is read
once a tick: a timeout comes up to two ticks late, never early.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TICK_S: Final = 0.05


class Wait:
    """A place in a queue, for one wait after the other, of whatever kind; a thing that waits for two things has two."""

    __slots__ = ("item", "newer", "older", "queue", "started_s")

    def __init__(self) -> None:
        self.queue: TimeoutQueue[Any] | None = None
        """Where it is, if it is in one; this and all else is kept by that."""
        self.older: Wait | None = None
        self.newer: Wait | None = None
        self.started_s = 0.0
        self.item: object = None
        """What waits. Only while it does: things have their places, and would form cycles with them."""


class TimeoutQueue(Generic[T]):
    """Things that wait, each for the same time at most; made by `Deadlines.queue`."""

    __slots__ = ("_deadlines", "_length", "_newest", "_oldest", "_on_overdue", "_timeout_s")

    def __init__(self, deadlines: Deadlines, timeout_s: float, on_overdue: Callable[[T], object]) -> None:
        self._deadlines = deadlines
        self.timeout_s = timeout_s
        self._on_overdue = on_overdue
        self._oldest: Wait | None = None
        self._newest: Wait | None = None
        self._length = 0

    @property
    def timeout_s(self) -> float:
        """How long a thing may wait, in seconds; infinite where it may for ever. Set to another time, 0 = for ever, it holds for what waits already too."""
        return self._timeout_s

    @timeout_s.setter
    def timeout_s(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s or math.inf

    def __len__(self) -> int:
        return self._length

    def oldest(self, waited_s: float = 0.0) -> T | None:
        """Return what has waited for longest, if that is `waited_s` seconds at least; otherwise None."""
        wait = self._oldest
        if wait is None or wait.started_s > self._deadlines.now_s - waited_s:
            return None
        return cast("T", wait.item)

    def waited(self, waited_s: float) -> list[T]:
        """Return all that has waited `waited_s` seconds at least, the oldest first."""
        began_before_s = self._deadlines.now_s - waited_s
        items: list[T] = []
        wait = self._oldest
        while wait is not None and wait.started_s <= began_before_s:
            items.append(cast("T", wait.item))
            wait = wait.newer
        return items

    def start(self, wait: Wait, item: T) -> None:
        """Let a thing begin to wait. If its place is in a queue, this one or another, that wait ends."""
        if wait.queue is not None:
            wait.queue.stop(wait)
        newest = self._newest
        if newest is None:
            self._oldest = wait
        else:
            newest.newer = wait
        wait.older = newest
        self._newest = wait
        self._length += 1
        wait.queue = self
        wait.item = item
        wait.started_s = self._deadlines.now_s

    def stop(self, wait: Wait) -> None:
        """End the wait, if it is in this queue and has not ended."""
        if wait.queue is not self:
            return
        older, newer = wait.older, wait.newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        self._length -= 1
        wait.queue = wait.older = wait.newer = wait.item = None

    def restart(self, wait: Wait) -> None:
        """Let the thing wait anew, if it waits here at all."""
        if wait.queue is self:
            self.start(wait, cast("T", wait.item))

    def restart_all(self) -> None:
        """Let all that waits wait anew."""
        now_s = self._deadlines.now_s
        wait = self._oldest
        while wait is not None:
            wait.started_s = now_s
            wait = wait.newer

    def sweep(self, now_s: float) -> None:
        """Take out what has waited too long, and say so of each."""
        # What started within the last tick carries the tick's time, so a tick is added.
        began_before_s = now_s - self._timeout_s - TICK_S
        wait = self._oldest
        while wait is not None and wait.started_s <= began_before_s:
            item = cast("T", wait.item)
            self.stop(wait)
            self._on_overdue(item)
            wait = self._oldest


class Deadlines:
    """The queues and the task that sweeps them."""

    def __init__(self) -> None:
        self.now_s = -math.inf
        """The clock of trio, in seconds, as of the last tick."""
        self._queues: list[TimeoutQueue[object]] = []

    def queue(self, timeout_s: float, on_overdue: Callable[[T], object]) -> TimeoutQueue[T]:
        """Make a queue.

        Args:
            timeout_s: how long a thing may wait; 0 = for ever.
            on_overdue: called with each thing that waited too long; must neither wait nor raise.
        """
        queue = TimeoutQueue(self, timeout_s, on_overdue)
        self._queues.append(queue)  # type: ignore[arg-type] # each queue pairs its own items with its own callback
        return queue

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Sweep until cancelled; ready when the clock has been read."""
        self.now_s = trio.current_time()
        task_status.started()
        while True:
            await trio.sleep(TICK_S)
            self.now_s = now_s = trio.current_time()
            for queue in self._queues:
                queue.sweep(now_s)

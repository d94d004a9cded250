"""All timeouts of a process, kept by one task.

Rule: to wait with a deadline costs two dict operations; a cancel scope for each wait would cost 20 µs of a request's 40.
Method: waits of one kind all last equally long, so the order in which they begin is the order in which they end, and
only the oldest of each kind need be looked at. Time is read once a tick: a timeout comes up to two ticks late, never early.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

TICK_S: Final = 0.05


class TimeoutQueue(Generic[T]):
    """Things that wait, each for the same time at most; made by `Deadlines.queue`.

    A thing (hashable, by identity as a rule) may be in a queue once.
    """

    __slots__ = ("_deadlines", "_on_overdue", "_started", "_timeout_s")

    def __init__(self, deadlines: Deadlines, timeout_s: float, on_overdue: Callable[[T], object]) -> None:
        self._deadlines = deadlines
        self.timeout_s = timeout_s
        self._on_overdue = on_overdue
        self._started: dict[T, float] = {}

    @property
    def timeout_s(self) -> float:
        """How long a thing may wait, in seconds; infinite where it may for ever. Set to another time, 0 = for ever, it holds for what waits already too."""
        return self._timeout_s

    @timeout_s.setter
    def timeout_s(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s or math.inf

    def __len__(self) -> int:
        return len(self._started)

    def __iter__(self) -> Iterator[T]:
        """Iterate over what waits now; the queue may change meanwhile."""
        return iter(list(self._started))

    def oldest(self, waited_s: float = 0.0) -> T | None:
        """Return what has waited for longest, if that is `waited_s` seconds at least; otherwise None."""
        item, started_s = next(iter(self._started.items()), (None, math.inf))
        return None if started_s > self._deadlines.now_s - waited_s else item

    def waited(self, waited_s: float) -> list[T]:
        """Return all that has waited `waited_s` seconds at least, the oldest first."""
        began_before_s = self._deadlines.now_s - waited_s
        return [item for item, started_s in self._started.items() if started_s <= began_before_s]

    def start(self, item: T) -> None:
        """Begin to wait. The item must not be in the queue."""
        self._started[item] = self._deadlines.now_s

    def stop(self, item: T) -> None:
        """End the wait, if it has not ended."""
        started = self._started
        if item in started:  # compiled, `pop` takes twice as long
            del started[item]

    def restart(self, item: T) -> None:
        """Let the item wait anew, if it waits at all."""
        if self._started.pop(item, None) is not None:
            self._started[item] = self._deadlines.now_s

    def sweep(self, now_s: float) -> None:
        """Take out what has waited too long, and say so of each."""
        started = self._started
        # What started within the last tick carries the tick's time, so a tick is added.
        began_before_s = now_s - self._timeout_s - TICK_S
        while started:
            item, started_s = next(iter(started.items()))
            if started_s > began_before_s:
                return
            del started[item]
            self._on_overdue(item)


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

"""How long weights take from etcd's watch to the handler; no I/O.

What is measured begins when the watch has delivered a put, as no value says when it was put, and ends when every handler
of this node has the weights. A put that changes nothing, or is refused, counts for nothing, nor does what a list has brought.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from golb.stats import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

# Upper bounds, in seconds.
_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# Updates under way; where a handler is so far behind, the oldest are not measured.
_MOST_UNDER_WAY = 10_000


class Delays:
    """The histogram, and what is under way.

    Args:
        clock: tells monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._under_way: deque[tuple[int, float]] = deque(maxlen=_MOST_UNDER_WAY)
        self._histogram = Histogram(_BOUNDS_S)

    def learnt(self, revision: int, at: float) -> None:
        """Take note that a put, at this revision of etcd, which was delivered at the time `at`, is on its way to the handler."""
        self._under_way.append((revision, at))

    def forget(self) -> None:
        """Measure nothing of what is under way: etcd is listed, and its revision may have gone back."""
        self._under_way.clear()

    def in_force(self, revision: int) -> None:
        """Take note that everything up to this revision is in force."""
        under_way, histogram = self._under_way, self._histogram
        if not under_way:
            return
        now = self._clock()
        while under_way and under_way[0][0] <= revision:
            _, at = under_way.popleft()
            histogram.count(max(now - at, 0.0))

    def report(self) -> dict[str, Any]:
        """Tell them as a histogram: `bounds_s`, `counts` and `sum_s`."""
        return self._histogram.report()

"""How many lines a busy place may write to the log. No I/O.

A line takes as long as a call does: where each call fails, or thousands of weights change, the log shall show what
happens and how often, and cost little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LINES_A_SECOND = 100


class LineBudget:
    """So many lines a second; what is beyond is counted.

    Args:
        clock: tells monotonic seconds.
        tell: called, when the next line comes, with the number (> 0) of those that were left out since.
        lines_a_second: how many (> 0).
    """

    def __init__(
        self, clock: Callable[[], float], tell: Callable[[int], object], *, lines_a_second: int = LINES_A_SECOND
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._most = self._left = lines_a_second
        self._second_began_s = clock()
        self._left_out = 0

    def take(self, *, is_missed: bool = True) -> bool:
        """Return whether a line may be written.

        Args:
            is_missed: count it, if it may not be.
        """
        now_s = self._clock()
        if now_s - self._second_began_s >= 1:
            self._second_began_s = now_s
            self._left = self._most
            if self._left_out:
                self._tell(self._left_out)
                self._left_out = 0
        if not self._left:
            self._left_out += is_missed
            return False
        self._left -= 1
        return True

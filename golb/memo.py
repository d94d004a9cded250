"""What has been worked out once need not be worked out again: a bounded memory in front of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")

_REMEMBERED: Final = 2048


class Memo(dict[K, V]):
    """`memo[argument]` is what the function returns for it, or raises.

    Arguments come from the network, and some are new each time: at 2,048 of them all are forgotten, so that what comes
    often is soon back, whatever else came. Where each instruction counts, `get` first: compiled, it finds what is remembered
    in half of the time.

    Args:
        work_out: the function; equal arguments must give equal results for ever. What raises is not remembered.
        is_worth_it: whether an argument is to be remembered: neither long, nor secret, nor known to come but once.
    """

    def __init__(self, work_out: Callable[[K], V], is_worth_it: Callable[[K], bool]) -> None:
        super().__init__()
        self._work_out = work_out
        self._is_worth_it = is_worth_it

    def __missing__(self, argument: K) -> V:
        result = self._work_out(argument)
        if self._is_worth_it(argument):
            if len(self) >= _REMEMBERED:
                self.clear()
            self[argument] = result
        return result

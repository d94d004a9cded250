"""Whether a request that an endpoint failed may be sent to another one.

Rule: what was not sent may be sent elsewhere, whatever it is. What was sent may be sent again only if that cannot do
harm: its method is idempotent (RFC 9110, 9.2.2), and its body is still there. Second tries at once are bounded to a
part of the requests under way, so that an outage is not made worse by what is done about it. Timeouts come in batches,
and second tries are short as a rule: a request that finds none left waits for one, as briefly as for a place.

Source of the budget: Finagle's RetryBudget; Envoy's retry_budget, which counts those under way as this does.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Literal

from golb.errors import LocalError, NoConnection, Overloaded, UpstreamError
from golb.forwarding import IDEMPOTENT
from golb.handlers.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Callable


class RetryBudget:
    """Bounds the second tries that are under way at once.

    Args:
        part: of the requests under way, 0 to 1.
        minimum: so many are allowed in any case.
        waiting: how many requests may wait for one.
        timeout_s: how long each of them may.
    """

    def __init__(self, part: float, minimum: int, *, waiting: int, timeout_s: float) -> None:
        self._room: WaitingRoom[Literal[True]] = WaitingRoom(waiting, lambda _: self.give_back())
        self.reconfigure(part, minimum, waiting=waiting, timeout_s=timeout_s)
        self._arrivals = count()
        self.in_use = 0
        """Second tries under way."""
        self.begun = 0
        """All there have been."""
        self.exhausted = 0
        """How often there was none, nor came one in time."""

    def reconfigure(self, part: float, minimum: int, *, waiting: int, timeout_s: float) -> None:
        """Take new bounds over; those who wait go on at once if they may by these, and wait no longer than by the old ones."""
        self._part = part
        self._minimum = minimum
        self._timeout_s = timeout_s
        self._room.size = waiting
        self._room.look()

    async def take(self, in_flight: Callable[[], int]) -> bool:
        """Begin a second try, which has to be given back; false if there is none, nor comes one in time.

        Args:
            in_flight: tells how many requests are under way.
        """
        if not self._room.waiting and self._try_to_take(in_flight):
            return True
        if not (self._minimum or self._part):
            return False
        try:
            return await self._room.wait(
                True,
                next(self._arrivals),
                lambda: self._try_to_take(in_flight),
                timeout_s=self._timeout_s,
                receive=None,
            )
        except Overloaded:
            self.exhausted += 1
            return False

    def give_back(self) -> None:
        """End a second try; the first who waits for one goes on."""
        self.in_use -= 1
        if self._room.waiting:
            self._room.look()

    def _try_to_take(self, in_flight: Callable[[], int]) -> Literal[True] | None:
        if self.in_use >= max(self._minimum, self._part * in_flight()):
            return None
        self.in_use += 1
        self.begun += 1
        return True


def may_be_sent_again(failure: UpstreamError, *, replayable: bool) -> bool:
    """Tell whether a request may go to another endpoint after this failure; `replayable` as of `is_replayable`."""
    if isinstance(failure, NoConnection):
        return True
    return replayable and not isinstance(failure, LocalError)


def is_replayable(method: str, *, more_body: bool) -> bool:
    """Tell whether a request does no harm if an endpoint gets it twice, and can be sent twice."""
    return not more_body and method in IDEMPOTENT

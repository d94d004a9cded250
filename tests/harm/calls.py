"""What can be told from calls alone: no I/O and no clock here.

Rule: all that is judged was seen from outside, by the client (`Call`) or by the endpoints (the ids in their ledgers). golb's
own word, its log or its metrics, is no evidence here. All moments are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SHARE_TOLERANCE = 0.1
"""An endpoint has its share if what it answered is within this part of it."""

CALM_S = 1.0
"""So long calls have to go well for the bad endpoints to be called at rest."""

# One request after each rest tries whether the endpoint is there again.
_PROBES_WHILE_CALM = 1
_STEP_S = 0.1


@frozen(kw_only=True)
class Call:
    """One request to golb, and how it ended."""

    number: int
    """Its id, which no other call has."""
    method: str
    began: float
    ended: float
    status: int
    """Of the answer; 0 if the connection broke, or none came in time."""
    endpoint: str = ""
    """Which one golb named, `ip:port`; empty if none."""
    cause: str = ""
    """Why there is no answer, or what golb says of it."""

    @property
    def failed(self) -> bool:
        """Whether the client got no answer of an endpoint."""
        return self.status != 200

    @property
    def took_s(self) -> float:
        return self.ended - self.began


def failures(calls: Iterable[Call], method: str) -> list[Call]:
    """Return the calls of a method that failed."""
    return [call for call in calls if call.failed and call.method == method]


def begun_within(calls: Iterable[Call], since: float, until: float) -> list[Call]:
    """Return the calls that began in [since, until)."""
    return [call for call in calls if since <= call.began < until]


def p99_s(calls: Sequence[Call]) -> float:
    """Return the time, in seconds, that 99 % of the calls stayed below; failed ones count with what they took."""
    return percentile([call.took_s for call in calls], 0.99)


def delivered_twice(numbers: Iterable[int]) -> list[int]:
    """Return the ids that the endpoints together have got more than once."""
    return sorted(number for number, times in Counter(numbers).items() if times > 1)


def calm_from(calls: Sequence[Call], since: float, until: float, slow_s: float) -> float | None:
    """Return the first moment in [since, until) from which calls go well for `CALM_S`; None if they never do.

    Args:
        calls: whose clients were struck.
        since: when the fault was made.
        until: when it was undone.
        slow_s: a call that took so long, or failed, did not go well.
    """
    for moment in _steps(since, until - CALM_S):
        seen = begun_within(calls, moment, moment + CALM_S)
        if seen and sum(call.failed or call.took_s >= slow_s for call in seen) <= _PROBES_WHILE_CALM:
            return moment
    return None


def first_answer_of(calls: Iterable[Call], endpoint: str, since: float) -> float | None:
    """Return when the first call since a moment was begun that this endpoint answered; None if none was."""
    return min(
        (call.began for call in calls if call.endpoint == endpoint and call.began >= since and not call.failed),
        default=None,
    )


def shares(calls: Iterable[Call]) -> dict[str, float]:
    """Return which part (0 to 1) of the calls that did not fail each endpoint answered."""
    answered = Counter(call.endpoint for call in calls if not call.failed)
    return {endpoint: times / answered.total() for endpoint, times in answered.items()}


def has_shares(calls: Iterable[Call], weights: Mapping[str, float]) -> bool:
    """Tell whether each endpoint answered within `SHARE_TOLERANCE` of its share."""
    seen, total = shares(calls), sum(weights.values())
    due = {endpoint: weight / total for endpoint, weight in weights.items()}
    return all(abs(seen.get(endpoint, 0.0) - share) <= SHARE_TOLERANCE * share for endpoint, share in due.items())


def _steps(first: float, last: float) -> Iterable[float]:
    return (first + step * _STEP_S for step in range(int((last - first) / _STEP_S) + 1))

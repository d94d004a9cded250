"""What can be told from the calls of clients while golb is restarted and workers of it are killed: no I/O and no clock here.

Rule: a call may fail only if the worker that was killed had its connection, and the call was under way then. Which connections
those were is the kernel's word, not golb's.
"""

from __future__ import annotations

from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.figures import percentile
from harm.calls import delivered_twice
from harm.verdicts import Verdict, share_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VISIBLE_S = 1.0
"""A client learns within this of the death of who had its call."""


class Outcome(Enum):
    """What a client saw of a call."""

    ANSWERED = "answered"
    REFUSED = "no connection"
    LOST = "the connection broke before an answer"
    CUT = "the connection broke in the answer"
    """As its framing shows."""
    DENIED = "golb's own answer, that it cannot"
    WRONG = "an answer that is whole, and not the endpoint's"
    LATE = "nothing in time"


@frozen(kw_only=True)
class Visit:
    """One call. Moments are seconds of the monotonic clock."""

    number: int
    """Its id, which no other call has."""
    method: str
    client_port: int = 0
    """Of the connection, by which the kernel knows it; 0: there was none."""
    began: float
    ended: float
    outcome: Outcome
    cause: str = ""

    @property
    def took_s(self) -> float:
        return self.ended - self.began


@frozen(kw_only=True)
class Kill:
    """The death of a worker. Moments are seconds of the monotonic clock."""

    pid: int
    client_ports: frozenset[int]
    """Of the connections that it had."""
    began: float
    ended: float
    """When it was gone, and its connections with it."""
    replaced_s: float | None
    """After this time another process accepted in its place; None: never."""

    def has_taken(self, visit: Visit) -> bool:
        """Tell whether a failed call is this death's, and was seen to fail."""
        return (
            visit.outcome in (Outcome.LOST, Outcome.CUT)
            and visit.client_port in self.client_ports
            and visit.began <= self.ended
            and self.began <= visit.ended <= self.ended + VISIBLE_S
        )

    def had_in_hands(self, visit: Visit) -> bool:
        """Tell whether a call was under way in the worker, whatever came of it."""
        return visit.client_port in self.client_ports and visit.began <= self.ended and visit.ended >= self.began


def none_refused(visits: Sequence[Visit]) -> Verdict:
    """Judge by all calls."""
    refused = [visit for visit in visits if visit.outcome is Outcome.REFUSED]
    text = f"{share_text(len(refused), len(visits))} calls"
    return Verdict("no connection is refused", text, kept=bool(visits) and not refused)


def none_failed(visits: Sequence[Visit], kills: Sequence[Kill]) -> Verdict:
    """Judge by all calls; what a worker had in its hands when it was killed is no failure of golb's."""
    failed = [visit for visit in visits if visit.outcome is not Outcome.ANSWERED]
    excused = [visit for visit in failed if any(kill.has_taken(visit) for kill in kills)]
    in_hands = sum(kill.had_in_hands(visit) for kill in kills for visit in visits)
    text = f"{share_text(len(failed) - len(excused), len(visits))} failed"
    if kills:
        text += f"; {len(excused)} died with their workers, which had {in_hands} in their hands"
    return Verdict(
        "no call fails but those in the hands of a worker that is killed", text, kept=bool(visits) and failed == excused
    )


def all_seen_to_fail(visits: Sequence[Visit]) -> Verdict:
    """Judge whether anybody could take a part of an answer, or another's, for the whole one, or was left without a word."""
    bad = [visit for visit in visits if visit.outcome in (Outcome.WRONG, Outcome.LATE)]
    cut = sum(visit.outcome is Outcome.CUT for visit in visits)
    text = f"{len(bad)} did not; {cut} were cut in the middle of an answer"
    return Verdict("what fails is seen to fail", text, kept=bool(visits) and not bad)


def none_delivered_twice(delivered: Sequence[int]) -> Verdict:
    """Judge by the ids of the POSTs that the endpoints got."""
    twice = delivered_twice(delivered)
    return Verdict("no POST is delivered twice", f"{share_text(len(twice), len(delivered))} twice", not twice)


def pace(visits: Sequence[Visit], own_s: float) -> str:
    """Say how long the answered calls took, and for how long there was no answer at all.

    Args:
        visits: all of them; one at least was answered.
        own_s: what of it is the endpoint's.
    """
    answered = [visit for visit in visits if visit.outcome is Outcome.ANSWERED]
    times = [visit.took_s * 1e3 for visit in answered]
    return (
        f"{len(answered):,} answers, of which the endpoint takes {own_s * 1e3:.0f} ms: p50 {percentile(times, 0.5):.1f} ms,"
        f" p99 {percentile(times, 0.99):.1f} ms, {max(times):.0f} ms at most;"
        f" the longest time without any answer was {longest_pause_s(answered) * 1e3:.0f} ms"
    )


def longest_pause_s(answered: Iterable[Visit]) -> float:
    """Return the longest time between two answers, in seconds."""
    ends = sorted(visit.ended for visit in answered)
    return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)


def reasons(visits: Iterable[Visit], kills: Sequence[Kill], at_most: int = 10) -> list[str]:
    """Return a line for each call that failed and had no reason to, the first ones only."""
    failed = [visit for visit in visits if visit.outcome is not Outcome.ANSWERED]
    inexcusable = [visit for visit in failed if not any(kill.has_taken(visit) for kill in kills)]
    return [
        f"  {visit.method} {visit.number} from port {visit.client_port}, begun at {visit.began:.3f}: {visit.outcome.value}"
        f" after {visit.took_s:.3f} s; {visit.cause}"
        for visit in inexcusable[:at_most]
    ]

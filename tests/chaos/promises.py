"""What golb promises while etcd fails, as checks over what was seen: no I/O and no clock here.

Rule: each check gets the whole history (windows in which something was wrong, puts, what golb served when, golb's log) and
returns what was broken, with the moment and the evidence. All moments are unix seconds of one machine's clock.

What can be known about a moment follows from what was done to etcd then (`Reach`). In between, the promises are exact:

- golb's knowledge is older than the timeout -> it says so ("weights stale"), at the latest `MARGIN_S` later; and not before.
- golb says nothing -> what it serves is no older than the timeout.
- etcd is there and reachable -> what was put is in force within `RECOVERY_S`; if one of several members is bad, within the
  timeout and `RECOVERY_S`.
"""

from __future__ import annotations

import enum
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

RECOVERY_S = 2.0
"""The time after a fault's end within which all has to be well (the issue's figure)."""

MARGIN_S = 1.0
"""By how much a report may be late: what a busy machine may take to run golb at all."""

REPEAT_S = 10.0
"""golb repeats that its weights are stale, but not more often."""

MAX_RETRY_S = 30.0

# A log line is written a moment after what it reports, and ages are rounded.
_ROUNDING_S = 0.1


class Reach(enum.Enum):
    """What golb can reach of etcd while a fault lasts."""

    NONE = "none"
    """No member that can confirm anything."""
    SOME = "some"
    """At least one healthy member; others, perhaps the one watched, are bad."""
    ALL = "all"
    """Every member, though it may be slow, or refuse a token, or have closed a connection."""


@define
class Window:
    """A fault, from before it is made until all is well again."""

    fault: str
    reach: Reach
    began: float
    in_force: float = math.inf
    """When the last of it was done."""
    ending: float = math.inf
    """When its end began: the first member started, the first relay healed."""
    well: float = math.inf
    """When the members were healthy and reachable again."""
    went_back: bool = False
    """Whether the store lost revisions, or is another one."""


@define
class Put:
    """One put of the writer to the function that is looked at."""

    number: int
    """Counts up by one; a larger one is newer."""
    acknowledged: float = math.inf
    """When etcd had it for certain; inf if that is not known."""
    lost: float = math.inf
    """When the store went back to before it."""


@frozen
class Sight:
    """What golb served at a moment: the newest put that it can have been."""

    at: float
    number: int


@frozen
class Line:
    """A line of golb's log."""

    at: float
    event: str
    level: str
    fields: dict[str, Any] = field(factory=dict, repr=False)
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        fields = json.loads(text)
        at = datetime.fromisoformat(fields["timestamp"]).timestamp()
        return cls(at, fields["message"], fields["level"], fields, text)


@frozen
class Broken:
    """A promise that was not kept."""

    at: float
    promise: str
    evidence: str


@frozen
class Stale:
    """A time for which golb said that its weights were stale."""

    since: float
    until: float
    """When it said that they are current; inf if it has not."""
    first: Line
    last: Line | None = None
    """The line that ended it."""


def check_all(
    windows: Sequence[Window], puts: Sequence[Put], sights: Sequence[Sight], lines: Sequence[Line], timeout_s: float
) -> list[Broken]:
    """Return all that was broken, in the order of its moments."""
    broken = [
        *check_served(windows, puts, sights, lines, timeout_s),
        *check_stale(windows, lines, timeout_s),
        *check_lines(windows, lines),
    ]
    return sorted(broken, key=lambda item: item.at)


def stale_times(lines: Iterable[Line]) -> list[Stale]:
    """Return when golb said that its weights were stale."""
    times = []
    first: Line | None = None
    for line in lines:
        if line.event == "weights stale" and first is None:
            first = line
        elif line.event == "weights current" and first is not None:
            times.append(Stale(first.at, line.at, first, line))
            first = None
    if first is not None:
        times.append(Stale(first.at, math.inf, first))
    return times


def check_served(
    windows: Sequence[Window], puts: Sequence[Put], sights: Sequence[Sight], lines: Sequence[Line], timeout_s: float
) -> Iterator[Broken]:
    """Look for moments at which golb served what it should have known to be old; of each such time, the first one."""
    stale = stale_times(lines)
    found = ""
    for sight in sights:
        window = _window_at(windows, sight.at)
        says_stale = any(time.since <= sight.at < time.until for time in stale)
        if window is None or window.reach is Reach.ALL:
            allowed_s, promise = RECOVERY_S, "a put is in force within 2 s while etcd is there"
        elif window.reach is Reach.SOME:
            allowed_s, promise = timeout_s + RECOVERY_S, "one bad member holds a put up no longer than the timeout"
        elif says_stale:
            found = ""
            continue
        else:
            allowed_s, promise = timeout_s + MARGIN_S, "what is older than the timeout is not served in silence"
        due = _newest(puts, sight.at, sight.at - allowed_s)
        if due is None or sight.number >= due.number:
            found = ""
        elif found != promise:
            found = promise
            age_s = sight.at - due.acknowledged
            evidence = f"put {due.number} was {age_s:.2f} s old, and golb served put {sight.number}"
            yield Broken(sight.at, promise, evidence)


def check_stale(windows: Sequence[Window], lines: Sequence[Line], timeout_s: float) -> Iterator[Broken]:
    """Look for reports of staleness that are wrong, late or missing."""
    stale = stale_times(lines)
    for window in windows:
        if window.reach is Reach.NONE:
            yield from _check_total(window, stale, timeout_s)
    for time in stale:
        yield from _check_report(time, windows, timeout_s)
        yield from _check_stale_s(time, timeout_s)
    last: Line | None = None
    for line in lines:
        if line.event == "weights current":
            last = None
        elif line.event == "weights stale":
            if last is not None and line.at - last.at < REPEAT_S - _ROUNDING_S:
                yield Broken(line.at, "staleness is repeated at most every 10 s", line.text)
            last = line


def _check_total(window: Window, stale: Sequence[Stale], timeout_s: float) -> Iterator[Broken]:
    due = window.in_force + timeout_s + MARGIN_S
    if window.ending > due and not any(time.since <= due and time.until > window.in_force for time in stale):
        yield Broken(due, "what is older than the timeout is called stale", f"nothing said during: {window.fault}")


def _check_report(time: Stale, windows: Sequence[Window], timeout_s: float) -> Iterator[Broken]:
    age_s = float(time.first.fields["age_s"])
    if age_s < timeout_s - _ROUNDING_S:
        yield Broken(time.since, "nothing is called stale before the timeout", time.first.text)
    window = _window_at(windows, time.since)
    if window is None or window.reach is Reach.ALL:
        yield Broken(time.since, "nothing is called stale while etcd is healthy and reachable", time.first.text)
        return
    confirmed = time.since - age_s
    if confirmed < window.began - timeout_s - _ROUNDING_S:
        # Then it would have been stale before anything was done to etcd.
        yield Broken(time.since, "the age counts from the last confirmation", time.first.text)
    if window.reach is Reach.NONE and confirmed > window.in_force + MARGIN_S:
        yield Broken(time.since, "the age counts from the last confirmation", time.first.text)
    due = window.well + RECOVERY_S
    if window.reach is Reach.SOME:
        due = min(due, window.in_force + timeout_s + RECOVERY_S)
    if due < math.inf and time.until > due:
        yield Broken(
            due, "what is confirmed is called current within 2 s", f"stale until {time.until - due:.2f} s later"
        )


def _check_stale_s(time: Stale, timeout_s: float) -> Iterator[Broken]:
    if time.last is None:
        return
    became_stale = time.since - float(time.first.fields["age_s"]) + timeout_s
    # It is known to be current a moment before the line says so.
    if abs(time.until - became_stale - float(time.last.fields["stale_s"])) > 2 * _ROUNDING_S:
        yield Broken(time.until, "stale_s is how long the weights were stale", time.last.text)


def check_lines(windows: Sequence[Window], lines: Sequence[Line]) -> Iterator[Broken]:
    """Look for lines that report what was not, and for those that are missing."""
    for line in lines:
        window = _window_at(windows, line.at)
        if line.event == "etcd went back":
            if line.level != "error" or window is None or not window.went_back:
                yield Broken(line.at, "only a store that went back is said to", line.text)
        elif line.level == "error":
            yield Broken(line.at, "no fault of etcd is an error of golb", line.text)
        elif line.event == "etcd lost":
            if window is None:
                yield Broken(line.at, "etcd is not said to be lost while it is healthy and reachable", line.text)
            if not (line.fields["cause"] and 0 < float(line.fields["retry_in_s"]) <= MAX_RETRY_S):
                yield Broken(line.at, "a lost etcd is reported with its cause and the time of the next try", line.text)
        elif line.event in {"watch opened", "weights listed"} and int(line.fields["revision"]) <= 0:
            yield Broken(line.at, "each revision reported is one of etcd's", line.text)
    for window in windows:
        due = window.well + RECOVERY_S
        said = [line for line in lines if line.event == "etcd went back" and window.began <= line.at <= due]
        if window.went_back and window.well < math.inf and not said:
            yield Broken(due, "a store that went back is reported within 2 s", f"nothing said after: {window.fault}")


def _window_at(windows: Sequence[Window], at: float) -> Window | None:
    """Return the window that bears on a moment: a fault may show for `RECOVERY_S` after its end."""
    # Faults follow each other, and a later one tells more about the moment.
    return next((window for window in reversed(windows) if window.began <= at <= window.well + RECOVERY_S), None)


def _newest(puts: Sequence[Put], now: float, acknowledged_by: float) -> Put | None:
    return next((put for put in reversed(puts) if put.acknowledged <= acknowledged_by and put.lost > now), None)

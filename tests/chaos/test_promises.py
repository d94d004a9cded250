"""The checks of `make chaos` find what is broken, and nothing else: histories as they are when golb does well, and ill."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from json import dumps
from typing import TYPE_CHECKING, Any

import pytest

from chaos.promises import Line, Put, Reach, Sight, Window, check_all

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 3.0


def line(at: float, event: str, level: str = "info", **fields: Any) -> Line:
    timestamp = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    return Line.parse(dumps({"timestamp": timestamp, "message": event, "level": level, **fields}))


def stale(at: float, age_s: float) -> Line:
    return line(at, "weights stale", "warning", age_s=age_s, revision=7)


def current(at: float, stale_s: float) -> Line:
    return line(at, "weights current", revision=8, stale_s=stale_s)


def lost(at: float, **fields: Any) -> Line:
    return line(at, "etcd lost", "warning", **{"cause": "refused", "retry_in_s": 0.1} | fields)


def window(reach: Reach, *, long: bool = True, went_back: bool = False) -> Window:
    """A fault from second 100 on, in force at 100.1; its end begins, and all is well, at 106, or at 101 if it is short."""
    end = 106.0 if long else 101.0
    return Window("a fault", reach, 100.0, 100.1, end, end, went_back)


def puts(*seconds: float) -> list[Put]:
    return [Put(number, at) for number, at in enumerate(seconds, 1)]


def promises(
    windows: Sequence[Window] = (), puts: Sequence[Put] = (), sights: Sequence[Sight] = (), lines: Sequence[Line] = ()
) -> list[str]:
    return [broken.promise for broken in check_all(windows, puts, sights, lines, TIMEOUT_S)]


GOOD = [lost(102.0), stale(103.2, 3.05), current(106.3, 3.15)]


def test_an_outage_that_is_reported_breaks_nothing() -> None:
    assert promises([window(Reach.NONE)], puts(99, 102, 107), [Sight(105.9, 1), Sight(107.5, 3)], GOOD) == []


def test_an_outage_that_is_not_reported_breaks_two_promises() -> None:
    found = promises([window(Reach.NONE)], puts(99, 101), [Sight(105.5, 1)], [])
    assert found == [
        "what is older than the timeout is called stale",
        "what is older than the timeout is not served in silence",
    ]


def test_a_short_outage_need_not_be_reported() -> None:
    assert promises([window(Reach.NONE, long=False)]) == []


@pytest.mark.parametrize("reach", [None, Reach.ALL])
def test_nothing_is_stale_while_etcd_is_reachable(reach: Reach | None) -> None:
    found = promises([window(reach)] if reach else [], lines=[stale(103.2, 3.05), current(103.3, 0.15)])
    assert found == ["nothing is called stale while etcd is healthy and reachable"]


@pytest.mark.parametrize(
    ("line", "promise"),
    [
        (stale(103.2, 2.5), "nothing is called stale before the timeout"),
        (stale(104.9, 3.05), "the age counts from the last confirmation"),  # nothing could be confirmed at 101.85
        (stale(103.2, 7.0), "the age counts from the last confirmation"),  # then it was stale before the fault
    ],
)
def test_a_wrong_age_is_found(line: Line, promise: str) -> None:
    assert promise in promises([window(Reach.NONE)], lines=[line, current(106.3, 3.1)])


@pytest.mark.parametrize(("until", "count"), [(107.9, 0), (108.1, 1), (math.inf, 1)])
def test_what_is_confirmed_is_called_current(until: float, count: int) -> None:
    lines = [stale(103.2, 3.05), *([current(until, until - 103.15)] if until < math.inf else [])]
    found = promises([window(Reach.NONE)], lines=lines)
    assert found == ["what is confirmed is called current within 2 s"] * count


@pytest.mark.parametrize(("until", "count"), [(105.0, 0), (105.2, 1)])
def test_with_one_bad_member_staleness_ends_before_the_fault_does(until: float, count: int) -> None:
    found = promises([window(Reach.SOME)], lines=[stale(103.2, 3.05), current(until, until - 103.15)])
    assert found == ["what is confirmed is called current within 2 s"] * count


def test_stale_s_is_how_long_it_was() -> None:
    assert promises([window(Reach.NONE)], lines=[stale(103.2, 3.05), current(106.3, 9.0)]) == [
        "stale_s is how long the weights were stale"
    ]


@pytest.mark.parametrize(("again", "count"), [(107.0, 1), (113.2, 0)])
def test_staleness_is_not_repeated_too_often(again: float, count: int) -> None:
    windows = [Window("a fault", Reach.NONE, 100.0, 100.1, 115.0, 115.0)]
    lines = [stale(103.2, 3.05), stale(again, again - 100.15), current(115.1, 11.95)]
    assert promises(windows, lines=lines) == ["staleness is repeated at most every 10 s"] * count


@pytest.mark.parametrize(
    ("reach", "at", "number", "count"),
    [
        (None, 101.9, 0, 0),  # it may take 2 s
        (None, 102.1, 0, 1),
        (None, 102.1, 1, 0),
        (Reach.ALL, 102.1, 0, 1),
        (Reach.SOME, 104.9, 0, 0),  # and the timeout, to leave the member
        (Reach.SOME, 105.1, 0, 1),
    ],
)
def test_a_put_is_in_force_in_time(reach: Reach | None, at: float, number: int, count: int) -> None:
    windows = [window(reach)] if reach else []
    assert len(promises(windows, puts(100.05), [Sight(at, number)])) == count


def test_a_put_that_stays_away_is_found_once() -> None:
    sights = [Sight(102.1 + step, 0) for step in range(5)]
    assert len(promises([], puts(100.0), sights)) == 1
    assert len(promises([], puts(100.0), [*sights, Sight(108.0, 1), Sight(109.0, 0)])) == 2


def test_puts_that_are_lost_or_not_acknowledged_need_not_be_in_force() -> None:
    history = [Put(1, 90.0), Put(2, 91.0, lost=95.0), Put(3)]
    assert promises([], history, [Sight(100.0, 1)]) == []
    assert len(promises([], history, [Sight(94.0, 1)])) == 1


def test_a_store_that_went_back_has_to_be_reported_and_no_other() -> None:
    back = line(106.5, "etcd went back", "error")
    assert promises([window(Reach.NONE, went_back=True)], lines=[*GOOD, back]) == []
    assert promises([window(Reach.NONE, went_back=True)], lines=GOOD) == [
        "a store that went back is reported within 2 s"
    ]
    assert promises([window(Reach.NONE)], lines=[*GOOD, back]) == ["only a store that went back is said to"]


@pytest.mark.parametrize(
    ("line", "promise"),
    [
        (lost(90.0), "etcd is not said to be lost while it is healthy and reachable"),
        (lost(102.0, retry_in_s=31), "a lost etcd is reported with its cause and the time of the next try"),
        (lost(102.0, cause=""), "a lost etcd is reported with its cause and the time of the next try"),
        (line(102.0, "weight updater failed", "error"), "no fault of etcd is an error of golb"),
        (line(102.0, "watch opened", revision=0, member="m"), "each revision reported is one of etcd's"),
    ],
)
def test_a_line_that_is_wrong_is_found(line: Line, promise: str) -> None:
    assert promises([window(Reach.SOME)], lines=[line]) == [promise]

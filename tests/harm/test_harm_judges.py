"""The judges of `make harm` find what is broken, and nothing else: runs as they are when golb does well, and ill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from harm.calls import Call, calm_from, delivered_twice, has_shares, shares
from harm.failing import Options, Seen, judge
from harm.replaced import Death, no_call_failed
from harm.verdicts import Verdict, table

if TYPE_CHECKING:
    from collections.abc import Iterable

BEGAN, STRUCK, RETURNED = 100.0, 110.0, 130.0
RATE_RPS = 50

NO_GET_FAILS = "no GET fails"
NO_POST_TWICE = "no POST is delivered twice"
LATENCY = "p99 once they rest is within 1.5 times of before"
SHARES = "they get their shares again within 35 s"


def call(number: int, began: float, took_s: float = 0.002, status: int = 200, endpoint: str = "a") -> Call:
    """Every other call is a POST, as in the load."""
    method = "POST" if number % 2 else "GET"
    return Call(number=number, method=method, began=began, ended=began + took_s, status=status, endpoint=endpoint)


def hanging(item: Call) -> Call:
    return evolve(item, ended=item.began + 1.0, status=504 if item.method == "POST" else 200)


def steady(since: float, until: float) -> list[Call]:
    return [call(number, since + number / RATE_RPS) for number in range(round((until - since) * RATE_RPS))]


def seen_well() -> Seen:
    """A run in which every third call hangs for a second after the faults, and fails if it is a POST."""
    calls = [
        hanging(item) if item.number % 3 == 0 and STRUCK <= item.began < STRUCK + 1 else item
        for item in steady(BEGAN, RETURNED)
    ]
    delivered = [(item.number, item.method) for item in calls]
    return Seen(calls=calls, delivered=delivered, began=BEGAN, struck=STRUCK, returned=RETURNED, back=RETURNED + 2)


def with_calls(seen: Seen, calls: Iterable[Call]) -> Seen:
    """Put calls in the place of those with their numbers."""
    by_number = {item.number: item for item in seen.calls} | {item.number: item for item in calls}
    return evolve(seen, calls=list(by_number.values()))


def broken(seen: Seen) -> list[str]:
    return [verdict.promise for verdict in judge(seen, Options()) if not verdict.kept]


def test_a_run_that_went_well_breaks_no_promise() -> None:
    assert broken(seen_well()) == []


def test_a_run_in_which_nothing_was_called_breaks_every_promise() -> None:
    seen = evolve(seen_well(), calls=[], delivered=[], back=None)
    assert broken(seen) == [NO_GET_FAILS, NO_POST_TWICE, LATENCY, SHARES]


@pytest.mark.parametrize("status", [0, 502, 503])
def test_a_get_that_failed_is_found_wherever_it_was(status: int) -> None:
    for moment in (BEGAN + 1, STRUCK + 0.5, RETURNED - 1):
        number = round((moment - BEGAN) * RATE_RPS) // 2 * 2
        failed = evolve(call(number, moment), status=status)
        assert broken(with_calls(seen_well(), [failed])) == [NO_GET_FAILS]


def test_a_post_that_two_endpoints_got_is_found_and_a_get_may_come_twice() -> None:
    seen = seen_well()
    assert broken(evolve(seen, delivered=[*seen.delivered, (4, "GET")])) == []
    assert broken(evolve(seen, delivered=[*seen.delivered, (5, "POST")])) == [NO_POST_TWICE]


def test_endpoints_that_never_rest_are_found_though_each_call_is_answered() -> None:
    seen = seen_well()
    late = [
        evolve(item, ended=item.began + 1.0) for item in seen.calls if item.began >= STRUCK and item.number % 10 == 0
    ]
    assert broken(with_calls(seen, late)) == [LATENCY]


def test_p99_counts_from_the_moment_at_which_the_bad_endpoints_rest() -> None:
    seen = seen_well()
    slower = [evolve(item, ended=item.began + 0.0031) for item in seen.calls if item.began >= STRUCK + 2]
    assert broken(with_calls(seen, slower)) == [LATENCY]
    little = [evolve(item, ended=item.began + 0.0029) for item in seen.calls if item.began >= STRUCK + 2]
    assert broken(with_calls(seen, little)) == []


@pytest.mark.parametrize(("back_s", "expected"), [(35.0, []), (35.5, [SHARES]), (None, [SHARES])])
def test_shares_have_to_come_back_in_time(back_s: float | None, expected: list[str]) -> None:
    back = None if back_s is None else RETURNED + back_s
    assert broken(evolve(seen_well(), back=back)) == expected


def test_calm_begins_when_no_more_than_one_call_a_second_is_a_trial() -> None:
    calls = steady(0, 10)
    struck = [hanging(item) if item.began < 2 or item.number in (150, 250) else item for item in calls]
    assert calm_from(struck, 0, 10, 0.5) == pytest.approx(2.0, abs=0.1)
    assert calm_from([hanging(item) for item in calls], 0, 10, 0.5) is None
    assert calm_from([], 0, 10, 0.5) is None


def test_shares_are_of_the_calls_that_were_answered() -> None:
    calls = [call(number, 0, endpoint="ab"[number % 2]) for number in range(10)]
    failed = [call(number, 0, status=502, endpoint="a") for number in range(10, 20)]
    assert shares([*calls, *failed]) == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(("times", "expected"), [(100, True), (91, True), (80, False), (0, False)])
def test_a_share_may_be_a_tenth_of_it_away(times: int, *, expected: bool) -> None:
    calls = [call(number, 0, endpoint="a") for number in range(200 - times)]
    calls += [call(number, 0, endpoint="b") for number in range(times)]
    assert has_shares(calls, {"a": 1, "b": 1}) is expected


def test_ids_that_came_twice_are_told_in_order() -> None:
    assert delivered_twice([3, 1, 2, 3, 1, 4]) == [1, 3]


def test_only_a_post_in_the_hands_of_an_endpoint_at_its_death_may_fail() -> None:
    death = Death("a", 5.0, 5.001)
    in_hands = call(1, 4.999, status=502)
    assert no_call_failed([in_hands, call(2, 6)], [death]).kept
    for failed in (
        call(2, 4.999, status=502),  # a GET can be sent again
        call(1, 5.002, status=502),  # begun after the death
        call(1, 4.7, 1.0, status=502),  # had been waiting for something else
        call(1, 4.999, status=502, endpoint="b"),  # in other hands
    ):
        assert not no_call_failed([failed, call(4, 6)], [death]).kept
    assert not no_call_failed([], [death]).kept


def test_a_table_tells_what_was_promised_what_was_seen_and_whether_it_was_kept() -> None:
    rows = table(
        "title", [Verdict("all is well", "3 of 3", kept=True), Verdict("fast", "9 s", kept=False)]
    ).splitlines()
    assert rows[0] == "**title**"
    assert rows[-2:] == ["| all is well | 3 of 3 | PASS |", "| fast | 9 s | FAIL |"]

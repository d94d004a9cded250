"""What is counted of calls, in memory: where a duration belongs, which classes there are, and what is forgotten."""

from __future__ import annotations

import json
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golb.stats import DURATION_BOUNDS_S, OWN_BOUNDS_S, EndpointStats, FunctionStats, Histogram

durations_s = st.floats(0, 1000)
statuses = st.integers(100, 999)
calls = st.lists(st.tuples(statuses, durations_s, durations_s, durations_s), max_size=50)


@pytest.mark.parametrize("bounds_s", [DURATION_BOUNDS_S, OWN_BOUNDS_S])
def test_bounds_rise_and_none_stands_twice(bounds_s: tuple[float, ...]) -> None:
    assert list(bounds_s) == sorted(set(bounds_s))
    assert bounds_s[0] > 0


def test_a_duration_counts_up_to_the_bound_that_it_equals_and_beyond_all_in_the_last_place() -> None:
    stats = FunctionStats()
    for duration_s in (0.0, 0.001, 0.0011, 300.0, 300.1):
        stats.count(200, duration_s, 0.0, 0.0)
    report = stats.report()
    assert report["duration"]["counts"] == [2, 1, *[0] * 13, 1, 1]
    assert report["first_byte"]["counts"] == [5, *[0] * 16]
    assert report["own"]["counts"] == [5, *[0] * 12]


@given(calls)
def test_each_answer_is_in_one_class_and_once_in_each_histogram(answers: list[tuple[int, float, float, float]]) -> None:
    stats = FunctionStats()
    for answer in answers:
        stats.count(*answer)
    report = stats.report()
    assert sum(report["responses"].values()) == len(answers)
    for place, name in enumerate(("duration", "first_byte", "own"), 1):
        histogram = report[name]
        assert len(histogram["counts"]) == len(histogram["bounds_s"]) + 1
        expected = [0] * len(histogram["counts"])
        for answer in answers:
            expected[bisect_left(histogram["bounds_s"], answer[place])] += 1
        assert histogram["counts"] == expected
        assert histogram["sum_s"] == pytest.approx(sum(answer[place] for answer in answers))


@given(st.lists(statuses, max_size=50))
def test_a_status_is_of_the_class_of_its_first_digit_and_beyond_599_of_5xx(answers: list[int]) -> None:
    stats = FunctionStats()
    at_endpoint = EndpointStats("a")
    for status in answers:
        stats.count(status, 0.0, 0.0, 0.0)
        at_endpoint.count(status)
    expected = {f"{digit}xx": sum(status // 100 == digit for status in answers) for digit in range(1, 5)}
    expected["5xx"] = sum(status >= 500 for status in answers)
    assert stats.report()["responses"] == at_endpoint.report()["responses"] == expected


def test_what_is_no_status_counts_for_nothing() -> None:
    stats = FunctionStats()
    with pytest.raises(IndexError):
        stats.count(1000, 0.0, 0.0, 0.0)
    assert stats.report() == FunctionStats().report()


def test_classes_stand_in_order_and_are_all_there() -> None:
    for stats in (FunctionStats(), EndpointStats("a")):
        responses = stats.report()["responses"]
        assert list(responses.items()) == [("1xx", 0), ("2xx", 0), ("3xx", 0), ("4xx", 0), ("5xx", 0)]


def test_what_is_counted_of_an_endpoint_begins_at_0() -> None:
    told = EndpointStats("a").report()
    assert set(told) == {"calls", "retries", "failures", "responses", "bytes_in", "bytes_out"}
    assert not any(value for name, value in told.items() if name != "responses")


def test_functions_share_no_counts() -> None:
    one, other = FunctionStats(), FunctionStats()
    one.count(200, 0.5, 0.25, 0.0001)
    assert sum(one.report()["responses"].values()) == 1
    assert other.report() == FunctionStats().report()
    other.count(200, 0.5, 0.25, 0.0001)
    assert one.report() == other.report()


def test_a_report_is_json_and_does_not_change_when_more_is_counted() -> None:
    stats = FunctionStats()
    stats.count(200, 0.5, 0.25, 0.0001)
    report = stats.report()
    text = json.dumps(report, allow_nan=False)
    stats.count(200, 0.5, 0.25, 0.0001)
    stats.gone += 1
    assert json.dumps(report) == text
    assert json.loads(text) == report


def test_histograms_share_no_counts() -> None:
    one, other = Histogram(OWN_BOUNDS_S), Histogram(OWN_BOUNDS_S)
    before = one.report()
    one.count(0.0)
    assert before["counts"][0] == other.report()["counts"][0] == 0
    assert one.report() == {"bounds_s": list(OWN_BOUNDS_S), "counts": [1, *[0] * len(OWN_BOUNDS_S)], "sum_s": 0.0}

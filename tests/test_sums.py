"""Sums over workers: as if one process had counted it all, and never going back whoever is replaced, silent, or gone."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from admin.fakes import NOW_S, endpoint_report, report
from hypothesis import given
from hypothesis import strategies as st

from golb.stats import EndpointStats, FunctionStats
from golb.sums import Remembered, sum_connections, sum_reports, sum_totals

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDPOINTS = ["10.42.0.1:80", "10.42.0.2:80", "10.42.0.3:80"]
WORKERS = [0, 1, 2]

statuses = st.integers(100, 599)
# Sums of these are exact in any order.
durations_s = st.integers(0, 4096).map(lambda eighths: eighths / 8)
calls = st.tuples(st.sampled_from(ENDPOINTS), statuses, durations_s)


class Worker:
    """Counts calls of one function, as a handler does."""

    def __init__(self) -> None:
        self.stats = FunctionStats()
        self.endpoints = {endpoint: EndpointStats(endpoint) for endpoint in ENDPOINTS}

    def call(self, endpoint: str, status: int, duration_s: float) -> None:
        self.stats.count(status, duration_s, duration_s / 2, duration_s / 4)
        at_endpoint = self.endpoints[endpoint]
        at_endpoint.calls += 1
        at_endpoint.count(status)
        at_endpoint.bytes_out += 1000
        self.stats.gone += status < 200

    def report(self, *endpoints: str, **members: Any) -> dict[str, Any]:
        told = [endpoint_report(one, self.endpoints[one]) for one in endpoints or ENDPOINTS]
        return report("f", stats=self.stats, endpoints=told, **members)


def whole(told: dict[str, Any]) -> dict[str, Any]:
    """Return a report with its endpoints in a list; it has to be JSON."""
    told = told | {"endpoints": list(told["endpoints"])}
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    return told


def counts(told: Any, path: str = "") -> dict[str, float]:
    """Return all numbers in a report that may only grow, by where they stand."""
    if isinstance(told, dict):
        kept = {
            key: value for key, value in told.items() if key not in {"weight", "share", "in_flight", "waiting", "rest"}
        }
        return {place: value for key, one in kept.items() for place, value in counts(one, f"{path}/{key}").items()}
    if isinstance(told, list):
        parts: Iterable[tuple[Any, Any]] = (
            ((one["endpoint"] if isinstance(one, dict) else place), one) for place, one in enumerate(told)
        )
        return {place: value for key, one in parts for place, value in counts(one, f"{path}/{key}").items()}
    return {path: told} if isinstance(told, int | float) and not isinstance(told, bool) else {}


@given(st.lists(st.tuples(st.sampled_from(WORKERS), calls), max_size=40))
def test_the_sum_of_all_workers_is_what_one_process_would_tell(made: list[tuple[int, tuple[str, int, float]]]) -> None:
    workers, alone = [Worker() for _ in WORKERS], Worker()
    for worker, call in made:
        workers[worker].call(*call)
        alone.call(*call)
    assert whole(sum_reports([one.report() for one in workers])) == whole(alone.report())


def test_what_is_under_way_is_summed_and_what_is_configured_is_as_the_first_has_it() -> None:
    first = report("f", *ENDPOINTS, in_flight=2, waiting=1, revision=8, updated_s=NOW_S)
    other = report("f", *ENDPOINTS[:2], in_flight=3, waiting=0, revision=7, updated_s=NOW_S + 5, panicking=True)
    first["endpoints"][0] |= {"weight": 3, "share": 0.6, "gateway": True, "in_flight": 2}
    other["endpoints"][0] |= {"weight": 1, "share": 0.5, "in_flight": 3}
    told = whole(sum_reports([first, other]))
    assert (told["in_flight"], told["waiting"], told["panicking"]) == (5, 1, True)
    assert (told["revision"], told["updated_s"]) == (7, NOW_S + 5)
    endpoint = told["endpoints"][0]
    assert (endpoint["weight"], endpoint["share"], endpoint["gateway"], endpoint["in_flight"]) == (3, 0.6, True, 5)
    assert [one["endpoint"] for one in told["endpoints"]] == ENDPOINTS


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["serving", "serving"], "serving"),
        (["resting", "serving"], "serving"),
        (["serving", "resting"], "serving"),
        (["resting", "resting"], "resting"),
        (["draining", "draining"], "draining"),
        (["draining", "resting"], "draining"),
    ],
)
def test_an_endpoint_rests_if_it_rests_in_all_workers_and_as_long_as_in_any(states: list[str], expected: str) -> None:
    reports = []
    for number, state in enumerate(states):
        rest = {"for_s": 1.5 - number, "failures": number, "cause": ""} if state == "resting" else None
        reports.append(report("f", endpoints=[endpoint_report(ENDPOINTS[0], state=state, rest=rest)]))
    (endpoint,) = sum_reports(reports)["endpoints"]
    assert endpoint["state"] == expected
    assert endpoint["rest"] == (
        reports[states.index("resting")]["endpoints"][0]["rest"] if "resting" in states else None
    )


def test_an_endpoint_that_one_worker_does_not_know_yet_is_told_by_the_others() -> None:
    told = sum_reports([report("f", *ENDPOINTS[:1]), report("f", *ENDPOINTS[1:])])
    assert [one["endpoint"] for one in told["endpoints"]] == ENDPOINTS


def test_workers_that_tell_of_different_things_are_no_sum() -> None:
    odd = report("f")
    odd["duration"]["counts"] = [0]
    with pytest.raises(ValueError, match="different things"):
        sum_reports([report("f"), odd])


def totals(number: int) -> dict[str, Any]:
    return {
        "functions": 3,
        "in_flight": number,
        "waiting": number,
        "held": number,
        "unknown_function": number,
        "no_function_call": 2 * number,
        "second_tries": {"in_use": number, "begun": 3 * number, "exhausted": 4 * number},
        "resting": number,
        "rests_begun": 5 * number,
    }


def test_totals_are_summed_but_for_what_all_workers_have_in_common() -> None:
    assert sum_totals([totals(1), totals(10)]) == totals(11) | {"functions": 3, "resting": 10}
    assert sum_totals([{}, {}]) == sum_totals([]) == {}


def test_connections_are_summed() -> None:
    one = {"limit": 100, "open": 4, "accepted": 50, "delayed": 2, "closed_for_room": 1}
    assert sum_connections([one, one]) == {name: 2 * value for name, value in one.items()}
    assert sum_connections([]) == dict.fromkeys(one, 0)


events = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from(WORKERS), calls),
        st.tuples(st.just("replace"), st.sampled_from(WORKERS), st.none()),
        st.tuples(st.just("ask"), st.sets(st.sampled_from(WORKERS), min_size=1), st.none()),
    ),
    max_size=40,
)


@given(events)
def test_counts_never_go_back_whoever_is_replaced_or_does_not_answer(happening: list[tuple[str, Any, Any]]) -> None:
    remembered, workers = Remembered(), {number: Worker() for number in WORKERS}
    alone = Worker()  # counts what the workers have ever told
    untold: dict[int, list[tuple[str, int, float]]] = {number: [] for number in WORKERS}
    before: dict[str, float] = {}
    for kind, who, call in [*happening, ("ask", set(WORKERS), None)]:
        if kind == "call":
            workers[who].call(*call)
            untold[who].append(call)
        elif kind == "replace":
            remembered.forget(who)
            workers[who] = Worker()
            untold[who] = []
        else:
            told = whole(remembered.sum_reports({number: workers[number].report() for number in who}))
            for number in who:
                for made in untold[number]:
                    alone.call(*made)
                untold[number] = []
            now = counts(told)
            assert all(now[place] >= value for place, value in before.items())
            assert told == whole(alone.report())
            before = now


def test_totals_and_connections_do_not_go_back_either() -> None:
    remembered = Remembered()
    connections = {"limit": 100, "open": 4, "accepted": 50, "delayed": 2, "closed_for_room": 1}
    for number in WORKERS:
        remembered.sum_totals({number: totals(1)})
        remembered.sum_connections({number: connections})
    remembered.forget(1)
    told = remembered.sum_totals({0: totals(1), 1: totals(0), 2: totals(1)})
    assert (told["unknown_function"], told["second_tries"]["begun"], told["rests_begun"]) == (3, 9, 15)
    assert told["in_flight"] == 2
    clients = remembered.sum_connections({0: connections})
    assert clients == {"limit": 100, "open": 4, "accepted": 150, "delayed": 6, "closed_for_room": 3}


def test_a_function_that_is_deleted_counts_from_0_when_it_comes_again() -> None:
    remembered, worker = Remembered(), Worker()
    worker.call(ENDPOINTS[0], 200, 0.5)
    remembered.sum_reports({0: worker.report(), 1: worker.report()})
    remembered.forget(1)
    remembered.drop("f")
    assert whole(remembered.sum_reports({1: Worker().report()})) == whole(Worker().report())


def test_an_endpoint_that_leaves_takes_what_it_counted_along() -> None:
    remembered, worker = Remembered(), Worker()
    for endpoint in ENDPOINTS:
        worker.call(endpoint, 200, 0.5)
    remembered.sum_reports({0: worker.report()})
    remembered.forget(0)
    without = remembered.sum_reports({0: Worker().report(*ENDPOINTS[1:])})
    assert [one["calls"] for one in without["endpoints"]] == [1, 1]
    again = whole(remembered.sum_reports({0: Worker().report()}))
    assert [one["calls"] for one in again["endpoints"]] == [0, 1, 1]
    assert again["responses"]["2xx"] == 3


def test_little_is_kept_of_what_was_called_and_nothing_of_the_rest() -> None:
    remembered, idle, worker = Remembered(), report("idle", *ENDPOINTS), Worker()
    for endpoint in ENDPOINTS:
        worker.call(endpoint, 200, 0.125)
    told = worker.report()
    tracemalloc.start()
    try:
        for number in range(1000):
            remembered.sum_reports({0: idle | {"function": f"idle-{number}"}})
        of_idle = tracemalloc.get_traced_memory()[0]
        for number in range(1000):
            remembered.sum_reports({0: told | {"function": f"f-{number}"}})
        of_called = tracemalloc.get_traced_memory()[0] - of_idle
        for number in range(1000):
            remembered.drop(f"f-{number}")
        of_deleted = tracemalloc.get_traced_memory()[0] - of_idle
    finally:
        tracemalloc.stop()
    assert of_idle < 20_000
    assert of_called < 1000 * 2500
    assert of_deleted < of_called / 2  # Python keeps two thousand tuples of a size for later

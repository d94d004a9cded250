"""The history of weights: what of it is kept, in which order, and that it stays within its bounds whatever comes."""

from __future__ import annotations

import gc
import tracemalloc
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from golb.history import Change, WeightHistory
from golb.limits import Limits
from golb.weights import Endpoint, Weights, WeightUpdate

ENDPOINTS = [Endpoint(f"10.42.0.{number}", 80) for number in range(20)]


def weights(count: int) -> Weights:
    return Weights(dict.fromkeys(ENDPOINTS[:count], 1))


def update(function: str, count: int | None, revision: int) -> WeightUpdate:
    """Make an update to so many endpoints; None: the function is gone."""
    return WeightUpdate(function, None if count is None else weights(count), revision)


def revisions(history: WeightHistory, function: str) -> list[int]:
    return [change.revision for change in history.of(function)]


def size(changes: list[Change]) -> int:
    return sum(len(change.weights.by_endpoint) + 1 for change in changes)


def test_changes_are_told_oldest_first_with_their_time_and_their_weights() -> None:
    history = WeightHistory()
    history.add(update("f", 1, 7), 100.5)
    history.add(update("g", 3, 8), 101.5)
    history.add(update("f", 2, 9), 102.5)
    assert history.of("f") == [Change(100.5, 7, weights(1)), Change(102.5, 9, weights(2))]
    assert history.of("g") == [Change(101.5, 8, weights(3))]
    assert history.of("unknown") == []
    assert history.last("f") == history.of("f")[-1]
    assert history.last("unknown") is None


def test_what_has_been_replaced_is_told_as_it_was() -> None:
    history = WeightHistory()
    limited = Limits(max_inflight=7)
    told = [
        Weights({ENDPOINTS[0]: 1, ENDPOINTS[1]: 0.5}),
        Weights({ENDPOINTS[0]: 2**60 + 1, ENDPOINTS[1]: 3}),
        Weights({ENDPOINTS[1]: 3, ENDPOINTS[0]: 2}),
        Weights({ENDPOINTS[1]: 3, ENDPOINTS[0]: 2}, limited),
        Weights({}, limited),
        Weights({}),
        Weights({ENDPOINTS[0]: 1}),
    ]
    for revision, one in enumerate(told, 1):
        history.add(WeightUpdate("f", one, revision), float(revision))
    changes = history.of("f")
    assert changes == [Change(float(revision), revision, one) for revision, one in enumerate(told, 1)]
    assert [list(change.weights.by_endpoint) for change in changes] == [list(one.by_endpoint) for one in told]


def test_python_need_not_look_for_cycles_among_weights_that_were_replaced() -> None:
    history = WeightHistory()
    history.add(update("f", 4, 0), 0.0)
    gc.collect()
    before = len(gc.get_objects())
    for revision in range(1, 500):
        history.add(update("f", 4, revision), float(revision))
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_a_function_that_is_gone_has_no_history_and_begins_anew() -> None:
    history = WeightHistory()
    history.add(update("f", 1, 1), 1.0)
    history.add(update("f", None, 2), 2.0)
    assert history.of("f") == []
    history.add(update("f", None, 3), 3.0)
    history.add(update("f", 2, 4), 4.0)
    assert revisions(history, "f") == [4]


def test_functions_are_told_in_the_order_in_which_they_came() -> None:
    history = WeightHistory()
    assert history.functions() == []
    for revision, (function, count) in enumerate([("g", 1), ("f", 0), ("g", 2), ("h", 1), ("f", None), ("f", 3)], 1):
        history.add(update(function, count, revision), 1.0)
    assert history.functions() == ["g", "h", "f"]
    history.add(update("unknown", None, 7), 1.0)
    history.add(update("g", None, 8), 1.0)
    assert history.functions() == ["h", "f"]


def test_of_one_function_the_last_600_changes_are_kept() -> None:
    history = WeightHistory()
    for revision in range(1, 1002):
        history.add(update("f", revision % 20, revision), float(revision))
    assert revisions(history, "f") == list(range(402, 1002))


def test_beyond_the_bound_the_oldest_change_of_all_functions_goes_first() -> None:
    history = WeightHistory(max_endpoints=12)
    for revision, function in enumerate("fgfgf", 1):  # of 3 each
        history.add(update(function, 2, revision), float(revision))
    assert (revisions(history, "f"), revisions(history, "g")) == ([3, 5], [2, 4])


def test_what_is_in_force_is_kept_even_where_it_is_beyond_the_bound() -> None:
    history = WeightHistory(max_endpoints=10)
    for revision, function in enumerate("abcdefgh", 1):
        history.add(update(function, 19, revision), float(revision))
    assert [revisions(history, function) for function in "abcdefgh"] == [[number] for number in range(1, 9)]
    history.add(update("a", 19, 9), 9.0)
    assert revisions(history, "a") == [9]


def test_what_is_told_is_the_callers_own() -> None:
    history = WeightHistory()
    history.add(update("f", 1, 1), 1.0)
    history.of("f").clear()
    assert revisions(history, "f") == [1]


@given(
    max_endpoints=st.integers(1, 60),
    changes=st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 20)), max_size=200),
)
@settings(deadline=None)
def test_whatever_comes_the_last_is_there_none_is_missing_between_and_the_bound_holds(
    max_endpoints: int, changes: list[tuple[str, int | None]]
) -> None:
    history = WeightHistory(max_endpoints)
    since_deleted: dict[str, list[int]] = defaultdict(list)
    for revision, (function, count) in enumerate(changes, 1):
        history.add(update(function, count, revision), float(revision))
        if count is None:
            since_deleted[function].clear()
        else:
            since_deleted[function].append(revision)
        for name, all_of_them in since_deleted.items():
            kept = revisions(history, name)
            assert bool(kept) == bool(all_of_them)
            assert kept == all_of_them[len(all_of_them) - len(kept) :]
        kept_of_all = [history.of(name) for name in since_deleted]
        within_bound = sum(map(size, kept_of_all)) <= max_endpoints
        assert within_bound or all(len(kept) <= 1 for kept in kept_of_all)


def test_memory_is_bounded_over_any_number_of_changes() -> None:
    history = WeightHistory(max_endpoints=2000)

    def change(times: int) -> int:
        for number in range(times):
            function = f"function-{number % 7}"
            history.add(WeightUpdate(function, Weights(dict.fromkeys(ENDPOINTS[: number % 20], 1)), number), 1.0)
            if number % 50 == 0:
                history.add(WeightUpdate(f"short-lived-{number}", weights(0), number), 1.0)
                history.add(WeightUpdate(f"short-lived-{number}", None, number), 1.0)
        gc.collect()  # Python keeps tuples that are no more, up to some thousands, for those to come
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = change(3000)
        after = change(12_000)
    finally:
        tracemalloc.stop()
    assert after < before * 1.2
    assert sum(size(history.of(f"function-{number}")) for number in range(7)) <= 2000

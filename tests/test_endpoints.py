"""Who is asked while some endpoints rest: exact shares among the others, one trial at a time, and all if none is left."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import lcm
from random import Random
from typing import TYPE_CHECKING

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.endpoints import EndpointSet
from golb.errors import NoEndpoint
from golb.health import Health, RestingEndpoints, RestPolicy

if TYPE_CHECKING:
    from collections.abc import ItemsView, Mapping

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=50)

# Longer than any rest.
LATER_S = 1000.0
# Of a first rest at time 0, however much shorter it is.
NOT_YET_S = 0.5


@frozen(eq=False)
class Pod:
    name: str
    health: Health = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "health", Health(self.name))

    def __repr__(self) -> str:
        return self.name


class Setting:
    """Endpoints a, b, c, … with these weights, whose failures come when the test says so."""

    def __init__(self, *weights: float, panic_threshold: float = 0.5, seed: int = 0) -> None:
        self.pods = [Pod(chr(ord("a") + index)) for index in range(len(weights))]
        self.rests = RestingEndpoints(RestPolicy(), random=Random(seed))
        self.set: EndpointSet[Pod] = EndpointSet(
            self.by_pod(*weights), rests=self.rests, panic_threshold=panic_threshold, random=Random(seed)
        )

    def by_pod(self, *weights: float) -> dict[Pod, float]:
        return dict(zip(self.pods, weights, strict=True))

    def fail(self, *indexes: int, now_s: float = 0.0, trial: bool = False) -> None:
        for index in indexes:
            self.rests.fail(self.pods[index].health, now_s, "refused", unsent=True, trial=trial)
        self.set.renew()

    def serve_again(self, *indexes: int) -> None:
        for index in indexes:
            self.rests.succeed(self.pods[index].health, trial=True)
        self.set.renew()

    def let_rest(self, indexes: frozenset[int]) -> None:
        """Let just these rest."""
        for index, pod in enumerate(self.pods):
            if index not in indexes and pod.health.is_resting:
                self.rests.succeed(pod.health, trial=True)
            elif index in indexes and not pod.health.is_resting:
                self.rests.fail(pod.health, 0.0, "refused", unsent=True, trial=False)
        self.set.renew()

    def picks(self, count: int, now_s: float = NOT_YET_S) -> str:
        return "".join(self.set.next(now_s, replayable=True).name for _ in range(count))


def assert_shares(picked: str, weights: Mapping[str, float], *, off: int) -> None:
    """Check that at no time an endpoint has had so many picks more, or fewer, than its weight says."""
    exact = {name: Fraction(weight) for name, weight in weights.items() if weight}
    denominator = lcm(*(weight.denominator for weight in exact.values()))
    integers = {name: int(weight * denominator) for name, weight in exact.items()}
    total = sum(integers.values())
    had = dict.fromkeys(integers, 0)
    for count, name in enumerate(picked, 1):
        had[name] += 1
        assert all(abs(had[one] * total - count * weight) < off * total for one, weight in integers.items())


def test_without_a_failure_the_shares_are_those_of_the_weights() -> None:
    around = Setting(3, 2, 1, 0)
    assert_shares(around.picks(600), {"a": 3, "b": 2, "c": 1}, off=1)


def test_an_endpoint_that_rests_is_not_asked_and_the_others_share_exactly() -> None:
    around = Setting(3, 2, 1)
    around.picks(7)
    around.fail(1)
    assert not around.set.is_panicking
    assert around.set.resting == [around.pods[1]]
    assert_shares(around.picks(400), {"a": 3, "c": 1}, off=2)
    around.serve_again(1)
    assert around.set.resting == []
    assert_shares(around.picks(600), {"a": 3, "b": 2, "c": 1}, off=2)


WEIGHTS = st.integers(0, 5) | st.sampled_from([0.1, 33.3, 100.0]) | st.floats(0, 1e300) | st.integers(0, 10**30)


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[float], list[tuple[list[float] | frozenset[int], int]]]:
    """Return weights, and what happens then: new weights or a new choice of those that rest, and picks behind it."""
    size = draw(st.integers(1, 8))
    weights = st.lists(WEIGHTS, min_size=size, max_size=size).filter(any)
    resting = st.frozensets(st.integers(0, size - 1))
    return draw(weights), draw(st.lists(st.tuples(weights | resting, st.integers(0, 30)), max_size=12))


@REPEATABLE
@given(changes(), st.floats(0, 1), st.integers(0, 2**32))
def test_through_any_rests_returns_and_new_weights_the_shares_of_those_in_service_are_exact(
    drawn: tuple[list[float], list[tuple[list[float] | frozenset[int], int]]], panic_threshold: float, seed: int
) -> None:
    weights, happens = drawn
    around = Setting(*weights, panic_threshold=panic_threshold, seed=seed)
    in_force: dict[str, float] = {}
    picked, off = "", 1
    for change, count in happens:
        if isinstance(change, list):
            weights = change
            around.set.update(around.by_pod(*weights))
        else:
            around.let_rest(change)
        by_name = {pod.name: weight for pod, weight in around.by_pod(*weights).items() if weight}
        serving = {
            pod.name: by_name[pod.name] for pod in around.pods if pod.name in by_name and not pod.health.is_resting
        }
        before, in_force = in_force, serving or by_name
        if before and in_force != before:
            picked, off = "", 2
        picked += around.picks(count, now_s=0.05)  # no rest is over by then, not even one that is cut short
        assert_shares(picked, in_force, off=off)


# Trials.


def test_once_its_rest_is_over_one_request_tries_an_endpoint() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    assert "a" not in around.picks(30, now_s=0.79)
    assert around.set.next(1.0, replayable=True) is around.pods[0]


def test_only_one_of_many_requests_that_come_at_once_tries_an_endpoint() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    assert Counter(around.picks(100, now_s=1.0))["a"] == 1


def test_only_one_of_many_requests_that_come_at_once_tries_an_endpoint_where_too_many_rest() -> None:
    around = Setting(1, 1, 1)
    around.fail(0, 1)
    around.fail(0, 1, now_s=1.0, trial=True)
    assert around.set.is_panicking
    assert Counter(around.picks(100, now_s=3.0)) == {"a": 1, "b": 1, "c": 98}


def test_a_trial_that_was_chosen_and_never_sent_is_followed_by_another_one() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    assert around.set.next(1.0, replayable=True) is around.pods[0]
    around.set.renew()
    assert "a" not in around.picks(30, now_s=1.5)
    assert around.set.next(LATER_S, replayable=True) is around.pods[0]


def test_a_trial_waits_a_moment_for_a_request_that_can_be_sent_again() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    due_s = around.pods[0].health.due_s
    picked = [around.set.next(due_s + 0.9, replayable=False).name for _ in range(30)]
    assert "a" not in picked
    assert around.set.next(due_s + 1.0, replayable=False) is around.pods[0]


def test_a_trial_under_way_blocks_nobody_and_no_further_trial_for_ever() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    health = around.pods[0].health
    around.rests.begin_trial(health, 1.0)
    around.set.renew()
    assert "a" not in around.picks(30, now_s=2.9)
    assert around.set.next(3.1, replayable=True) is around.pods[0]


def test_a_trial_that_fails_is_followed_by_a_longer_rest_and_one_that_succeeds_by_the_whole_share() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    around.fail(0, now_s=1.0, trial=True)
    assert "a" not in around.picks(30, now_s=2.5)
    around.serve_again(0)
    assert_shares(around.picks(300, now_s=2.5), {"a": 1, "b": 1, "c": 1}, off=2)


def test_the_one_that_is_due_first_does_not_hide_the_one_that_is_due_next() -> None:
    around = Setting(1, 1, 1, 1, 1)
    around.fail(0, 1)
    for pod in (around.pods[0], around.pods[1]):
        assert around.set.next(LATER_S, replayable=True) is pod
        around.rests.begin_trial(pod.health, LATER_S)
        around.set.renew()
    assert "a" not in around.picks(30, now_s=LATER_S)


# Too many.


@pytest.mark.parametrize(
    ("threshold", "failed", "is_panicking"),
    [(0.5, [0], False), (0.5, [0, 1], False), (0.5, [0, 1, 2], True), (0.25, [0], False), (0.25, [0, 1], True)],
)
def test_rests_are_cut_short_where_more_than_the_threshold_rests(
    threshold: float, failed: list[int], *, is_panicking: bool
) -> None:
    around = Setting(1, 1, 1, 1, panic_threshold=threshold)
    around.fail(*failed)
    assert around.set.is_panicking is is_panicking
    assert set(around.set.resting) == {around.pods[index] for index in failed}


def test_the_threshold_is_one_of_weight_and_not_of_number() -> None:
    around = Setting(10, 1, 1, 1)
    around.fail(1, 2, 3)
    assert not around.set.is_panicking
    around.serve_again(1, 2, 3)
    around.fail(0)
    assert around.set.is_panicking


def test_endpoints_of_weight_0_count_for_nothing() -> None:
    around = Setting(1, 1, 0, 0)
    around.fail(2, 3)
    assert around.set.resting == []
    assert not around.set.is_panicking
    around.fail(0)
    assert around.set.resting == [around.pods[0]]
    assert not around.set.is_panicking


def test_where_too_many_rest_each_is_tried_again_after_twice_the_first_rest() -> None:
    around = Setting(1, 1, 1)
    around.fail(0, 1)
    for now_s in (1.0, 3.0):
        around.fail(0, 1, now_s=now_s, trial=True)  # from here on they would rest for 3.2 s at least
    assert set(around.picks(30, now_s=4.99)) == {"c"}
    assert set(around.picks(2, now_s=5.01)) == {"a", "b"}


def test_where_too_many_rest_and_a_trial_hangs_no_other_request_hangs_there() -> None:
    around = Setting(1, 1, 1)
    around.fail(0, 1)
    for index in (0, 1):
        around.rests.begin_trial(around.pods[index].health, 1.0)
    around.set.renew()
    assert set(around.picks(50, now_s=2.9)) == {"c"}


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_where_all_rest_all_are_used_by_their_weights(threshold: float) -> None:
    around = Setting(3, 2, 1, panic_threshold=threshold)
    around.fail(0, 1, 2)
    assert around.set.is_panicking
    assert around.set.resting == []
    assert_shares(around.picks(600), {"a": 3, "b": 2, "c": 1}, off=2)


def test_the_first_of_all_that_answers_has_everything_until_the_others_are_tried() -> None:
    around = Setting(1, 1)
    around.fail(0, 1)
    around.serve_again(1)
    assert set(around.picks(30)) == {"b"}
    assert around.set.next(LATER_S, replayable=True) is around.pods[0]


def test_new_weights_do_not_wake_an_endpoint_that_rests() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    around.set.update(around.by_pod(1, 5, 1))
    assert set(around.picks(50)) == {"b", "c"}
    around.set.update(around.by_pod(0, 1, 1))
    assert around.set.resting == []
    around.set.update(around.by_pod(1, 1, 1))
    assert around.set.resting == [around.pods[0]]


@pytest.mark.parametrize("weights", [(), (0,), (0, 0)])
def test_without_a_positive_weight_there_is_no_endpoint(weights: tuple[float, ...]) -> None:
    around = Setting(*weights)
    around.fail(*range(len(weights)))
    assert not around.set
    with pytest.raises(NoEndpoint):
        around.set.next(LATER_S, replayable=True)
    assert around.set.other([], resting=True) is None


# Instead of one that failed.


def test_another_one_is_none_of_those_tried_and_has_its_turn_by_weight() -> None:
    around = Setting(1, 1, 2)
    others = Counter(str(around.set.other([around.pods[0]], resting=True)) for _ in range(300))
    assert others.keys() == {"b", "c"}
    assert abs(others["b"] - 100) <= 2


def test_a_light_endpoint_is_found_beside_a_heavy_one_that_has_failed() -> None:
    around = Setting(10**9, 1)
    assert around.set.other([around.pods[0]], resting=False) is around.pods[1]


def test_one_that_rests_is_asked_only_where_nobody_else_is_left() -> None:
    around = Setting(1, 1, 1)
    around.fail(0)
    a, b, c = around.pods
    assert around.set.other([b], resting=True) is c
    assert around.set.other([b, c], resting=True) is a
    assert around.set.other([b, c], resting=False) is None
    assert around.set.other([a, b, c], resting=True) is None


def test_one_of_weight_0_is_never_asked_instead() -> None:
    around = Setting(1, 0)
    assert around.set.other([around.pods[0]], resting=True) is None


@REPEATABLE
@given(st.lists(WEIGHTS, min_size=1, max_size=6), st.frozensets(st.integers(0, 5)), st.frozensets(st.integers(0, 5)))
def test_another_one_is_found_if_there_is_one(
    weights: list[float], failed: frozenset[int], tried: frozenset[int]
) -> None:
    around = Setting(*weights)
    size = len(weights)
    around.fail(*(index for index in failed if index < size))
    excluded = [around.pods[index] for index in tried if index < size]
    left = [pod for pod, weight in around.by_pod(*weights).items() if weight and pod not in excluded]
    other = around.set.other(excluded, resting=True)
    assert (other in left) if left else (other is None)
    if other is not None and other.health.is_resting:
        assert all(pod.health.is_resting for pod in left)


# What it costs.


class Watched(dict[Pod, float]):
    """Weights that count how often they are gone through."""

    reads = 0

    def items(self) -> ItemsView[Pod, float]:  # type: ignore[override] # what `dict` returns has no public name
        self.reads += 1
        return super().items()


def test_trials_make_no_set_look_through_all_its_endpoints_again() -> None:
    setting = Setting(1, 1, 1)
    setting.fail(0)
    weights = Watched(setting.by_pod(1, 1, 1))
    setting.set.update(weights)
    stranger = Health("of another set")
    setting.rests.fail(stranger, 0.0, "refused", unsent=True, trial=False)
    setting.set.renew()
    reads = weights.reads
    assert reads > 0
    for health in (stranger, setting.pods[0].health):
        for now_s in (1.0, 5.0, 20.0):
            setting.rests.begin_trial(health, now_s)
            setting.set.renew()
            setting.rests.fail(health, now_s, "refused", unsent=True, trial=True)
            setting.rests.end_trial(health)
            setting.set.renew()
    assert weights.reads == reads
    assert setting.set.next(20.0 + NOT_YET_S, replayable=True) is not setting.pods[0]
    assert setting.set.next(LATER_S, replayable=True) is setting.pods[0]

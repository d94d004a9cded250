"""When an endpoint rests, for how long, and what ends it."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from golb.health import Health, RestingEndpoints, RestPolicy

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=50)

Changes = list[tuple[str, float]]


def resting_endpoints(
    changes: Changes | None = None,
    *,
    is_on: bool = True,
    min_s: float = 1.0,
    max_s: float = 30.0,
    after: int = 5,
    seed: int = 0,
) -> RestingEndpoints:
    def keep(health: Health, rest_s: float) -> None:
        if changes is not None:
            changes.append((health.name, rest_s))

    policy = RestPolicy(is_on=is_on, min_s=min_s, max_s=max_s, after=after)
    return RestingEndpoints(policy, keep, Random(seed))


def fail(
    rests: RestingEndpoints, health: Health, now_s: float = 0.0, *, unsent: bool = True, trial: bool = False
) -> None:
    rests.fail(health, now_s, "refused", unsent=unsent, trial=trial)


def fail_trial(rests: RestingEndpoints, health: Health, now_s: float) -> None:
    rests.begin_trial(health, now_s)
    fail(rests, health, now_s, trial=True)
    rests.end_trial(health)


def test_an_endpoint_that_cannot_be_reached_rests_at_once() -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health, 100.0)
    assert health.is_resting
    assert health.cause == "refused"
    assert list(rests) == [health]
    assert rests.begun == 1
    assert 100.8 <= health.due_s <= 101.0


def test_an_endpoint_that_fails_behind_a_request_rests_after_so_many_in_a_row() -> None:
    rests, health = resting_endpoints(after=3), Health("a")
    for _ in range(2):
        fail(rests, health, unsent=False)
    assert not health.is_resting
    rests.succeed(health, trial=False)
    for _ in range(2):
        fail(rests, health, unsent=False)
    assert not health.is_resting
    fail(rests, health, unsent=False)
    assert health.is_resting


def test_each_rest_lasts_twice_as_long_as_the_one_before_but_no_longer_than_the_longest() -> None:
    changes: Changes = []
    rests, health = resting_endpoints(changes), Health("a")
    fail(rests, health)
    for _ in range(7):
        fail_trial(rests, health, health.due_s)
    nominal = [1, 2, 4, 8, 16, 30, 30, 30]
    lasted = [rest_s for _, rest_s in changes]
    assert all(0.8 * most_s <= rest_s <= most_s for rest_s, most_s in zip(lasted, nominal, strict=True))
    assert rests.begun == 1  # it has rested all the time


def test_rests_are_shorter_by_a_random_part_so_that_load_balancers_do_not_come_back_at_once() -> None:
    lasted = []
    for seed in range(200):
        changes: Changes = []
        fail(resting_endpoints(changes, seed=seed), Health("a"))
        lasted += [rest_s for _, rest_s in changes]
    assert 0.8 <= min(lasted) < 0.82
    assert 0.98 < max(lasted) <= 1.0
    assert abs(sum(lasted) / len(lasted) - 0.9) < 0.01


def test_a_rest_after_any_number_of_them_is_bounded() -> None:
    rests, health = resting_endpoints(max_s=1e9), Health("a")
    fail(rests, health)
    for _ in range(5000):
        fail_trial(rests, health, 0.0)
    assert health.due_s <= 1e9


def test_a_successful_trial_ends_the_rest_and_the_next_one_is_a_first_one_again() -> None:
    changes: Changes = []
    rests, health = resting_endpoints(changes), Health("a")
    fail(rests, health)
    fail_trial(rests, health, 1.0)
    rests.begin_trial(health, 3.0)
    rests.succeed(health, trial=True)
    rests.end_trial(health)
    assert not health.is_resting
    assert len(rests) == 0
    assert (health.failures, health.rests, health.trials) == (0, 0, 0)
    assert changes[-1] == ("a", 0.0)
    fail(rests, health, 10.0)
    assert health.due_s <= 11.0
    assert rests.begun == 2


def test_what_it_answers_of_requests_from_before_its_rest_does_not_end_it() -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health)
    rests.succeed(health, trial=False)
    assert health.is_resting


def test_failures_of_requests_from_before_its_rest_do_not_lengthen_it() -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health)
    due_s, epoch = health.due_s, rests.epoch
    for _ in range(20):
        fail(rests, health, 0.5)
    assert (health.due_s, health.rests, rests.epoch) == (due_s, 1, epoch)


def test_a_trial_that_hangs_lets_the_next_one_go_a_rest_later() -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health)
    rests.begin_trial(health, 5.0)
    assert health.due_s == 7.0
    rests.begin_trial(health, 7.0)
    assert health.due_s == 9.0
    assert health.trials == 2


def test_a_trial_that_fails_after_another_one_has_ended_the_rest_is_one_failure_like_any_other() -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health)
    rests.begin_trial(health, 1.0)
    rests.begin_trial(health, 3.0)
    rests.succeed(health, trial=True)
    rests.end_trial(health)
    fail(rests, health, 4.0, unsent=False, trial=True)
    rests.end_trial(health)
    assert not health.is_resting
    assert health.failures == 1


def test_an_endpoint_that_is_not_used_any_more_rests_no_more_whatever_its_last_requests_tell() -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health)
    rests.begin_trial(health, 1.0)
    rests.forget(health)
    assert len(rests) == 0
    fail(rests, health, 2.0, trial=True)
    rests.succeed(health, trial=True)
    rests.end_trial(health)
    assert len(rests) == 0
    assert health.trials == 0
    assert not health.is_resting


def test_switched_off_nobody_rests() -> None:
    rests, health = resting_endpoints(is_on=False), Health("a")
    for _ in range(10):
        fail(rests, health)
    assert not health.is_resting
    assert (len(rests), rests.epoch, health.failures) == (0, 0, 0)


@pytest.mark.parametrize("change", ["begin_trial", "end_trial", "fail", "succeed", "forget"])
def test_whatever_changes_who_may_be_asked_shows_in_the_epoch(change: str) -> None:
    rests, health = resting_endpoints(), Health("a")
    fail(rests, health)
    epoch = rests.epoch
    if change == "begin_trial":
        rests.begin_trial(health, 1.0)
    elif change == "end_trial":
        rests.end_trial(health)
    elif change == "fail":
        fail(rests, health, 1.0, trial=True)
    elif change == "succeed":
        rests.succeed(health, trial=True)
    else:
        rests.forget(health)
    assert rests.epoch > epoch


def test_where_too_many_rest_each_is_tried_again_after_twice_the_first_rest() -> None:
    rests, health = resting_endpoints(), Health("a")
    for now_s in (10.0, 20.0, 30.0):
        rests.fail(health, now_s, "refused", unsent=True, trial=health.is_resting)
        assert health.panic_due_s == now_s + 2


@REPEATABLE
@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6), st.integers(0, 100), st.integers(0, 2**32))
def test_a_rest_is_never_longer_than_the_longest_nor_shorter_than_four_fifths_of_its_time(
    min_s: float, max_s: float, trials: int, seed: int
) -> None:
    changes: Changes = []
    rests, health = resting_endpoints(changes, min_s=min_s, max_s=max_s, seed=seed), Health("a")
    fail(rests, health)
    for _ in range(trials):
        fail_trial(rests, health, 0.0)
    for number, (_, rest_s) in enumerate(changes):
        most_s = min(min_s * 2.0**number, max_s)
        assert 0.8 * most_s <= rest_s <= most_s


@frozen(eq=False)
class Sent:
    """A request under way."""

    health: Health
    trial: bool


class AnyOrder(RuleBasedStateMachine):
    """Requests to a few endpoints that begin and end in any order, told of as `golb.upstream` does it."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.rests = resting_endpoints(after=2)
        self.endpoints = [Health(name) for name in "abc"]
        self.trials = Counter[Health]()

    @rule(target=requests, index=st.integers(0, 2))
    def send(self, index: int) -> Sent:
        health = self.endpoints[index]
        request = Sent(health, health.is_resting)
        if request.trial:
            self.rests.begin_trial(health, self.now_s)
            self.trials[health] += 1
        return request

    @rule(request=consumes(requests), how=st.sampled_from(["answered", "unsent", "late", "client gone"]))
    def end(self, request: Sent, how: str) -> None:
        health, trial = request.health, request.trial
        if how in ("unsent", "late"):
            fail(self.rests, health, self.now_s, unsent=how == "unsent", trial=trial)
        elif how == "answered" and health.failures:
            self.rests.succeed(health, trial=trial)
        if trial:
            self.rests.end_trial(health)
            self.trials[health] -= 1

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(index=st.integers(0, 2))
    def replace(self, index: int) -> None:
        self.rests.forget(self.endpoints[index])
        self.endpoints[index] = Health(self.endpoints[index].name)

    @invariant()
    def those_that_rest_are_listed_and_only_those_in_use(self) -> None:
        assert set(self.rests) == {health for health in self.endpoints if health.is_resting}

    @invariant()
    def nobody_rests_for_ever(self) -> None:
        for health in self.rests:
            assert health.failures
            assert health.due_s <= self.now_s + 30.0

    @invariant()
    def trials_under_way_are_counted(self) -> None:
        assert all(health.trials == count for health, count in self.trials.items())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(derandomize=True, deadline=None, max_examples=30, stateful_step_count=30)

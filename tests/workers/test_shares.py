"""Each worker's share of what golb may have in all."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.stack import make_config

from golb.limits import NO_LIMITS, Limits
from golb.weights import Endpoint, Weights, WeightUpdate
from golb.workers.shares import share, worker_config, worker_update

POD = Endpoint("10.42.0.5", 8080)
COUNTED = (
    "max_connections",
    "max_inflight",
    "endpoint_max_inflight",
    "queue",
    "hold_limit",
    "upstream_max_idle",
    "retry_budget_min",
)


@given(st.integers(0, 10**9), st.integers(1, 256))
def test_shares_come_to_the_whole_and_differ_by_one_at_most(whole: int, of: int) -> None:
    shares = [share(whole, index, of) for index in range(of)]
    assert sum(shares) == (max(whole, of) if whole else 0)
    assert max(shares) - min(shares) <= 1
    assert not whole or min(shares) >= 1


def test_a_worker_has_its_share_of_what_is_counted_and_all_the_rest_as_it_is() -> None:
    config = make_config(
        max_connections="1001", max_inflight="7", endpoint_max_inflight="0", queue="3", retry_budget_min="1"
    )
    workers = [worker_config(config, index, 2) for index in range(2)]
    assert [worker.max_connections for worker in workers] == [501, 500]
    assert [worker.max_inflight for worker in workers] == [4, 3]
    assert [worker.endpoint_max_inflight for worker in workers] == [0, 0]
    assert [worker.queue for worker in workers] == [2, 1]
    assert [worker.retry_budget_min for worker in workers] == [1, 1]
    for worker in workers:
        assert evolve(worker, **{name: getattr(config, name) for name in COUNTED}) == config


def test_one_worker_alone_has_all() -> None:
    config = make_config(max_connections="1001", max_inflight="7")
    assert worker_config(config, 0, 1) == config


@pytest.mark.parametrize("weights", [None, Weights({POD: 1}), Weights()])
def test_an_update_without_limits_is_the_same_for_each_worker(weights: Weights | None) -> None:
    update = WeightUpdate("f", weights, 7)
    assert worker_update(update, 1, 4) is update


def test_a_functions_limits_are_shared_and_its_timeout_is_not() -> None:
    update = WeightUpdate("f", Weights({POD: 1.5}, Limits(5, 0, 0.5)), 7)
    shared = [worker_update(update, index, 2) for index in range(2)]
    assert [each.weights and each.weights.limits for each in shared] == [Limits(3, 0, 0.5), Limits(2, 0, 0.5)]
    assert all(evolve(each, weights=update.weights) == update for each in shared)
    assert all(each.weights is not None and each.weights.by_endpoint == {POD: 1.5} for each in shared)


def test_a_limit_that_is_left_to_the_configuration_stays_so() -> None:
    update = WeightUpdate("f", Weights({POD: 1}, Limits(timeout_s=1.0)), 7)
    assert worker_update(update, 0, 2) == update
    assert update.weights is not None
    assert update.weights.limits is not NO_LIMITS

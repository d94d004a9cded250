"""Which requests may be tried again, and how many at once."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from golb.errors import LocalError, NoConnection, UpstreamError, UpstreamTimeoutError
from golb.handlers.failover import RetryBudget, is_replayable, may_be_sent_again


def test_what_was_not_sent_may_be_sent_elsewhere_whatever_it_is() -> None:
    assert may_be_sent_again(NoConnection("refused"), replayable=False)
    assert may_be_sent_again(NoConnection("refused"), replayable=True)


@pytest.mark.parametrize("failure", [UpstreamError("reset"), UpstreamTimeoutError("late")])
def test_what_was_sent_may_be_sent_again_only_if_it_does_no_harm(failure: UpstreamError) -> None:
    assert may_be_sent_again(failure, replayable=True)
    assert not may_be_sent_again(failure, replayable=False)


def test_what_this_node_lacks_no_other_endpoint_has() -> None:
    assert not may_be_sent_again(LocalError("no descriptor"), replayable=True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_an_idempotent_request_can_be_repeated_while_its_body_is_there(method: str) -> None:
    assert is_replayable(method, more_body=False)
    assert not is_replayable(method, more_body=True)


@pytest.mark.parametrize("method", ["POST", "PATCH", "get", "CONNECT", "PURGE"])
def test_any_other_request_cannot_be_repeated(method: str) -> None:
    assert not is_replayable(method, more_body=False)


async def test_the_budget_is_a_part_of_what_is_under_way_and_never_less_than_its_minimum() -> None:
    budget = RetryBudget(0.2, 3, waiting=0, timeout_s=60)
    assert [await budget.take(lambda: 1) for _ in range(4)] == [True, True, True, False]
    assert [await budget.take(lambda: 25) for _ in range(3)] == [True, True, False]
    assert (budget.in_use, budget.begun, budget.exhausted) == (5, 5, 2)
    for _ in range(5):
        budget.give_back()
    assert budget.in_use == 0


async def test_where_no_second_try_is_allowed_nobody_waits_for_one() -> None:
    budget = RetryBudget(0, 0, waiting=9, timeout_s=60)
    with trio.fail_after(5):
        assert not await budget.take(lambda: 1_000_000)


async def test_a_request_waits_for_a_second_try_in_line_and_not_for_ever(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    budget = RetryBudget(0, 1, waiting=9, timeout_s=2)
    taken: list[tuple[str, bool, float]] = []

    async def take(name: str) -> None:
        taken.append((name, await budget.take(lambda: 1), trio.current_time()))

    for name in "abc":
        nursery.start_soon(take, name)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(1)
    budget.give_back()
    await trio.sleep(2)
    assert taken == [("a", True, 0), ("b", True, 1), ("c", False, 2)]
    assert (budget.in_use, budget.begun, budget.exhausted) == (1, 2, 1)


async def test_a_second_try_that_comes_in_the_moment_of_leaving_is_not_lost(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    budget = RetryBudget(0, 1, waiting=9, timeout_s=2)
    assert await budget.take(lambda: 1)
    leaving = trio.CancelScope()

    async def take() -> None:
        with leaving:
            if await budget.take(lambda: 1):
                budget.give_back()

    nursery.start_soon(take)
    await trio.testing.wait_all_tasks_blocked()
    budget.give_back()
    leaving.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert budget.in_use == 0

"""Weight updates over memory channels: the whole table first, then the newest of each function, and nobody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from golb.updaters import Batch, Broadcaster
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

POD = Endpoint("10.42.0.5", 8080)


def put(function: str, revision: int) -> WeightUpdate:
    return WeightUpdate(function, Weights({POD: revision}), revision)


def delete(function: str, revision: int) -> WeightUpdate:
    return WeightUpdate(function, None, revision)


def revisions(batch: Batch) -> dict[str, int]:
    return {function: update.revision for function, update in batch.items()}


def test_a_subscriber_gets_nothing_before_the_table_is_known() -> None:
    broadcaster = Broadcaster()
    with broadcaster.subscribe() as batches, pytest.raises(trio.WouldBlock):
        batches.receive_nowait()


@pytest.mark.parametrize("table", [[], [put("f", 1), put("g", 2)]])
def test_a_subscriber_first_gets_the_whole_table_however_late_it_comes(table: list[WeightUpdate]) -> None:
    broadcaster = Broadcaster()
    with broadcaster.subscribe() as early:
        broadcaster.publish(table)
        with broadcaster.subscribe() as late:
            expected = {update.function: update for update in table}
            assert early.receive_nowait() == expected
            assert late.receive_nowait() == expected


def test_what_has_changed_since_is_in_the_table_and_what_was_deleted_is_not() -> None:
    broadcaster = Broadcaster()
    broadcaster.publish([put("f", 1), put("g", 2)])
    broadcaster.publish([put("h", 3), delete("f", 4)])
    broadcaster.publish([put("g", 5)])
    with broadcaster.subscribe() as batches:
        assert revisions(batches.receive_nowait()) == {"g": 5, "h": 3}


def test_a_change_comes_alone_and_a_delete_as_an_update_without_weights() -> None:
    broadcaster = Broadcaster()
    broadcaster.publish([put("f", 1), put("g", 2)])
    with broadcaster.subscribe() as batches:
        batches.receive_nowait()
        broadcaster.publish([put("g", 3)])
        assert batches.receive_nowait() == {"g": put("g", 3)}
        broadcaster.publish([delete("g", 4)])
        assert batches.receive_nowait() == {"g": delete("g", 4)}


def test_publishing_nothing_later_on_wakes_nobody() -> None:
    broadcaster = Broadcaster()
    broadcaster.publish([])
    with broadcaster.subscribe() as batches:
        assert batches.receive_nowait() == {}
        broadcaster.publish([])
        with pytest.raises(trio.WouldBlock):
            batches.receive_nowait()


def test_of_several_updates_of_a_function_in_one_call_the_last_one_counts() -> None:
    broadcaster = Broadcaster()
    with broadcaster.subscribe() as batches:
        broadcaster.publish(iter([put("f", 1), delete("f", 2), put("f", 3)]))
        assert revisions(batches.receive_nowait()) == {"f": 3}


def test_a_slow_subscriber_gets_only_the_newest_of_each_function() -> None:
    broadcaster = Broadcaster()
    broadcaster.publish([put("kept", 1)])
    with broadcaster.subscribe() as slow, broadcaster.subscribe() as quick:
        quick.receive_nowait()
        for revision in range(2, 1000):
            broadcaster.publish([put(f"f{revision % 3}", revision)])
            assert revisions(quick.receive_nowait()) == {f"f{revision % 3}": revision}
        broadcaster.publish([delete("f1", 1000)])
        batch = slow.receive_nowait()
        assert revisions(batch) == {"kept": 1, "f0": 999, "f1": 1000, "f2": 998}
        assert batch["f1"].weights is None
        with pytest.raises(trio.WouldBlock):
            slow.receive_nowait()


def test_what_one_subscriber_does_to_its_batch_reaches_no_other() -> None:
    broadcaster = Broadcaster()
    broadcaster.publish([put("f", 1)])
    with broadcaster.subscribe() as one, broadcaster.subscribe() as other:
        one.receive_nowait().clear()
        assert revisions(other.receive_nowait()) == {"f": 1}
        broadcaster.publish([put("f", 2)])
        one.receive_nowait().clear()
        assert revisions(other.receive_nowait()) == {"f": 2}
        with broadcaster.subscribe() as third:
            assert revisions(third.receive_nowait()) == {"f": 2}


async def test_a_subscriber_that_waits_is_woken_with_the_update_itself() -> None:
    broadcaster = Broadcaster()
    got: list[dict[str, int]] = []

    async def collect() -> None:
        with broadcaster.subscribe() as batches:
            async for batch in batches:
                got.append(revisions(batch))  # noqa: PERF401 - this never ends, and what came so far counts

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        await wait_all_tasks_blocked()
        broadcaster.publish([])
        await wait_all_tasks_blocked()
        broadcaster.publish([put("f", 1)])
        broadcaster.publish([put("f", 2)])  # before the task has run: still no update is lost
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [{}, {"f": 1}, {"f": 2}]


async def test_a_slow_subscriber_slows_no_other_one(autojump_clock: MockClock) -> None:
    broadcaster = Broadcaster()
    seen: dict[str, list[int]] = {"quick": [], "slow": []}

    async def collect(name: str, pause_s: float) -> None:
        with broadcaster.subscribe() as batches:
            async for batch in batches:
                seen[name] += revisions(batch).values()
                await trio.sleep(pause_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, "quick", 0)
        nursery.start_soon(collect, "slow", 9.25)
        await wait_all_tasks_blocked()
        for revision in range(1, 31):
            broadcaster.publish([put("f", revision)])
            await trio.sleep(1)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert seen["quick"] == list(range(1, 31))
    assert seen["slow"] == [1, 10, 19, 28, 30]


async def test_many_subscribers_come_and_go_while_weights_are_published(autojump_clock: MockClock) -> None:
    broadcaster = Broadcaster()
    final = {f"f{number}": 1000 + number for number in range(10)}
    ended = 0

    async def follow(number: int, is_final: Callable[[dict[str, int]], bool]) -> None:
        nonlocal ended
        await trio.sleep(number / 10)
        table: dict[str, int] = {}
        with broadcaster.subscribe() as batches:
            async for batch in batches:
                table |= revisions(batch)
                if is_final(table):
                    break
                await trio.sleep(number % 7)
        ended += 1

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(follow, number, final.__eq__ if number % 3 else bool)
            for revision in range(1, 1000):
                broadcaster.publish([put(f"f{revision % 10}", revision)])
                await trio.sleep(0.02)
            broadcaster.publish(put(function, revision) for function, revision in final.items())
    assert ended == 100


def test_after_leaving_the_channel_is_closed_and_forgotten() -> None:
    broadcaster = Broadcaster()
    with broadcaster.subscribe() as batches:
        pass
    with pytest.raises(trio.ClosedResourceError):
        batches.receive_nowait()
    assert batches.statistics().open_send_channels == 0
    assert batches.statistics().open_receive_channels == 0
    broadcaster.publish([put("f", 1)])  # and it reaches nobody
    assert batches.statistics().current_buffer_used == 0


def test_a_subscriber_that_closes_its_channel_early_disturbs_nobody() -> None:
    broadcaster = Broadcaster()
    with broadcaster.subscribe() as other:
        with broadcaster.subscribe() as batches:
            batches.close()
            broadcaster.publish([put("f", 1)])
            broadcaster.publish([put("f", 2)])
        assert revisions(other.receive_nowait()) == {"f": 2}


def test_a_subscriber_that_fails_is_forgotten() -> None:
    broadcaster = Broadcaster()
    with pytest.raises(RuntimeError, match="mine"), broadcaster.subscribe():
        raise RuntimeError("mine")
    broadcaster.publish([put("f", 1)])


async def test_a_cancelled_subscriber_loses_its_channel_and_no_other_does() -> None:
    broadcaster = Broadcaster()

    async def wait_for_ever() -> None:
        with broadcaster.subscribe() as batches:
            async for _ in batches:
                pass

    with broadcaster.subscribe() as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_ever)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        broadcaster.publish([put("f", 1)])
        assert revisions(other.receive_nowait()) == {"f": 1}


STEPS = st.lists(
    st.one_of(
        st.just("read"),
        st.just("subscribe"),
        st.lists(st.tuples(st.sampled_from("fgh"), st.booleans()), max_size=4),
    ),
    max_size=30,
)


@settings(derandomize=True, deadline=None)
@given(STEPS)
def test_whoever_applies_all_batches_it_got_has_the_table(steps: list[str | list[tuple[str, bool]]]) -> None:
    broadcaster = Broadcaster()
    truth: Batch = {}
    mine: Batch = {}

    def apply(table: Batch, updates: list[WeightUpdate]) -> None:
        for update in updates:
            if update.weights is None:
                table.pop(update.function, None)
            else:
                table[update.function] = update

    def take(batches: trio.MemoryReceiveChannel[Batch]) -> None:
        if batches.statistics().current_buffer_used:
            apply(mine, list(batches.receive_nowait().values()))

    with broadcaster.subscribe() as batches:
        for revision, step in enumerate(steps):
            if isinstance(step, list):
                updates = [(put if there else delete)(function, revision) for function, there in step]
                broadcaster.publish(updates)
                apply(truth, updates)
            elif step == "read":
                take(batches)
            else:
                with broadcaster.subscribe() as late:
                    is_known = any(isinstance(earlier, list) for earlier in steps[:revision])
                    assert late.statistics().current_buffer_used == is_known
                    assert not is_known or late.receive_nowait() == truth
        take(batches)
    assert mine == truth

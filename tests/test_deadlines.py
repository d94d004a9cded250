"""Timeouts kept by one task: who waits, who has waited for longest, and who has waited too long."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.deadlines import TICK_S, Deadlines, TimeoutQueue, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT_S = 1.0


def start(queue: TimeoutQueue[str], items: Iterable[str]) -> dict[str, Wait]:
    """Let each of them wait, one after the other; return their places."""
    waits = {item: Wait() for item in items}
    for item, wait in waits.items():
        queue.start(wait, item)
    return waits


async def test_what_has_waited_long_enough_is_found(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(TIMEOUT_S, str)
    await nursery.start(deadlines.run)
    first = start(queue, ["first"])
    await trio.sleep(TIMEOUT_S / 2)
    start(queue, ["second"])
    assert (queue.oldest(TIMEOUT_S / 4), queue.oldest(TIMEOUT_S * 3 / 4)) == ("first", None)
    queue.stop(first["first"])
    assert (queue.oldest(), queue.oldest(TIMEOUT_S / 4)) == ("second", None)


async def test_what_has_waited_for_longest_is_the_oldest() -> None:
    queue: TimeoutQueue[str] = Deadlines().queue(TIMEOUT_S, str)
    assert queue.oldest() is None
    waits = start(queue, "abc")
    assert queue.oldest() == "a"
    queue.restart(waits["a"])
    assert queue.oldest() == "b"
    queue.stop(waits["b"])
    assert (queue.oldest(), queue.waited(0)) == ("c", ["c", "a"])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["start", "stop", "restart"]), st.integers(0, 1), st.integers(0, 4))))
def test_through_any_changes_each_place_is_in_the_queue_that_it_was_put_in_last_behind_those_before(
    changes: list[tuple[str, int, int]],
) -> None:
    deadlines = Deadlines()
    queues: list[TimeoutQueue[int]] = [deadlines.queue(TIMEOUT_S, str) for _ in range(2)]
    waits = [Wait() for _ in range(5)]
    expected: list[list[int]] = [[], []]
    for change, place, item in changes:
        if change == "start":
            queues[place].start(waits[item], item)
        elif change == "stop":
            queues[place].stop(waits[item])
        else:
            queues[place].restart(waits[item])
        was_there = item in expected[place]
        if change == "start" or was_there:
            for held in expected:
                if item in held:
                    held.remove(item)
        if change == "start" or (change == "restart" and was_there):
            expected[place].append(item)
        assert [queue.waited(0) for queue in queues] == expected
        assert [len(queue) for queue in queues] == [len(held) for held in expected]
        assert [queue.oldest() for queue in queues] == [held[0] if held else None for held in expected]


def test_a_thing_that_waits_no_more_is_not_held() -> None:
    class Thing:
        def __init__(self) -> None:
            self.wait = Wait()

    queue: TimeoutQueue[Thing] = Deadlines().queue(TIMEOUT_S, str)
    things = [Thing() for _ in range(3)]
    for thing in things:
        queue.start(thing.wait, thing)
    gone = weakref.ref(things[1])
    queue.stop(things[1].wait)
    gc.disable()  # not by looking for cycles: connections come and go by the thousand
    try:
        del things[1], thing
        assert gone() is None
    finally:
        gc.enable()


async def test_whatever_waits_too_long_is_taken_out_no_more_than_two_ticks_late_and_never_early(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    overdue: list[tuple[str, float]] = []
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(TIMEOUT_S, lambda item: overdue.append((item, trio.current_time())))
    await nursery.start(deadlines.run)
    began_s = trio.current_time()
    waits = start(queue, ["stops", "waits", "begins anew"])
    await trio.sleep(TIMEOUT_S / 2)
    queue.stop(waits["stops"])
    queue.restart(waits["begins anew"])
    queue.restart(Wait())
    await trio.sleep(TIMEOUT_S * 2)
    assert [item for item, _ in overdue] == ["waits", "begins anew"]
    for (_, ended_s), due_s in zip(overdue, (TIMEOUT_S, TIMEOUT_S * 1.5), strict=True):
        assert -1e-9 <= ended_s - began_s - due_s <= 2 * TICK_S + 1e-9
    assert queue.oldest() is None


async def test_a_timeout_of_0_is_none(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(0, str)
    await nursery.start(deadlines.run)
    start(queue, ["waits"])
    await trio.sleep(1000 * TICK_S)
    assert queue.oldest() == "waits"


async def test_another_time_holds_for_what_waits_already(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    overdue: list[str] = []
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(0, overdue.append)
    await nursery.start(deadlines.run)
    start(queue, ["waits"])
    await trio.sleep(TIMEOUT_S)
    queue.timeout_s = 3 * TIMEOUT_S
    await trio.sleep(TIMEOUT_S)
    assert overdue == []
    queue.timeout_s = TIMEOUT_S
    await trio.sleep(2 * TICK_S)
    assert overdue == ["waits"]


async def test_what_has_waited_for_some_time_is_told(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(0, str)
    await nursery.start(deadlines.run)
    for item in "ab":
        start(queue, [item])
        await trio.sleep(TIMEOUT_S)
    start(queue, ["c"])
    assert queue.waited(TIMEOUT_S * 3 / 2) == ["a"]
    assert queue.waited(TIMEOUT_S / 2) == ["a", "b"]
    assert queue.waited(0) == ["a", "b", "c"]


async def test_all_that_waits_may_begin_anew(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    overdue: list[str] = []
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(TIMEOUT_S, overdue.append)
    await nursery.start(deadlines.run)
    start(queue, "ab")
    await trio.sleep(TIMEOUT_S * 3 / 4)
    start(queue, "c")
    queue.restart_all()
    await trio.sleep(TIMEOUT_S * 3 / 4)
    assert overdue == []
    await trio.sleep(TIMEOUT_S / 2)
    assert overdue == ["a", "b", "c"]


async def test_who_is_told_that_its_time_is_over_may_end_the_waits_of_others(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    overdue: list[str] = []
    deadlines = Deadlines()

    def end_all(item: str) -> None:
        overdue.append(item)
        for wait in waits.values():
            queue.stop(wait)
        queue.start(waits["b"], "b again")

    queue = deadlines.queue(TIMEOUT_S, end_all)
    await nursery.start(deadlines.run)
    waits = start(queue, "abc")
    await trio.sleep(TIMEOUT_S * 3 / 2)
    assert overdue == ["a"]
    assert queue.waited(0) == ["b again"]

"""Timeouts kept by one task: who waits, who has waited for longest, and who has waited too long."""

from __future__ import annotations

import trio
import trio.testing

from golb.deadlines import TICK_S, Deadlines, TimeoutQueue

TIMEOUT_S = 1.0


async def test_what_has_waited_long_enough_is_found(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(TIMEOUT_S, str)
    await nursery.start(deadlines.run)
    queue.start("first")
    await trio.sleep(TIMEOUT_S / 2)
    queue.start("second")
    assert (queue.oldest(TIMEOUT_S / 4), queue.oldest(TIMEOUT_S * 3 / 4)) == ("first", None)
    queue.stop("first")
    assert (queue.oldest(), queue.oldest(TIMEOUT_S / 4)) == ("second", None)


async def test_what_has_waited_for_longest_is_the_oldest() -> None:
    queue: TimeoutQueue[str] = Deadlines().queue(TIMEOUT_S, str)
    assert queue.oldest() is None
    for item in "abc":
        queue.start(item)
    assert queue.oldest() == "a"
    queue.restart("a")
    assert queue.oldest() == "b"
    queue.stop("b")
    assert (queue.oldest(), list(queue)) == ("c", ["c", "a"])


async def test_whatever_waits_too_long_is_taken_out_no_more_than_two_ticks_late_and_never_early(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    overdue: list[tuple[str, float]] = []
    deadlines = Deadlines()
    queue: TimeoutQueue[str] = deadlines.queue(TIMEOUT_S, lambda item: overdue.append((item, trio.current_time())))
    await nursery.start(deadlines.run)
    began_s = trio.current_time()
    for item in ("stops", "waits", "begins anew"):
        queue.start(item)
    await trio.sleep(TIMEOUT_S / 2)
    queue.stop("stops")
    queue.restart("begins anew")
    queue.restart("never began")
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
    queue.start("waits")
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
    queue.start("waits")
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
        queue.start(item)
        await trio.sleep(TIMEOUT_S)
    queue.start("c")
    assert queue.waited(TIMEOUT_S * 3 / 2) == ["a"]
    assert queue.waited(TIMEOUT_S / 2) == ["a", "b"]
    assert queue.waited(0) == ["a", "b", "c"]

"""How little of the loop's time a page takes, however long it is."""

from __future__ import annotations

from time import perf_counter, thread_time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from admin.fakes import FakeParts, called, report, running_admin

from golb.admin.pace import Busy, Pace, Places

if TYPE_CHECKING:
    from admin.fakes import RunningAdmin


async def test_who_works_long_pauses_and_others_have_their_turn() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        async with Pace().slices() as slices:
            end_s = perf_counter() + 0.02
            while perf_counter() < end_s:
                await slices.keep()
        nursery.cancel_scope.cancel()
    assert turns >= 5


async def test_of_those_who_work_long_one_works_at_a_time_and_all_get_on() -> None:
    pace, order = Pace(), []

    async def work(name: str) -> None:
        async with pace.slices() as slices:
            for _ in range(3):
                order.append(name)
                end_s = perf_counter() + 0.0015
                while perf_counter() < end_s:
                    pass
                await slices.keep()

    async with trio.open_nursery() as workers:
        workers.start_soon(work, "a")
        workers.start_soon(work, "b")
    assert order in (list("ababab"), list("bababa"))


async def test_while_a_client_reads_slowly_others_work(nursery: trio.Nursery) -> None:
    pace = Pace()

    async def read_never(_: bytes) -> None:
        await trio.sleep_forever()

    async def hand_to_slow_client() -> None:
        async with pace.slices() as slices:
            await slices.hand(b"piece", read_never)

    nursery.start_soon(hand_to_slow_client)
    await trio.testing.wait_all_tasks_blocked()
    async with pace.slices() as slices:
        await slices.keep()
    nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    async with pace.slices():
        pass


async def test_places_are_for_few_and_few_may_wait(nursery: trio.Nursery) -> None:
    places = Places(1, 1)
    entered = []

    async def enter(name: str) -> None:
        places.admit()
        async with places.one():
            entered.append(name)

    async with places.one():
        nursery.start_soon(enter, "waiting")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await enter("late")
        assert entered == []
    await trio.testing.wait_all_tasks_blocked()
    assert entered == ["waiting"]


@pytest.mark.parametrize("path", ["/metrics", "/api/functions?limit=1000", "/api/functions?search=f1"])
async def test_a_page_of_hundreds_of_functions_holds_up_the_loop_for_milliseconds_only(path: str) -> None:
    parts = FakeParts()
    stats = called(1)
    parts.handler.add(*(report(f"f{number}", "10.42.0.5:8080", "10.42.0.6:8080", stats=stats) for number in range(600)))
    async with running_admin(parts) as admin:
        longest_s = await longest_turn_s(admin, path)
    # A slice takes a millisecond; the client that reads, in the same thread, and the garbage collector take the rest.
    assert longest_s < 0.05


async def longest_turn_s(admin: RunningAdmin, path: str) -> float:
    """Return the most CPU time, in seconds, that other tasks take between two turns of one while a page is made."""
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        before_s = thread_time()
        while True:
            await trio.lowlevel.checkpoint()
            now_s = thread_time()
            longest_s = max(longest_s, now_s - before_s)
            before_s = now_s

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        async with admin.client.stream("GET", path) as answer:
            assert answer.status_code == 200
            async for _ in answer.aiter_raw():
                pass
        nursery.cancel_scope.cancel()
    return longest_s

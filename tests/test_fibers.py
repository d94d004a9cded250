"""Fibers under Trio: what the poller resumes goes on at once, and all else is as in any task."""

from __future__ import annotations

import contextvars
import gc
import weakref
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from golb import fibers
from golb.fibers import RESUMPTION, Fiber, attach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator

WHO = contextvars.ContextVar("WHO", default="nobody")


class OutsideOfTasks(trio.abc.Instrument):
    """Calls what it is given where the poller calls: between two rounds of tasks."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []

    def after_io_wait(self, timeout: float) -> None:
        del timeout
        calls, self._calls = self._calls, []
        for call in calls:
            call()

    async def call(self, call: Callable[[], object]) -> None:
        """Call it there, and return when all tasks that it has let go on have had their turn."""
        self._calls.append(call)
        while self._calls:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def outside() -> AsyncIterator[OutsideOfTasks]:
    outside = OutsideOfTasks()
    trio.lowlevel.add_instrument(outside)
    yield outside
    trio.lowlevel.remove_instrument(outside)


async def started(
    nursery: trio.Nursery, coroutine: Coroutine[object, object, None], then: list[str] | None = None
) -> Fiber[None]:
    """Run it as a fiber in a task of its own, up to where it waits."""
    fiber = Fiber(coroutine)

    async def run() -> None:
        await fiber
        if then is not None:
            then.append("ended")

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    return fiber


def task() -> trio.lowlevel.Task | None:
    """Return the running task, if there is one."""
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None


async def test_a_fiber_that_never_waits_returns_and_raises_as_a_coroutine_does() -> None:
    async def give() -> int:
        return 5

    async def fail() -> None:
        raise ValueError("of its own")

    assert await Fiber(give()) == 5
    with pytest.raises(ValueError, match="of its own"):
        await Fiber(fail())
    assert fibers.running() is None


async def test_what_is_resumed_goes_on_at_once_in_its_context_and_outside_of_any_task(outside: OutsideOfTasks) -> None:
    seen: list[object] = []

    async def look_twice() -> None:
        WHO.set("the fiber")
        for _ in range(2):
            await RESUMPTION
            seen.append((WHO.get(), task(), fibers.running()))

    def resume_twice() -> None:
        for times in (1, 2):
            fiber.resume()
            assert len(seen) == times

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, look_twice(), ends)
        await outside.call(resume_twice)
        assert seen == [("the fiber", None, fiber)] * 2
        assert ends == ["ended"]
    assert WHO.get() == "nobody"


async def test_what_it_raises_when_it_is_resumed_its_task_raises(outside: OutsideOfTasks) -> None:
    async def fail_later() -> None:
        await RESUMPTION
        raise ValueError("of its own")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="of its own")):
        async with trio.open_nursery() as nursery:
            fiber = await started(nursery, fail_later())
            await outside.call(fiber.resume)


async def test_what_is_woken_goes_on_in_its_task_when_that_has_its_turn(outside: OutsideOfTasks) -> None:
    seen: list[object] = []

    async def look() -> None:
        seen.append(task())
        await RESUMPTION
        seen.append(task())
        await RESUMPTION
        seen.append(task())

    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, look())
        fiber.wake()
        fiber.wake()  # has its turn to come already
        fiber.resume()  # likewise
        assert len(seen) == 1
        await trio.testing.wait_all_tasks_blocked()
        await outside.call(fiber.resume)
    assert seen[0] is seen[1] is not None
    assert seen[2] is None


async def test_attached_it_is_like_any_task_until_it_detaches(outside: OutsideOfTasks) -> None:
    seen: list[object] = []

    async def wait_for_all_kinds_of_things() -> None:
        fiber = fibers.running()
        assert fiber is not None
        own = task()
        for _ in range(2):
            await RESUMPTION
            assert task() is None
            await attach()
            await attach()
            assert (task(), fibers.running()) == (own, None)
            with trio.move_on_after(0) as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(trio.sleep_forever)
            assert scope.cancelled_caught
            seen.append(task())
            fiber.detach()
            assert fibers.running() is fiber

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, wait_for_all_kinds_of_things(), ends)
        for times in (1, 2):
            await outside.call(fiber.resume)
            assert len(seen) == times
        assert ends == ["ended"]


async def test_attach_has_no_effect_where_there_is_no_fiber() -> None:
    with trio.testing.assert_no_checkpoints():
        await attach()


@pytest.mark.parametrize("is_resumed_first", [False, True])
async def test_what_is_cancelled_while_it_waits_raises_there_and_is_resumed_no_more(
    outside: OutsideOfTasks, *, is_resumed_first: bool
) -> None:
    seen: list[str] = []

    async def wait_and_tell() -> None:
        try:
            while True:
                await RESUMPTION
                seen.append("resumed")
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    def cancel_and_resume() -> None:
        nursery.cancel_scope.cancel()
        fiber.resume()

    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, wait_and_tell())
        if is_resumed_first:
            await outside.call(fiber.resume)
        with trio.CancelScope(shield=True):
            await outside.call(cancel_and_resume)
    assert seen == ["resumed"] * is_resumed_first + ["cancelled"]


async def test_what_was_cancelled_is_freed_without_a_search_for_cycles() -> None:
    kept: list[weakref.ref[trio.Event]] = []

    async def wait() -> None:
        local = trio.Event()
        kept.append(weakref.ref(local))
        await RESUMPTION

    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            await started(nursery, wait())
            nursery.cancel_scope.cancel()
        assert kept[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("attaches", [False, True])
async def test_who_cancels_itself_when_it_is_resumed_raises_at_the_next_wait(
    outside: OutsideOfTasks, *, attaches: bool
) -> None:
    seen: list[str] = []

    async def cancel_itself() -> None:
        await RESUMPTION
        nursery.cancel_scope.cancel()
        if attaches:
            await attach()
            seen.append("attached")
            await trio.sleep_forever()
        await RESUMPTION

    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, cancel_itself())
        with trio.CancelScope(shield=True):
            await outside.call(fiber.resume)
    assert nursery.cancel_scope.cancelled_caught
    assert seen == ["attached"] * attaches


async def test_a_cancellation_that_comes_too_late_loses_nothing(outside: OutsideOfTasks) -> None:
    async def cancel_itself_and_end() -> None:
        await RESUMPTION
        nursery.cancel_scope.cancel()

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, cancel_itself_and_end(), ends)
        with trio.CancelScope(shield=True):
            await outside.call(fiber.resume)
    assert ends == ["ended"]


async def test_who_forgets_to_attach_is_told_by_trio(outside: OutsideOfTasks) -> None:
    async def sleep_without_attaching() -> None:
        await RESUMPTION
        with pytest.raises(RuntimeError, match="async context"):
            await trio.sleep(1)

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, sleep_without_attaching(), ends)
        await outside.call(fiber.resume)
        assert ends == ["ended"]


async def test_who_waits_for_what_trio_does_not_know_hears_of_it(outside: OutsideOfTasks) -> None:
    class Future:
        def __await__(self) -> Generator[object, None, None]:
            yield self

    async def wait_for_a_future() -> None:
        await RESUMPTION
        with pytest.raises(TypeError, match="unrecognized yield message"):
            await Future()

    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        fiber = await started(nursery, wait_for_a_future(), ends)
        await outside.call(fiber.resume)
        assert ends == ["ended"]

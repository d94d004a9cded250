"""Who waits for a place, in which order they go on, and that no place is ever lost."""

from __future__ import annotations

import itertools
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.errors import ClientGone, Overloaded
from golb.handlers.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golb.asgi import Event, Receive


class Seats:
    """A number of places, and a room for those who wait for one; each place is a number of its own."""

    def __init__(self, count: int, *, size: int = 100) -> None:
        self.count = count
        self.taken: set[int] = set()
        self.room: WaitingRoom[int] = WaitingRoom(size, self.give_back)
        self.entered: list[str] = []
        """Whoever got a place, in the order in which places were taken."""
        self._numbers = itertools.count(1)
        self._arrivals = itertools.count()

    def give_back(self, place: int) -> None:
        self.taken.remove(place)  # a second time would fail
        self.room.look()

    def take_for(self, name: str) -> int | None:
        if len(self.taken) >= self.count:
            return None
        place = next(self._numbers)
        self.taken.add(place)
        self.entered.append(name)
        return place

    async def wait(
        self,
        name: str = "x",
        *,
        key: str = "f",
        timeout_s: float = 60.0,
        at_most: int | None = None,
        receive: Receive | None = None,
    ) -> int:
        return await self.room.wait(
            key,
            next(self._arrivals),
            lambda: self.take_for(name),
            timeout_s=timeout_s,
            at_most=at_most,
            receive=receive,
        )

    def is_at_rest(self) -> bool:
        """Tell whether nobody waits and nobody has a place."""
        return not self.taken and not self.room.waiting and not self.room.is_waited_for("f")


async def never_gone() -> Event:
    await trio.sleep_forever()
    raise AssertionError


class Leaving:
    """A client who goes away when the test says so."""

    def __init__(self) -> None:
        self.gone = trio.Event()

    async def receive(self) -> Event:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_who_came_first_goes_first(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    seats = Seats(0)
    for name in "abcde":
        nursery.start_soon(seats.wait, name)
        await trio.testing.wait_all_tasks_blocked()
    assert seats.room.waiting == 5
    seats.count = 2
    seats.room.look()
    assert seats.entered == ["a", "b"]
    for _ in range(3):
        seats.give_back(min(seats.taken))
    assert seats.entered == ["a", "b", "c", "d", "e"]
    assert not seats.room.is_waited_for("f")


async def test_of_several_keys_the_one_whose_first_came_first_goes_first(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats = Seats(0)
    for name, key in [("a", "g"), ("b", "f"), ("c", "g"), ("d", "h")]:
        nursery.start_soon(partial(seats.wait, name, key=key))
        await trio.testing.wait_all_tasks_blocked()
    for _ in range(4):
        seats.count += 1
        seats.room.look()
    assert seats.entered == ["a", "b", "c", "d"]


async def test_a_key_that_cannot_go_on_does_not_hold_others_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    room: WaitingRoom[str] = WaitingRoom(10, lambda _: None)
    places: dict[str, str | None] = {"f": None, "g": None}
    got: list[str] = []
    arrivals = itertools.count()

    async def wait(key: str) -> None:
        got.append(await room.wait(key, next(arrivals), lambda: places[key], timeout_s=9, receive=None))

    for key in ("f", "g", "f"):
        nursery.start_soon(wait, key)
        await trio.testing.wait_all_tasks_blocked()
    places["g"] = "place"
    room.look("f")
    room.look("nobody's")
    assert room.waiting == 3
    room.look()
    await trio.testing.wait_all_tasks_blocked()
    assert got == ["place"]
    assert room.waiting == 2
    nursery.cancel_scope.cancel()


async def test_one_that_has_waited_elsewhere_before_stands_where_it_would_have_stood(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats = Seats(0)
    for arrival in (3, 1, 4, 2):
        wait = partial(seats.room.wait, "f", arrival, partial(seats.take_for, str(arrival)), timeout_s=9, receive=None)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
    seats.count = 4
    seats.room.look()
    assert seats.entered == ["1", "2", "3", "4"]


async def test_a_place_is_taken_before_its_request_runs_so_that_nobody_overtakes(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats = Seats(0)
    nursery.start_soon(seats.wait, "a")
    await trio.testing.wait_all_tasks_blocked()
    seats.count = 1
    seats.room.look()
    assert len(seats.taken) == 1
    assert seats.take_for("b") is None


async def test_no_more_wait_than_there_is_room_for(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats = Seats(0, size=2)
    for key in "fg":
        nursery.start_soon(partial(seats.wait, key=key))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overloaded, match=r"^2 requests wait already$"):
        await seats.wait(key="h")
    assert seats.room.turned_away == 1
    assert not seats.room.is_waited_for("h")
    nursery.cancel_scope.cancel()


async def test_no_more_of_one_key_wait_than_it_allows(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats = Seats(0)
    nursery.start_soon(seats.wait)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overloaded, match=r"^1 requests wait already$"):
        await seats.wait(at_most=1)
    with pytest.raises(Overloaded, match=r"^0 requests wait already$"):
        await seats.wait(key="g", at_most=0)
    assert not seats.room.is_waited_for("g")
    nursery.cancel_scope.cancel()


async def test_a_wait_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    seats = Seats(0)
    began_s = trio.current_time()
    with pytest.raises(Overloaded, match=r"^no place within 2\.5 s$"):
        await seats.wait(timeout_s=2.5)
    assert trio.current_time() - began_s == pytest.approx(2.5)
    assert seats.room.turned_away == 1
    assert seats.is_at_rest()


async def test_a_wait_of_no_time_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    seats = Seats(0)
    with pytest.raises(Overloaded, match=r"^no place within 0 s$"):
        await seats.wait(timeout_s=0)
    assert seats.is_at_rest()


async def test_one_that_waited_in_vain_does_not_hold_up_those_behind(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats = Seats(0)

    async def wait_in_vain() -> None:
        with pytest.raises(Overloaded):
            await seats.wait("a", timeout_s=1)

    nursery.start_soon(wait_in_vain)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(seats.wait, "b")
    await trio.sleep(2)
    seats.count = 1
    seats.room.look()
    assert seats.entered == ["b"]


async def test_a_client_that_goes_away_leaves_the_queue(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    seats, client = Seats(0), Leaving()

    async def wait() -> None:
        with pytest.raises(ClientGone):
            await seats.wait(receive=client.receive)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    client.gone.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seats.is_at_rest()
    assert seats.room.turned_away == 0


async def test_a_request_whose_client_cannot_be_watched_is_let_go_and_harms_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def receive() -> Event:
        raise RuntimeError("a server's own fault")

    seats = Seats(0)
    with pytest.raises(ClientGone):
        await seats.wait(receive=receive)
    assert seats.is_at_rest()


async def test_what_the_client_sends_on_is_no_reason_to_leave(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    events: list[Event] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Event:
        return events.pop() if events else await never_gone()

    seats = Seats(0)
    nursery.start_soon(lambda: seats.wait(receive=receive))
    await trio.testing.wait_all_tasks_blocked()
    assert seats.room.waiting == 1
    seats.count = 1
    seats.room.look()


async def test_when_a_place_is_there_nobody_reads_from_the_client_any_more(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    readers = 0

    async def receive() -> Event:
        nonlocal readers
        readers += 1
        try:
            return await never_gone()
        finally:
            readers -= 1

    async def wait() -> None:
        await seats.wait(receive=receive)
        assert readers == 0

    seats = Seats(0)
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert readers == 1
    seats.count = 1
    seats.room.look()


# What can happen to one that waits, all in the same moment, in every order.
COINCIDENCES = ["place", "gone", "cancelled", "late"]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_place_that_comes_in_the_moment_of_leaving_is_not_lost(size: int, *, watched: bool) -> None:
    for events in itertools.product(COINCIDENCES, repeat=size):
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(coincide, events, watched, clock, clock=clock)


async def coincide(events: Sequence[str], watched: bool, clock: trio.testing.MockClock) -> None:  # noqa: FBT001 - trio.run takes no keywords
    seats, client, scope = Seats(0), Leaving(), trio.CancelScope()
    place: int | None = None

    async def wait() -> None:
        nonlocal place
        with scope, suppress(Overloaded, ClientGone):
            place = await seats.wait(timeout_s=10, receive=client.receive if watched else None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        for event in events:
            if event == "place":
                seats.count = 1
                seats.room.look()
            elif event == "gone":
                client.gone.set()
            elif event == "cancelled":
                scope.cancel()
            else:
                clock.jump(10)
    if place is not None:
        assert "place" in events
        seats.give_back(place)
    assert seats.is_at_rest(), events


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "leave", "gone", "cancel", "more", "fewer", "wait"]), st.integers(0, 30), st.booleans()
    ),
    max_size=40,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(STEPS)
def test_through_any_coming_and_going_no_place_is_lost_and_nobody_overtakes(steps: list[tuple[str, int, bool]]) -> None:
    trio.run(come_and_go, steps, clock=trio.testing.MockClock(autojump_threshold=0))


async def come_and_go(steps: list[tuple[str, int, bool]]) -> None:
    """Follow the steps; a true third member of one lets all tasks run before the next."""
    seats = Seats(1)
    scopes: list[trio.CancelScope] = []
    clients: list[Leaving] = []
    arrived: list[str] = []
    holding: list[int] = []

    async def visit(name: str, scope: trio.CancelScope, client: Leaving) -> None:
        with scope:
            place = None if seats.room.is_waited_for("f") else seats.take_for(name)
            if place is None:
                arrived.append(name)
                try:
                    place = await seats.wait(name, timeout_s=5, receive=client.receive)
                except (Overloaded, ClientGone):
                    return
            holding.append(place)

    async with trio.open_nursery() as nursery:
        for number, (step, which, runs) in enumerate(steps):
            if step == "come":
                scopes.append(trio.CancelScope())
                clients.append(Leaving())
                nursery.start_soon(visit, str(number), scopes[-1], clients[-1])
            elif step == "leave" and holding:
                seats.give_back(holding.pop(which % len(holding)))
            elif step == "gone" and clients:
                clients[which % len(clients)].gone.set()
            elif step == "cancel" and scopes:
                scopes[which % len(scopes)].cancel()
            elif step == "more":
                seats.count += 1
                seats.room.look()
            elif step == "fewer":
                seats.count = max(0, seats.count - 1)
            elif step == "wait":
                await trio.sleep(which / 10)
            if runs:
                await trio.testing.wait_all_tasks_blocked()
                assert len(seats.taken) == len(holding)
                assert seats.room.waiting == 0 or len(seats.taken) >= seats.count
    for place in holding:
        seats.give_back(place)
    assert seats.is_at_rest()
    assert [name for name in seats.entered if name in arrived] == [name for name in arrived if name in seats.entered]

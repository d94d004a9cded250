"""Events: the feed, and how a client follows it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from admin.fakes import NOW_S, FakeParts, RunningAdmin, running_admin
from support.wire import Wire, connect

from golb.admin.event_stream import write_events
from golb.admin.events import EventFeed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def numbers(found: tuple[int, list[Any]]) -> tuple[int, list[int]]:
    lost, events = found
    return lost, [event.number for event in events]


def test_a_feed_gives_what_comes_behind_a_number() -> None:
    feed = EventFeed(kept=3)
    assert numbers(feed.after(0, 9)) == (0, [])
    for _ in range(3):
        feed.publish("weights", {})
    assert numbers(feed.after(0, 9)) == (0, [1, 2, 3])
    assert numbers(feed.after(0, 2)) == (0, [1, 2])
    assert numbers(feed.after(2, 9)) == (0, [3])
    assert numbers(feed.after(3, 9)) == (0, [])


def test_who_is_too_slow_loses_the_oldest_and_learns_how_many() -> None:
    feed = EventFeed(kept=3)
    for _ in range(10):
        feed.publish("weights", {})
    assert numbers(feed.after(2, 9)) == (5, [8, 9, 10])
    assert numbers(feed.after(7, 9)) == (0, [8, 9, 10])


def test_an_id_is_of_its_process_only() -> None:
    feed, other = EventFeed(), EventFeed()
    for _ in range(5):
        feed.publish("weights", {})
    assert feed.number_of(feed.id_of(3)) == 3
    assert feed.number_of(feed.id_of(99)) == 5
    assert other.number_of(feed.id_of(3)) is None
    for text in (
        "",
        "3",
        f"{feed.run}-",
        f"{feed.run}-x",
        f"{feed.run}--1",
        f"{feed.run}-٣",
        f"{feed.run}-{'9' * 5000}",
    ):
        assert feed.number_of(text) is None


class Stream:
    """What one client of `/api/events` reads."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._unread = b""

    async def block(self) -> list[str]:
        """Return the lines up to the next empty one."""
        while b"\n\n" not in self._unread:
            self._unread += await self._wire.read_chunk()
        block, _, self._unread = self._unread.partition(b"\n\n")
        return block.decode().split("\n")

    async def event(self) -> tuple[str, str, Any]:
        """Return an event's id, kind and data."""
        fields = dict(line.split(": ", 1) for line in await self.block())
        return fields["id"], fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def following(admin: RunningAdmin, query: str = "", last_id: str | None = None) -> AsyncIterator[Stream]:
    """Follow the events; the stream has begun."""
    async with await connect(admin.port) as wire:
        assert await ask(wire, query, last_id) == 200
        stream = Stream(wire)
        assert await stream.block() == ["retry: 1000", ": golb"]
        yield stream


async def ask(wire: Wire, query: str = "", last_id: str | None = None) -> int:
    """Ask for events, and return the status."""
    line = "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
    await wire.send(f"GET /api/events{query} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n".encode())
    return (await wire.read_head()).status


async def test_a_client_gets_what_happens_while_it_is_there() -> None:
    async with running_admin() as admin:
        admin.parts.events.publish("weights", {"function": "before"})
        async with following(admin) as stream:
            feed = admin.parts.events
            feed.publish("weights", {"function": "größe", "revision": 7})
            feed.publish("refused", {"name": "g", "reason": "line\nend"})
            weights, refused = await stream.event(), await stream.event()
    assert weights == (feed.id_of(2), "weights", {"function": "größe", "revision": 7, "at_s": NOW_S})
    assert refused == (feed.id_of(3), "refused", {"name": "g", "reason": "line\nend", "at_s": NOW_S})


async def test_a_client_that_comes_back_gets_what_it_has_missed() -> None:
    async with running_admin() as admin:
        feed = admin.parts.events
        for number in range(5):
            feed.publish("weights", {"n": number})
        async with following(admin, last_id=feed.id_of(3)) as stream:
            assert [(await stream.event())[0] for _ in range(2)] == [feed.id_of(4), feed.id_of(5)]


async def test_a_client_that_comes_back_too_late_learns_how_much_it_has_missed() -> None:
    parts = FakeParts(events=EventFeed(kept=2))
    for number in range(10):
        parts.events.publish("weights", {"n": number})
    async with running_admin(parts) as admin, following(admin, last_id=parts.events.id_of(3)) as stream:
        assert await stream.event() == (parts.events.id_of(8), "lost", {"count": 5})
        assert (await stream.event())[2]["n"] == 8


async def test_a_client_of_an_earlier_process_gets_all_that_is_kept() -> None:
    parts = FakeParts()
    parts.events.publish("draining", {})
    async with running_admin(parts) as admin, following(admin, last_id=EventFeed().id_of(3)) as stream:
        assert (await stream.event())[1:] == ("lost", {"count": None})
        assert (await stream.event())[1] == "draining"


async def test_a_client_can_ask_for_what_has_been() -> None:
    parts = FakeParts()
    for number in range(5):
        parts.events.publish("weights", {"n": number})
    async with running_admin(parts) as admin, following(admin, "?history=2") as stream:
        assert [(await stream.event())[2]["n"] for _ in range(2)] == [3, 4]


@pytest.mark.parametrize("query", ["history=-1", "history=257", "history=x"])
async def test_a_history_that_is_none_is_refused(query: str) -> None:
    async with running_admin() as admin:
        assert (await admin.client.get(f"/api/events?{query}")).status_code == 400


async def test_clients_are_few_and_one_that_goes_makes_room() -> None:
    async def follow(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with following(admin):
                task_status.started(scope)
                await trio.sleep_forever()

    async with running_admin() as admin, trio.open_nursery() as nursery:
        followers = [await nursery.start(follow) for _ in range(16)]
        answer = await admin.client.get("/api/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        followers[0].cancel()
        status = 503
        while status == 503:  # golb sees at its next turn that the other one has gone
            async with await connect(admin.port) as wire:
                status = await ask(wire)
        assert status == 200
        nursery.cancel_scope.cancel()


async def test_a_client_hears_something_now_and_then(autojump_clock: trio.testing.MockClock) -> None:
    pieces = []

    async def send_piece(piece: bytes) -> None:
        pieces.append((trio.current_time(), piece))

    began_s = trio.current_time()
    with trio.move_on_after(25):
        await write_events(EventFeed(), 0, send_piece, heartbeat_s=10)
    assert [(at_s - began_s, piece) for at_s, piece in pieces[1:]] == [(10, b": alive\n\n"), (20, b": alive\n\n")]


async def test_a_client_that_does_not_read_holds_nobody_up_and_is_told_what_it_has_lost(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    feed = EventFeed(kept=50)
    send, receive = trio.open_memory_channel[bytes](0)
    nursery.start_soon(write_events, feed, 0, send.send)
    await receive.receive()
    for number in range(1000):
        feed.publish("weights", {"n": number})
    text = b"".join([await receive.receive() for _ in range(4)]).decode()
    assert 'event: lost\ndata: {"count":950}\n' in text
    assert [line for line in text.splitlines() if line.startswith("id: ")][1:] == [
        f"id: {feed.id_of(number)}" for number in range(951, 1001)
    ]
    nursery.cancel_scope.cancel()

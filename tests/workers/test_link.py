"""Messages over a socket pair: each arrives whole and in order, or the link is lost and says so."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio
from support.stack import BOUND_S
from trio.testing import wait_all_tasks_blocked

from golb.workers.link import Link, LinkLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG = {"weights": ["x" * 1000] * 5000}


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Link, socket.socket]]:
    """A link, and the bare socket at its other end, which does not block."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = Link(ours, send_timeout_s=0.2)
    with theirs, trio.fail_after(BOUND_S):
        yield link, theirs
        link.close()


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while True:
        try:
            part = sock.recv(1 << 20)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


async def test_messages_arrive_in_order_however_they_are_cut(pair: tuple[Link, socket.socket]) -> None:
    link, peer = pair
    messages = [{"a": 1}, {"text": "größe\n\\n"}, {}, {"b": [1.5, None]}]
    data = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    received: list[dict[str, Any]] = []

    async def receive() -> None:
        for _ in messages * 3:
            received.append(await link.receive())  # noqa: PERF401 - the nursery cannot await a comprehension's end

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for size in (1, 7, len(data)):
            for begin in range(0, len(data), size):
                peer.send(data[begin : begin + size])
                await wait_all_tasks_blocked()
    assert received == messages * 3


async def test_a_message_of_several_megabytes_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    one, other = Link(ours), Link(theirs)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send, LONG)
            await wait_all_tasks_blocked()
            nursery.start_soon(one.send, {"after": 1})
            assert await other.receive() == LONG
            assert await other.receive() == {"after": 1}
    one.close()
    other.close()


async def test_messages_of_many_tasks_are_not_mixed() -> None:
    ours, theirs = socket.socketpair()
    one, other = Link(ours), Link(theirs)
    texts = [str(number) * 100_000 for number in range(10)]
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(one.send, {"text": text})
            received = [(await other.receive())["text"] for _ in texts]
    assert sorted(received) == texts
    one.close()
    other.close()


async def test_a_message_whose_sender_is_cancelled_is_sent_whole_or_not_at_all() -> None:
    ours, theirs = socket.socketpair()
    one, other = Link(ours), Link(theirs)
    with trio.fail_after(BOUND_S):
        received: list[dict[str, Any]] = []

        async def receive() -> None:
            received.extend([await other.receive(), await other.receive()])

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as senders:
                senders.start_soon(one.send, LONG)
                await wait_all_tasks_blocked()
                senders.start_soon(one.send, {"waits": "for its turn"})
                await wait_all_tasks_blocked()
                senders.cancel_scope.cancel()
                nursery.start_soon(receive)
            await one.send({"next": 1})
        assert received == [LONG, {"next": 1}]
    one.close()
    other.close()


async def test_a_peer_that_reads_nothing_loses_the_link(pair: tuple[Link, socket.socket]) -> None:
    link, peer = pair
    with pytest.raises(LinkLost, match=r"has not read for 0\.2 s"):
        await link.send(LONG)
    for call in (link.send({"more": 1}), link.receive()):
        with pytest.raises(LinkLost):
            await call
    # What it finds when it reads at last is a part of a message, and then the end.
    assert b"\n" not in read_all(peer)
    assert peer.recv(1) == b""


async def test_who_waits_for_a_turn_to_send_learns_that_the_link_is_lost(pair: tuple[Link, socket.socket]) -> None:
    link, _ = pair
    lost = []

    async def send(message: dict[str, Any]) -> None:
        with pytest.raises(LinkLost):
            await link.send(message)
        lost.append(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, LONG)
        await wait_all_tasks_blocked()
        nursery.start_soon(send, {"a": 1})
    assert len(lost) == 2


async def test_the_end_is_told_after_the_last_message(pair: tuple[Link, socket.socket]) -> None:
    link, peer = pair
    peer.send(b'{"a":1}\n{"cut')
    peer.close()
    assert await link.receive() == {"a": 1}
    with pytest.raises(LinkLost, match="has ended"):
        await link.receive()
    with pytest.raises(LinkLost, match="is gone"):
        await link.send({"b": 1})


async def test_a_peer_that_ends_with_unread_messages_is_gone(pair: tuple[Link, socket.socket]) -> None:
    link, peer = pair
    await link.send({"a": 1})
    peer.close()
    with pytest.raises(LinkLost, match="is gone"):
        await link.receive()


async def test_who_waits_on_a_link_that_is_closed_learns_it(pair: tuple[Link, socket.socket]) -> None:
    link, _ = pair
    lost = []

    async def receive() -> None:
        with pytest.raises(LinkLost):
            await link.receive()
        lost.append("receive")

    async def send() -> None:
        with pytest.raises(LinkLost):
            await link.send(LONG)
        lost.append("send")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        link.close()
    assert sorted(lost) == ["receive", "send"]

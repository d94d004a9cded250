"""Upgrades through golb: after a 101 the bytes are another protocol's, both ways, to each one's end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from support.endpoint import scripted_endpoint
from support.stack import running_golb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.stack import RunningGolb
    from support.wire import Wire

UPGRADE = (
    b"GET /function/f/chat HTTP/1.1\r\nHost: golb\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DATA = bytes(range(256)) * (3 << 12)
# By then golb watches clients whose answer takes long.
SLOW_S = 0.15


@asynccontextmanager
async def tunnel(early: bytes = b"", *, answer_after_s: float = 0) -> AsyncIterator[tuple[Wire, Wire]]:
    """Open a tunnel, and yield its ends: the client's connection and the endpoint's."""
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE + early)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await trio.sleep(answer_after_s)
                await endpoint.send(SWITCH)
                await client.read_head()
                yield client, endpoint


async def test_an_upgrade_is_asked_for_and_granted_as_the_two_sides_say() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE)
            async with await pod.accept() as endpoint:
                head = await endpoint.read_head()
                assert head.first_line == b"GET /chat HTTP/1.1"
                assert head.values(b"Upgrade") == [b"websocket"]
                assert head.values(b"Connection") == [b"Upgrade"]
                assert head.values(b"Sec-Websocket-Key") == [b"dGhlIHNhbXBsZSBub25jZQ=="]
                await endpoint.send(SWITCH)
                head = await client.read_head()
                assert head.first_line == b"HTTP/1.1 101 Switching Protocols"
                assert head.names() == [
                    b"X-Final-Host",
                    b"X-Forwarded-For",
                    b"X-Forwarded-Host-Eb-A",
                    b"Sec-Websocket-Accept",
                    b"Connection",
                    b"Upgrade",
                ]
                assert head.values(b"Upgrade") == [b"websocket"]


async def test_bytes_pass_both_ways_as_they_come() -> None:
    async with tunnel() as (client, endpoint):
        for word in (b"hello", b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff"):
            await client.send(word)
            assert await endpoint.read_exactly(len(word)) == word
            await endpoint.send(word[::-1])
            assert await client.read_exactly(len(word)) == word[::-1]


async def test_large_amounts_pass_both_ways_at_once() -> None:
    async with tunnel() as (client, endpoint), trio.open_nursery() as nursery:
        for wire in (client, endpoint):
            nursery.start_soon(wire.send, DATA)
        assert await endpoint.read_exactly(len(DATA)) == DATA
        assert await client.read_exactly(len(DATA)) == DATA


async def test_what_either_side_sends_early_is_not_lost() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE + b"from the client")
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(SWITCH + b"from the endpoint")
                assert await endpoint.read_exactly(15) == b"from the client"
                await client.read_head()
                assert await client.read_exactly(17) == b"from the endpoint"


async def test_the_client_may_end_first() -> None:
    async with tunnel() as (client, endpoint):
        await client.send(b"bye")
        await client.send_eof()
        assert await endpoint.read_to_end() == b"bye"
        await endpoint.send(b"still here")
        assert await client.read_exactly(10) == b"still here"
        await endpoint.send_eof()
        assert await client.read_to_end() == b""


async def test_the_endpoint_may_end_first() -> None:
    async with tunnel() as (client, endpoint):
        await endpoint.send(b"bye")
        await endpoint.send_eof()
        assert await client.read_to_end() == b"bye"
        await client.send(b"still here")
        assert await endpoint.read_exactly(10) == b"still here"
        await client.send_eof()
        assert await endpoint.read_to_end() == b""


async def test_a_switch_that_takes_long_loses_nothing() -> None:
    async with tunnel(b"early", answer_after_s=SLOW_S) as (client, endpoint):
        await client.send(b"later")
        assert await endpoint.read_exactly(10) == b"earlylater"
        await endpoint.send(b"answer")
        assert await client.read_exactly(6) == b"answer"


async def test_a_tunnel_lives_on_beyond_the_time_of_an_answer() -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, response_timeout="50ms", client_idle_timeout="50ms") as golb,
            await golb.connect() as client,
        ):
            await client.send(UPGRADE)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(SWITCH)
                await client.read_head()
                for sender, receiver in ((client, endpoint), (endpoint, client)):
                    await trio.sleep(SLOW_S)
                    await sender.send(b"ping")
                    assert await receiver.read_exactly(4) == b"ping"


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_goes_away_ends_the_tunnel(way: str) -> None:
    async with tunnel() as (client, endpoint):
        await getattr(client, way)()
        try:
            assert await endpoint.read_to_end() == b""
            # A client that has closed and one that has ended its side look alike until something is sent to it.
            while True:
                await endpoint.send(b"anyone?")
                await trio.lowlevel.checkpoint()
        except trio.BrokenResourceError:
            pass


async def test_an_endpoint_that_fails_ends_the_tunnel_visibly() -> None:
    async with tunnel() as (client, endpoint):
        await endpoint.reset()
        with pytest.raises(trio.BrokenResourceError):
            await client.read_to_end()


async def test_an_endpoint_that_does_not_switch_just_answers() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE)
            async with await pod.accept() as endpoint:
                for path in (b"chat", b"next", b"last"):
                    assert (await endpoint.read_head()).first_line == b"GET /" + path + b" HTTP/1.1"
                    await endpoint.send(OK)
                    response = await client.read_response()
                    assert (response.status, response.head.values(b"Connection")) == (200, [])
                    if path == b"chat":
                        await _get(client, b"next")
                    elif path == b"next":
                        await _get(client, b"last")


async def _get(client: Wire, path: bytes) -> None:
    await client.send(b"GET /function/f/" + path + b" HTTP/1.1\r\nHost: golb\r\n\r\n")


async def test_requests_sent_behind_an_upgrade_that_is_not_granted_are_served() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE)
            await _get(client, b"next")
            async with await pod.accept() as endpoint:
                for path in (b"chat", b"next"):
                    assert (await endpoint.read_head()).first_line == b"GET /" + path + b" HTTP/1.1"
                    await endpoint.send(OK)
                    assert (await client.read_response()).body == b"ok"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Connection: keep-alive, Upgrade\r\n", b""),
        (b"Connection: keep-alive, Upgrade", b"Connection: keep-alive"),
        (b"HTTP/1.1\r\n", b"HTTP/1.0\r\n"),
        (b"Host: golb\r\n", b"Host: golb\r\nContent-Length: 0\r\nUpgrade-Insecure-Requests: 1\r\nX-A: b\r\n"),
    ],
    ids=["no Connection", "not named in it", "HTTP/1.0", "with an empty body"],
)
async def test_an_upgrade_is_asked_for_only_where_the_client_could_take_it(old: bytes, new: bytes) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE.replace(old, new))
            async with await pod.accept() as endpoint:
                head = await endpoint.read_head()
                granted = b"Content-Length" in new
                assert head.values(b"Upgrade") == ([b"websocket"] if granted else [])
                await endpoint.send(OK)
                assert (await client.read_response()).status == 200


@pytest.mark.parametrize(
    ("asked", "granted", "status"),
    [
        (b"websocket", b"websocket", 101),
        (b"IRC/6.9, websocket", b"WebSocket", 101),
        (b"TLS/1.0, HTTP/2.0", b"TLS/1.0, HTTP/2.0", 101),
        (b"websocket", b"h2c", 502),
        (b"h2c, websocket", b"h2c", 502),
        (b"websocket", b"websocket, h2c", 502),
        (b"websocket", b"websocket\r\nUpgrade: h2c", 502),
        (b"IRC/6.9", b"IRC", 502),
        (b"websocket", b",", 502),
    ],
)
async def test_an_endpoint_switches_to_what_golb_has_asked_it_for_or_not_at_all(
    asked: bytes, granted: bytes, status: int
) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: " + asked))
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(SWITCH.replace(b"Upgrade: websocket", b"Upgrade: " + granted))
                assert (await client.read_head()).status == status


async def test_a_request_with_a_body_does_not_ask_for_an_upgrade() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE.replace(b"Host: golb", b"Host: golb\r\nContent-Length: 5") + b"hello")
            async with await pod.accept() as endpoint:
                got = await endpoint.read_request()
                assert (got.body, got.head.values(b"Upgrade")) == (b"hello", [])
                await endpoint.send(SWITCH)
                assert (await client.read_response()).status == 502


async def test_a_drain_cuts_tunnels_off_in_their_own_time() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, tunnel_drain_timeout="200ms") as golb, await golb.connect() as client:
            await client.send(UPGRADE)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(SWITCH)
                await client.read_head()
                golb.server.drain()
                await client.send(b"ping")
                assert await endpoint.read_exactly(4) == b"ping"
                await _expect_cut(golb, client)
                assert await endpoint.read_to_end() == b""


async def _expect_cut(golb: RunningGolb, client: Wire) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await client.read_to_end()
    await golb.stopped.wait()

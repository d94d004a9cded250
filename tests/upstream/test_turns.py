"""Who waits in line in the poller: clients always, an endpoint once its answer has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.endpoint import scripted_endpoint
from support.stack import running_golb

from golb.sockets import SocketStream

if TYPE_CHECKING:
    from support.stack import RunningGolb

GET = b"GET /function/f/ HTTP/1.1\r\nHost: golb\r\n\r\n"
UPGRADE = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: chat\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"


def giving_way(golb: RunningGolb, *, clients: bool) -> list[bool]:
    """Tell which connections give way, of those that golb has with clients or of those with endpoints."""
    # In which order that has them told is the poller's tests'; here it would show under load only.
    return [
        watch.gives_way
        for watch in golb.poller._watched  # noqa: SLF001 - as above
        if watch is not None
        and isinstance(watch.pollable, SocketStream)
        and (watch.pollable.socket.getsockname()[1] == golb.port) is clients
    ]


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (b"Content-Length: 4", [b"ab", b"cd"]),
        (b"Transfer-Encoding: chunked", [b"2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n"]),
    ],
)
async def test_an_endpoint_gives_way_from_the_beginning_of_its_answer_to_the_end(
    head: bytes, pieces: list[bytes]
) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(GET)
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                assert giving_way(golb, clients=False) == [False]
                await endpoint.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + pieces[0])
                await client.read_until(b"ab")
                assert giving_way(golb, clients=False) == [True]
                await endpoint.send(pieces[1])
                await client.read_until(b"cd")
                await client.send(GET)
                await endpoint.read_request()
                assert giving_way(golb, clients=False) == [False]
                await endpoint.send(OK)
                await client.read_until(b"ok")
                assert giving_way(golb, clients=False) == [False]


async def test_an_endpoint_gives_way_in_a_tunnel() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(UPGRADE)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(SWITCH)
                await client.read_head()
                await endpoint.send(b"hello")
                assert await client.read_exactly(5) == b"hello"
                assert giving_way(golb, clients=False) == [True]


async def test_a_client_always_gives_way() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(GET)
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                assert giving_way(golb, clients=True) == [True]
                await endpoint.send(OK)
                await client.read_until(b"ok")
                assert giving_way(golb, clients=True) == [True]

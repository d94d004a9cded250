"""Well-formed traffic in any cuts, through a golb on real sockets: few examples, since each waits for the kernel."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.endpoint import ScriptedEndpoint, scripted_endpoint
from support.stack import running_golb, settle
from support.wire import Message as Received

from fuzz.traffic import REPEATABLE, answers, cuts, requests

if TYPE_CHECKING:
    from support.wire import Wire

    from fuzz.traffic import Message


async def _serve(endpoint: ScriptedEndpoint, pieces: list[bytes], got: list[Received]) -> None:
    """Answer each request with these pieces, and keep it."""
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(_answer, await endpoint.accept(), pieces, got)


async def _answer(wire: Wire, pieces: list[bytes], got: list[Received]) -> None:
    async with wire:
        with suppress(EOFError):  # golb needs it no more
            while True:
                got.append(await wire.read_request())
                await _send(wire, pieces)


async def _send(wire: Wire, pieces: list[bytes]) -> None:
    """Send pieces so that each is read by itself."""
    for piece in pieces:
        await wire.send(piece)
        await settle()


@settings(REPEATABLE, max_examples=10)
@given(st.lists(requests(with_head=False), min_size=1, max_size=3), answers(), st.data())
async def test_endpoint_and_client_get_what_was_meant(
    messages: list[Message], said: Message, data: st.DataObject
) -> None:
    got: list[Received] = []
    request_pieces = data.draw(cuts(b"".join(message.data for message in messages)))
    answer_pieces = data.draw(cuts(said.data))
    with scripted_endpoint() as endpoint:
        async with running_golb(endpoint.authority) as golb, trio.open_nursery() as nursery:
            nursery.start_soon(_serve, endpoint, answer_pieces, got)
            async with await golb.connect() as client:
                nursery.start_soon(_send, client, request_pieces)
                for _ in messages:
                    response = await _read_final(client)
                    assert response.status == int(said.start)
                    assert response.body == said.body
                    assert _through(response.head.headers) == said.headers
                    assert _through(response.trailers) == said.trailers
            nursery.cancel_scope.cancel()
    assert len(got) == len(messages)
    for request, message in zip(got, messages, strict=True):
        target = message.target.removeprefix(b"/function/f")
        assert request.head.first_line == message.start + b" " + target + b" HTTP/1.1"
        assert request.body == message.body
        assert _through(request.head.headers) == message.headers
        assert _through(request.trailers) == message.trailers


async def _read_final(client: Wire) -> Received:
    while (head := await client.read_head()).status < 200:
        pass
    if head.values(b"Transfer-Encoding"):
        body, trailers = await client.read_chunked()
        return Received(head, body, trailers)
    lengths = head.values(b"Content-Length") if head.status not in (204, 304) else []
    return Received(head, await client.read_exactly(int(lengths[0])) if lengths else b"")


def _through(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return what is not golb's own, nor of the framing, without the white space behind values."""
    own = (b"X-Final-", b"X-Forwarded-", b"Host", b"Content-Length", b"Transfer-Encoding")
    return [(name.lower(), value.rstrip(b" \t")) for name, value in headers if not name.startswith(own)]

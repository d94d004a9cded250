"""Responses that are made while they are sent: when they end, and when they break off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog.testing
import trio
from handlers.around import until
from support.stack import running_server
from support.wire import connect

from golb.admin.pace import Busy, Places
from golb.admin.streaming import StreamedResponse

if TYPE_CHECKING:
    from golb.admin.streaming import SendPiece

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_body_arrives_piece_by_piece() -> None:
    async def write(send_piece: SendPiece) -> None:
        await send_piece(b"one ")
        await send_piece(b"two")

    response = StreamedResponse(write, "text/plain", Places(1, 0))
    async with running_server(response) as server, await server.connect() as wire:
        for _ in range(2):
            await wire.send(GET)
            answer = await wire.read_response()
            assert (answer.status, answer.body) == (200, b"one two")
            assert answer.head.values(b"Content-Type") == [b"text/plain"]


async def test_a_body_that_takes_too_long_breaks_off_visibly() -> None:
    async def write(send_piece: SendPiece) -> None:
        await send_piece(b"one ")
        await trio.sleep_forever()

    response = StreamedResponse(write, "text/plain", Places(1, 0), longest_s=0.05)
    async with running_server(response) as server, await server.connect() as wire:
        await wire.send(GET)
        text = await wire.read_to_end()
    assert text.endswith(b"4\r\none \r\n")


async def test_once_its_client_has_gone_a_body_is_not_made_any_further() -> None:
    has_begun, has_ended = trio.Event(), trio.Event()

    async def write(_: SendPiece) -> None:
        has_begun.set()
        try:
            await trio.sleep_forever()
        finally:
            has_ended.set()

    response = StreamedResponse(write, "text/plain", Places(1, 0))
    async with running_server(response) as server:
        async with await server.connect() as wire:
            await wire.send(GET)
            await has_begun.wait()
        await has_ended.wait()


async def test_a_client_that_does_not_read_gives_its_place_up_in_time() -> None:
    places = Places(1, 0)

    async def write(send_piece: SendPiece) -> None:
        while True:
            await send_piece(bytes(65536))

    response = StreamedResponse(write, "text/plain", places, longest_s=0.1)
    async with (
        running_server(response) as server,
        await connect(server.port) as idle,
        await connect(server.port) as wire,
    ):
        await idle.send(GET)
        await idle.read_some()
        await wire.send(GET)
        assert (await wire.read_response()).status == 503
        status = 503
        while status == 503:
            await wire.send(GET)
            status = (await wire.read_head()).status
            if status == 503:
                await wire.read_until(b"}")
        assert status == 200


async def test_a_client_that_goes_while_it_waits_for_a_place_makes_room_for_another() -> None:
    places = Places(1, 1)
    has_begun = trio.Event()

    async def write(_: SendPiece) -> None:
        has_begun.set()
        await trio.sleep_forever()

    with structlog.testing.capture_logs() as log:
        async with (
            running_server(StreamedResponse(write, "text/plain", places)) as server,
            await server.connect() as first,
            await server.connect() as other,
        ):
            await first.send(GET)
            await has_begun.wait()
            async with await server.connect() as waiting:
                await waiting.send(GET)
                await until(lambda: is_full(places))
                await other.send(GET)
                assert (await other.read_response()).status == 503
            await until(lambda: not is_full(places))
    assert log == []


def is_full(places: Places) -> bool:
    try:
        places.admit()
    except Busy:
        return True
    return False

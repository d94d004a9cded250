"""What follows a 101: bytes both ways, each direction ending by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from golb.errors import ClientGone, UpstreamError

if TYPE_CHECKING:
    from golb.forwarding import Call
    from golb.upstream.connection import UpstreamConnection


async def relay_tunnel(connection: UpstreamConnection, call: Call) -> None:
    """Pass bytes until both directions have ended or either side has failed; then both sides are to be closed."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_to_endpoint, connection, call, nursery.cancel_scope)
        try:
            while data := await connection.read_raw():
                call.bytes_out += len(data)
                await call.send({"type": "http.response.body", "body": data, "more_body": True})
            await call.send({"type": "http.response.body", "body": b""})
        except (UpstreamError, ClientGone):
            nursery.cancel_scope.cancel()


async def _to_endpoint(connection: UpstreamConnection, call: Call, tunnel: trio.CancelScope) -> None:
    try:
        while True:
            event = await call.receive()
            if event["type"] == "http.disconnect":
                tunnel.cancel()
                return
            if event["body"]:
                call.bytes_in += len(event["body"])
                await connection.write(bytes(event["body"]))
            if not event["more_body"]:
                await connection.end_writing()
                return
    except UpstreamError:
        tunnel.cancel()

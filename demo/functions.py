"""The example functions: small HTTP/1.1 servers that answer with what reached them.

Each says its name, the target it was called with and the headers it saw, in the spelling in which they came, so that
a reader can compare what golb sends to an endpoint with what it promises to send. `x-start` and `x-end` are written
in lower case on purpose: they leave golb as `X-Start` and `X-End`, the names that clients look up.
"""

from __future__ import annotations

import time
from functools import partial

import h11
import trio
from attrs import frozen

from demo.layout import PLACEMENTS, Endpoint
from demo.ports import HOST

RECEIVE_BYTES = 65536


async def start_functions(nursery: trio.Nursery) -> list[Endpoint]:
    """Start the endpoints of all placements, each on a free port, and return them; they end with the nursery."""
    endpoints: list[Endpoint] = []
    for placement in PLACEMENTS:
        for _ in placement.weights:
            number = 1 + sum(endpoint.function == placement.function for endpoint in endpoints)
            name = f"{placement.function}-{number}"
            serve = partial(serve_connection, f"{name} in {placement.zone}")
            listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
            port = listeners[0].socket.getsockname()[1]
            endpoints.append(
                Endpoint(name=name, function=placement.function, zone=placement.zone, address=f"{HOST}:{port}")
            )
    return endpoints


@frozen(kw_only=True)
class _Call:
    """A request, read whole."""

    request: h11.Request
    start_s: float
    body_bytes: int


async def serve_connection(title: str, stream: trio.abc.Stream) -> None:
    """Answer the requests of one connection, one after the other, until it ends; the caller closes the stream."""
    connection = h11.Connection(h11.SERVER)
    try:
        while (call := await _receive_call(connection, stream)) is not None:
            await stream.send_all(_answer(connection, title, call))
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
    except (h11.ProtocolError, trio.BrokenResourceError):
        # A client that breaks the protocol, or its connection, must not end the demo.
        return


async def _receive_call(connection: h11.Connection, stream: trio.abc.Stream) -> _Call | None:
    """Read the next request, or return None when the client has closed the connection."""
    request: h11.Request | None = None
    start_s = 0.0
    body_bytes = 0
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    await stream.send_all(
                        connection.send(h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[]))
                        or b""
                    )
                connection.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
            case h11.Request():
                request, start_s = event, time.time()
            case h11.Data():
                body_bytes += len(event.data)
            case h11.EndOfMessage() if request is not None:
                return _Call(request=request, start_s=start_s, body_bytes=body_bytes)
            case _:
                return None


def _answer(connection: h11.Connection, title: str, call: _Call) -> bytes:
    """Return the bytes of the answer."""
    request = call.request
    lines = [title.encode(), request.method + b" " + request.target]
    lines += [name + b": " + value for name, value in request.headers.raw_items()]
    if call.body_bytes:
        lines += [b"", b"and a body of %d bytes" % call.body_bytes]
    body = b"\n".join(lines) + b"\n"
    headers = [
        ("content-type", "text/plain"),
        ("content-length", str(len(body))),
        ("x-start", f"{call.start_s:.7f}"),
        ("x-end", f"{time.time():.7f}"),
    ]
    events: list[h11.Event] = [h11.Response(status_code=200, reason=b"OK", headers=headers)]
    if request.method != b"HEAD":
        events.append(h11.Data(data=body))
    events.append(h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)

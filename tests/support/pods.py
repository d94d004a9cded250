"""Endpoints for tests: small HTTP/1.1 servers on Trio that answer with their own address."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Pod:
    """One endpoint; counts its calls and remembers the heads of the last ones."""

    def __init__(self, port: int, listeners: list[trio.SocketListener]) -> None:
        self.ip = f"127.0.0.1:{port}"
        self.calls = 0
        self.requests: list[h11.Request] = []
        self._listeners = listeners

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while connection.our_state is h11.IDLE:
                request = await _next_event(connection, stream)
                if not isinstance(request, h11.Request):
                    break
                received = 0
                while isinstance(event := await _next_event(connection, stream), h11.Data):
                    received += len(event.data)
                self.calls += 1
                self.requests = [*self.requests[-20:], request]
                body = f"{self.ip} {request.target.decode()} {received}".encode()
                head = h11.Response(status_code=200, headers=[("x-start", "1.5"), ("Content-Length", str(len(body)))])
                parts = [head, h11.Data(body), h11.EndOfMessage()]
                if request.method == b"HEAD":
                    del parts[1]
                await stream.send_all(b"".join(connection.send(part) or b"" for part in parts))
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def run_pods(count: int) -> AsyncIterator[list[Pod]]:
    """Run endpoints on loopback."""
    async with trio.open_nursery() as nursery:
        pods = []
        for _ in range(count):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            pod = Pod(listeners[0].socket.getsockname()[1], listeners)
            nursery.start_soon(trio.serve_listeners, pod.serve, listeners)
            pods.append(pod)
        yield pods
        nursery.cancel_scope.cancel()


async def _next_event(connection: h11.Connection, stream: trio.SocketStream) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some(65536))
    return event

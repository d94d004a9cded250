"""What a real etcd does not do on demand: a relay in front of one that cuts and counts, and a server that answers with given bytes."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Relay:
    """Passes bytes on to a port of this machine, and lets a test look and interfere."""

    def __init__(self, target_port: int, before_request: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self._target_port = target_port
        self._before_request = before_request
        self._connections: set[trio.CancelScope] = set()
        self.received = bytearray()
        """All that clients have sent."""
        self.all_closed = trio.Event()
        """Set when the last connection open has been closed; made anew by the next one."""

    async def start(self, nursery: trio.Nursery, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> str:
        """Serve in the nursery; return the URL."""
        if tls is None:
            listeners = await nursery.start(partial(trio.serve_tcp, self._relay, 0, host=host))
            return url_of(listeners[0])
        serve = partial(trio.serve_ssl_over_tcp, self._relay, 0, tls, host=host, https_compatible=True)
        listeners = await nursery.start(serve)
        return url_of(listeners[0].transport_listener, "https")

    def cut(self) -> None:
        """Close all connections."""
        for scope in self._connections:
            scope.cancel()

    async def _relay(self, client: Stream) -> None:
        self.all_closed = trio.Event()
        try:
            async with client, await trio.open_tcp_stream("127.0.0.1", self._target_port) as server:
                async with trio.open_nursery() as nursery:
                    self._connections.add(nursery.cancel_scope)
                    nursery.start_soon(self._pass_on, client, server, self._look, nursery.cancel_scope)
                    nursery.start_soon(self._pass_on, server, client, None, nursery.cancel_scope)
                self._connections.discard(nursery.cancel_scope)
        except* (trio.BrokenResourceError, OSError):
            pass
        if not self._connections:
            self.all_closed.set()

    async def _look(self, data: bytes) -> None:
        self.received += data
        # httpx sends the head of a request and its body apart.
        if self._before_request is not None and data.startswith(b"POST "):
            await self._before_request(data)

    async def _pass_on(
        self,
        source: trio.abc.ReceiveStream,
        target: trio.abc.SendStream,
        look: Callable[[bytes], Awaitable[None]] | None,
        connection: trio.CancelScope,
    ) -> None:
        try:
            async for data in source:
                if look is not None:
                    await look(bytes(data))
                await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        connection.cancel()


class Answering:
    """Answers each connection's first request with the same bytes; then closes it, or holds it open."""

    def __init__(self, answer: bytes, *, hold: bool = False) -> None:
        self._answer = answer
        self._hold = hold
        self.requests = 0

    async def start(self, nursery: trio.Nursery) -> str:
        """Serve in the nursery; return the URL."""
        listeners = await nursery.start(partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1"))
        return url_of(listeners[0])

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await read_request(stream)
                self.requests += 1
                await stream.send_all(self._answer)
                if self._hold:
                    await stream.receive_some()
            except trio.BrokenResourceError:
                pass


async def read_request(stream: trio.SocketStream) -> None:
    """Read a request to its end: a socket closed with bytes unread resets, and the answer may be lost with it."""
    request = b""
    while True:
        head, blank, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if blank and length and len(body) >= int(length[1]):
            return
        request += await stream.receive_some() or b"\r\n\r\n"


def url_of(listener: trio.SocketListener, scheme: str = "http") -> str:
    host, port, *_ = listener.socket.getsockname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def http_answer(body: bytes, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def http_stream(*chunks: bytes, ended: bool = False) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + (b"0\r\n\r\n" if ended else b"")

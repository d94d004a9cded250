"""What a real etcd does not do on demand: a relay in front of one that cuts and counts, and a server that answers with given bytes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Relay:
    """Passes bytes on to a port of this machine, and lets a test look and interfere."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._connections: set[trio.CancelScope] = set()
        self.received = bytearray()
        """All that clients have sent."""
        self.all_closed = trio.Event()
        """Set when the last connection open has been closed; made anew by the next one."""

    async def start(self, nursery: trio.Nursery, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> str:
        """Serve in the nursery; return the URL."""
        if tls is None:
            serve = partial(trio.serve_tcp, self._relay, 0, host=host)
        else:
            serve = partial(trio.serve_ssl_over_tcp, self._relay, 0, tls, host=host, https_compatible=True)
        listeners = await nursery.start(serve)
        return url_of(listeners[0], "http" if tls is None else "https")

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
                    nursery.start_soon(self._pass_on, client, server, self.received.extend, nursery.cancel_scope)
                    nursery.start_soon(self._pass_on, server, client, lambda _: None, nursery.cancel_scope)
                self._connections.discard(nursery.cancel_scope)
        except* (trio.BrokenResourceError, OSError):
            pass
        if not self._connections:
            self.all_closed.set()

    async def _pass_on(
        self,
        source: trio.abc.ReceiveStream,
        target: trio.abc.SendStream,
        look: Callable[[bytes], None],
        connection: trio.CancelScope,
    ) -> None:
        try:
            async for data in source:
                look(data)
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
        return url_of(listeners[0], "http")

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await stream.receive_some()
                self.requests += 1
                await stream.send_all(self._answer)
                if self._hold:
                    await stream.receive_some()
            except trio.BrokenResourceError:
                pass


def url_of(listener: trio.abc.Listener[trio.SocketStream], scheme: str) -> str:
    while isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    assert isinstance(listener, trio.SocketListener)
    host, port, *_ = listener.socket.getsockname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def http_answer(body: bytes, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def http_stream(*chunks: bytes, ended: bool = False) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + (b"0\r\n\r\n" if ended else b"")

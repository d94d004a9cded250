"""A TCP relay on loopback that can do to a connection what networks do: stop, forget, cut, refuse, delay.

It stands in front of a server, so that a client of the server is struck while others, who go to the server itself, are
not. Its port stays the same through everything. All methods return at once.
"""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from demo.ports import HOST, choose_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_PIECE_BYTES = 1 << 16
# Closing sends RST instead of FIN (socket(7), SO_LINGER): whoever is cut off sees a failure.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes between whoever connects and a port of this machine; made by `open_relay`, or `open_relays`."""

    def __init__(self, target_port: int, nursery: trio.Nursery) -> None:
        self.target_port = target_port
        # Below the range of outgoing ports: while nobody listens, a client could otherwise be connected to itself.
        (self.port,) = choose_ports([None])
        self.accepted = 0
        """How many connections clients have made."""
        self._nursery = nursery
        self._listener: trio.socket.SocketType | None = None
        self._connections: set[_Connection] = set()
        self._is_passing = True
        self._stopped_marks: set[bytes] = set()
        self._delay_s = 0.0
        self._listen()

    @property
    def url(self) -> str:
        """Where clients of an HTTP server connect, such as http://127.0.0.1:12345."""
        return f"http://{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open, from a client's view: those it has not closed, or of which it has not learnt the end."""
        return len(self._connections)

    def stop_reading(self) -> None:
        """Take what comes no more and pass nothing on, while all connections stay open, and new ones are accepted.

        The kernel still acknowledges, so neither end can tell but by silence. `heal` lets the bytes flow on.
        """
        self._is_passing = False
        for connection in self._connections:
            connection.close_gate()

    def stop_reading_from(self, mark: bytes) -> None:
        """As `stop_reading`, but only for connections, open or to come, that begin with a piece that has `mark` in it.

        So a client is told from others by what it sends, such as a header of its first request.
        """
        self._stopped_marks.add(mark)
        for connection in self._connections:
            if mark in connection.opening:
                connection.close_gate()

    def forget(self) -> None:
        """Pass nothing on any more over the connections that are open, as a NAT that has lost its state; new ones pass.

        `heal` does not bring these back, but closes them.
        """
        for connection in self._connections:
            connection.is_forgotten = True
            connection.close_gate()

    def cut(self) -> None:
        """Reset all connections; new ones pass."""
        for connection in self._connections:
            connection.reset()

    def refuse(self) -> None:
        """Reset all connections, and let new ones be refused."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    def delay(self, seconds: float) -> None:
        """Hold each piece back so long, in each direction, from now on."""
        self._delay_s = seconds

    def heal(self) -> None:
        """Let everything pass again: what was stopped flows on, what was forgotten is closed."""
        self._delay_s = 0.0
        self._is_passing = True
        self._stopped_marks.clear()
        for connection in self._connections:
            if connection.is_forgotten:
                connection.reset()
            else:
                connection.gate.set()
        if self._listener is None:
            self._listen()

    def _listen(self) -> None:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, self.port))
            sock.listen(128)
        except BaseException:
            sock.close()
            raise
        self._listener = trio.socket.from_stdlib_socket(sock)
        self._nursery.start_soon(self._accept, self._listener)

    async def _accept(self, listener: trio.socket.SocketType) -> None:
        with listener, suppress(trio.ClosedResourceError):  # closed by `refuse`
            while True:
                client, _ = await listener.accept()
                self.accepted += 1
                connection = _Connection()
                if not self._is_passing:
                    connection.close_gate()
                self._connections.add(connection)
                self._nursery.start_soon(self._serve, trio.SocketStream(client), connection)

    async def _serve(self, client: trio.SocketStream, connection: _Connection) -> None:
        streams = [client]
        try:
            with connection.scope:
                await connection.gate.wait()
                try:
                    streams.append(await trio.open_tcp_stream(HOST, self.target_port))
                except OSError:  # nobody listens there
                    connection.is_reset = True
                    return
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass_on, client, streams[1], connection)
                    nursery.start_soon(self._pass_on, streams[1], client, connection)
        finally:
            self._connections.discard(connection)
            for stream in streams:
                if connection.is_reset:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                stream.socket.close()

    async def _pass_on(self, source: trio.SocketStream, target: trio.SocketStream, connection: _Connection) -> None:
        try:
            while data := await source.receive_some(_PIECE_BYTES):
                if not connection.opening:
                    connection.opening = bytes(data)
                    if any(mark in connection.opening for mark in self._stopped_marks):
                        connection.close_gate()
                await trio.sleep(self._delay_s)
                await connection.gate.wait()
                await target.send_all(data)
        except trio.BrokenResourceError:
            connection.is_reset = True
        # While nothing passes, the one end does not learn that the other is gone.
        await connection.gate.wait()
        connection.scope.cancel()


class _Connection:
    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.gate = trio.Event()
        self.gate.set()
        self.opening = b""
        """The first piece that has come, from whichever side."""
        self.is_forgotten = False
        self.is_reset = False

    def reset(self) -> None:
        self.is_reset = True
        self.scope.cancel()

    def close_gate(self) -> None:
        if self.gate.is_set():
            self.gate = trio.Event()


@asynccontextmanager
async def open_relay(target_port: int) -> AsyncIterator[Relay]:
    """Run a relay to a port of this machine; all its connections are reset on leaving."""
    async with open_relays() as run_relay:
        yield run_relay(target_port)


@asynccontextmanager
async def open_relays() -> AsyncIterator[Callable[[int], Relay]]:
    """Yield what runs one more relay, to a given port of this machine; all connections are reset on leaving."""
    async with trio.open_nursery() as nursery:
        yield lambda target_port: Relay(target_port, nursery)
        nursery.cancel_scope.cancel()

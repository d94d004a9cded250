"""An endpoint that the test plays itself: it accepts when the test says so, and each of its connections is a `Wire`."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


class ScriptedEndpoint:
    """A listening socket. The kernel completes connections by itself, so golb never waits for `accept`."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._socket = sock
        self.port: int = sock.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"

    async def accept(self) -> Wire:
        """Return the next connection, in the order in which they were opened."""
        sock, _ = await self._socket.accept()
        return Wire(trio.SocketStream(sock))

    def has_connection_waiting(self) -> bool:
        """Tell whether golb has opened a connection that was not accepted."""
        with socket.fromfd(self._socket.fileno(), socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            try:
                accepted, _ = sock.accept()
            except BlockingIOError:
                return False
            accepted.close()
            return True


@contextmanager
def scripted_endpoint() -> Iterator[ScriptedEndpoint]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        yield ScriptedEndpoint(trio.socket.from_stdlib_socket(sock))

"""The connections to one endpoint: the one used last is used next, so that the others grow old and are closed."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import trio

from golb.errors import UpstreamError
from golb.sockets import SocketStream
from golb.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from golb.upstream.exchange import Upstream
    from golb.weights import Endpoint


class Pool:
    """What golb holds open to one endpoint.

    Args:
        endpoint: where the connections lead.
        upstream: gives limits and timeouts.
    """

    __slots__ = ("_closed", "_idle", "_upstream", "endpoint")

    def __init__(self, endpoint: Endpoint, upstream: Upstream) -> None:
        self.endpoint = endpoint
        self._upstream = upstream
        self._idle: list[UpstreamConnection] = []
        self._closed = False

    def __len__(self) -> int:
        """How many idle connections there are."""
        return len(self._idle)

    def take(self) -> UpstreamConnection | None:
        """Return an idle connection that is still good, if there is one."""
        idle, timeouts = self._idle, self._upstream.idle_timeouts
        while idle:
            connection = idle.pop()
            timeouts.stop(connection)
            if not connection.stream.has_input():  # the endpoint has neither closed it nor sent what nobody asked for
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """Return a new connection.

        Raises:
            UpstreamError: the endpoint cannot be reached; the text says why.
        """
        upstream = self._upstream
        timeout_s = upstream.connect_timeout_s
        try:
            with trio.fail_after(timeout_s):
                sock = await _connect(self.endpoint.host, self.endpoint.port)
            try:
                stream = SocketStream(sock, upstream.poller)
            except OSError:
                sock.close()
                raise
        except trio.TooSlowError:
            raise UpstreamError(f"no connection within {timeout_s:g} s") from None
        except OSError as exc:
            raise UpstreamError(f"cannot connect: {exc.strerror or exc}") from exc
        return UpstreamConnection(self, stream, upstream.answer_timeouts, upstream.write_timeouts)

    def put(self, connection: UpstreamConnection) -> None:
        """Take a connection back after its answer; keep it if it may be used again and there is room."""
        if connection.keep() and not self._closed and len(self._idle) < self._upstream.max_idle:
            self._idle.append(connection)
            self._upstream.idle_timeouts.start(connection)
        else:
            connection.abort()

    def forget(self, connection: UpstreamConnection) -> None:
        """Close a connection that has been idle too long."""
        self._idle.remove(connection)
        connection.abort()

    def close(self) -> None:
        """Close what is idle, and from now on whatever comes back; answers under way go on."""
        self._closed = True
        for connection in self._idle:
            self._upstream.idle_timeouts.stop(connection)
            connection.abort()
        self._idle.clear()


async def _connect(host: str, port: int) -> socket.socket:
    """Open a TCP connection; of several addresses of a name, the first that accepts."""
    failure: OSError | None = None
    for family, _, _, _, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            error = sock.connect_ex(address)
            if error == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(sock)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except BaseException:
            sock.close()
            raise
        if not error:
            return sock
        sock.close()
        failure = OSError(error, os.strerror(error))
    raise failure or OSError(f"{host} has no address")

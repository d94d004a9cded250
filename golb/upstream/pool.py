"""The connections to one endpoint: the one used last is used next, so that the others grow old and are closed."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import trio

from golb.errors import LocalError, NoConnection
from golb.fibers import attach
from golb.health import Health
from golb.sockets import SocketStream
from golb.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from golb.networks import TargetNetworks
    from golb.poller import Poller
    from golb.upstream.connection import EndpointStream
    from golb.upstream.exchange import Upstream
    from golb.weights import Endpoint


_LACKS = {
    errno.EMFILE: "no file descriptor",
    errno.ENFILE: "no file descriptor",
    errno.ENOBUFS: "no memory for sockets",
    errno.ENOMEM: "no memory",
    errno.ENOSPC: "no room in its epoll (fs.epoll.max_user_watches)",
    errno.EADDRNOTAVAIL: "no local port (net.ipv4.ip_local_port_range)",
}
"""What fails a connection on this side of it, in the words of `LocalError`."""
# A failure that comes within this has cost the request no time. A name server, or a host that nobody finds in its network, may take seconds.
_QUICK_S = 0.1
# A port is free again only a minute after its connection has been closed.
_FREED_BY_CLOSING = _LACKS.keys() - {errno.EADDRNOTAVAIL}


class Pool:
    """What golb holds open to one endpoint.

    Args:
        endpoint: where the connections lead.
        upstream: gives limits and timeouts.
    """

    __slots__ = ("_closed", "_idle", "_upstream", "endpoint", "health")

    def __init__(self, endpoint: Endpoint, upstream: Upstream) -> None:
        self.endpoint = endpoint
        self.health = Health(endpoint.authority)
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
            timeouts.stop(connection.wait)
            if not connection.stream.has_input():  # the endpoint has neither closed it nor sent what nobody asked for
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """Return a new connection.

        Raises:
            NoConnection: the endpoint cannot be reached; the text says why.
            LocalError: this node lacks what a connection takes, and nothing that is idle could give way.
        """
        upstream = self._upstream
        timeout_s = upstream.connect_timeout_s
        await attach()
        began_s = trio.current_time()
        try:
            with trio.fail_after(timeout_s):
                stream = await self._open_stream()
        except trio.TooSlowError:
            raise NoConnection(f"no connection within {timeout_s:g} s", quick=False) from None
        except OSError as exc:
            lack = _LACKS.get(exc.errno or 0)
            if lack is not None:
                raise LocalError(f"not asked, since this node has {lack} left: {exc.strerror}") from exc
            quick = trio.current_time() - began_s < _QUICK_S
            raise NoConnection(f"cannot connect: {exc.strerror or exc}", quick=quick) from exc
        return UpstreamConnection(self, stream, upstream.timeouts)

    async def _open_stream(self) -> EndpointStream:
        upstream = self._upstream
        while True:
            try:
                return await upstream.open_stream(self.endpoint)
            except OSError as exc:
                if exc.errno not in _FREED_BY_CLOSING or not close_longest_idle(upstream):
                    raise

    def put(self, connection: UpstreamConnection) -> None:
        """Take a connection back after its answer; keep it if it may be used again and there is room."""
        if connection.keep() and not self._closed and len(self._idle) < self._upstream.max_idle:
            self._idle.append(connection)
            self._upstream.idle_timeouts.start(connection.wait, connection)
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
            self._upstream.idle_timeouts.stop(connection.wait)
            connection.abort()
        self._idle.clear()


def close_longest_idle(upstream: Upstream) -> bool:
    """Close the connection, to whichever endpoint, that has not been used for longest; false if none is idle."""
    connection = upstream.idle_timeouts.oldest()
    if connection is None:
        return False
    upstream.idle_timeouts.stop(connection.wait)
    connection.pool.forget(connection)
    return True


async def open_socket(poller: Poller, targets: TargetNetworks, endpoint: Endpoint) -> SocketStream:
    """Open a connection to an endpoint.

    Args:
        poller: watches it.
        targets: the only addresses that are connected to.
        endpoint: where it leads.

    Raises:
        OSError: it cannot be had; `errno` tells which failures are this node's own.
    """
    sock = await _connect(endpoint.host, endpoint.port, targets)
    try:
        return SocketStream(sock, poller)
    except OSError:
        sock.close()
        raise


async def _connect(host: str, port: int, targets: TargetNetworks) -> socket.socket:
    """Open a TCP connection; of several addresses of a name, the first that accepts and may be connected to."""
    failure: OSError | None = None
    refusal: str | None = None
    for family, _, _, _, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        # Here, whatever was checked before: a name resolves to something else each time that it is asked for.
        refusal = targets.refusal(address[0])  # type: ignore[arg-type] # an int only where Python knows no IPv6
        if refusal is not None:
            continue
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
    raise failure or OSError(refusal or f"{host} has no address")

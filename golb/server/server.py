"""The server: hypercorn's sockets and TLS, an accept loop, one task for each connection, and an orderly end."""

from __future__ import annotations

import errno
import resource
import socket
import sys
from typing import TYPE_CHECKING

import hypercorn
import structlog
import trio

from golb.errors import ConfigError, ListenError
from golb.server.admission import Admission, connection_limit
from golb.server.connection import Connection, Peer, Timeouts
from golb.server.http2 import Http2Server
from golb.sockets import SocketStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from golb.asgi import Application
    from golb.config import Config
    from golb.deadlines import Deadlines
    from golb.poller import Poller

LOG = structlog.get_logger()

_BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
# One turn of the loop takes so many new connections at most, so that the others get theirs.
_ACCEPTED_AT_ONCE = 64
# Whatever else accept(2) may report is of a client or of the moment: no descriptors left, a firewall, a network down.
_BROKEN_LISTENER = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
_ACCEPT_PAUSE_S = 0.1
# A client that has just connected has a request on its way.
_NEWCOMER_GRACE_S = 0.5


class Server:
    """Serves an ASGI application over HTTP.

    Args:
        config: where to listen, and the limits.
        application: called for each request.
        poller: watches the connections.
        deadlines: keeps their timeouts.
        others: connections that another server of this process may have.
        make_room: closes something that holds a descriptor and is not in use, for when none is left to accept with; false if there is nothing.
    """

    def __init__(
        self,
        config: Config,
        application: Application,
        poller: Poller,
        deadlines: Deadlines,
        *,
        others: int = 0,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self._poller = poller
        self._config = config
        self._application = application
        self._hypercorn_config = _hypercorn_config(config)
        self._ssl_context = _ssl_context(self._hypercorn_config, config)
        self._timeouts = Timeouts(
            deadlines,
            head_s=config.request_header_timeout,
            idle_s=config.keep_alive_timeout,
            stall_s=config.client_idle_timeout,
        )
        self.admission = Admission(_connection_limit(config, others), self._timeouts, deadlines, make_room)
        self._http2 = Http2Server(
            application, self._hypercorn_config, stall_s=config.client_idle_timeout or float("inf")
        )
        self._drain_requested = trio.Event()

    def open_sockets(self) -> list[socket.socket]:
        """Bind and listen.

        Raises:
            ListenError: that is not possible; the text says why.
        """
        config = self._config
        try:
            sockets = self._hypercorn_config.create_sockets()
            opened = [*sockets.secure_sockets, *sockets.insecure_sockets]
            for sock in opened:
                sock.listen(_BACKLOG)
                # Accepted sockets inherit it: what is sent as urgent stays in its place among the other bytes (RFC 6093, 4).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        except OSError as exc:
            variable = "listen_port" if exc.errno in (errno.EADDRINUSE, errno.EACCES) else "listen_host"
            raise ListenError(
                f"eb_go_lb_{variable} is {getattr(config, variable)}, but golb cannot listen on "
                f"{_bind_address(config)}: {exc.strerror}; it accepts a {variable.removeprefix('listen_')} that is free on this node"
            ) from exc
        return opened

    @property
    def is_draining(self) -> bool:
        """Whether it accepts no more."""
        return self._drain_requested.is_set()

    def drain(self) -> None:
        """Stop accepting; let requests in flight finish within the drain timeout, then `run` returns."""
        self._drain_requested.set()

    async def run(
        self, sockets: list[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until drained; ready once connections are accepted. Closes the sockets."""
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as acceptors:
                    for sock in sockets:
                        acceptors.start_soon(self._accept_all, sock, connections)
                    task_status.started()
                    await self._drain_requested.wait()
                    acceptors.cancel_scope.cancel()
                for sock in sockets:
                    try:
                        self._accept_some(
                            sock, connections, min(_BACKLOG, self.admission.room)
                        )  # what has queued up would be refused by the close
                    except OSError as exc:
                        LOG.warning("cannot accept", cause=exc.strerror, connections=len(connections.child_tasks))
            finally:
                for sock in sockets:
                    sock.close()
            connections.cancel_scope.deadline = trio.current_time() + self._config.drain_timeout
            await self._drain_idle(connections)
        if connections.cancel_scope.cancelled_caught:
            LOG.warning("drain timeout, requests were cut off", drain_timeout_s=self._config.drain_timeout)

    async def _drain_idle(self, connections: trio.Nursery) -> None:
        await self._http2.drain()
        for connection in self._timeouts.idle:
            connection.stop_waiting()
        if not connections.child_tasks:
            return
        LOG.info("draining", connections=len(connections.child_tasks), drain_timeout_s=self._config.drain_timeout)
        if len(self._timeouts.head):
            await trio.sleep(_NEWCOMER_GRACE_S)
            for connection in self._timeouts.head:
                connection.stop_waiting()

    async def _accept_all(self, sock: socket.socket, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            await self.admission.wait_for_room()
            try:
                self._accept_some(sock, connections, min(_ACCEPTED_AT_ONCE, self.admission.room))
            except OSError as exc:
                if exc.errno in _BROKEN_LISTENER:
                    raise
                await self.admission.recover(exc, _ACCEPT_PAUSE_S)

    def _accept_some(self, sock: socket.socket, connections: trio.Nursery, at_most: int) -> None:
        for _ in range(at_most):
            try:
                client, address = sock.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it went away before it was taken (accept(2))
            self.admission.enter()
            connections.start_soon(self._serve, client, address)

    async def _serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Serve one connection. What goes wrong in it stays in it."""
        try:
            stream = SocketStream(sock, self._poller)
            peer = Peer(
                client=(address[0].removeprefix("::ffff:"), address[1]),
                server=sock.getsockname()[:2],
                scheme="http" if self._ssl_context is None else "https",
            )
            if self._ssl_context is None:
                await self._connection(stream, stream, peer).run()
            else:
                try:
                    await self._serve_tls(stream, peer)
                finally:
                    stream.abort()
        except OSError:
            sock.close()  # it went away before it was looked at
        except Exception:  # the boundary of one connection
            LOG.exception("connection failed")
            sock.close()
        finally:
            self.admission.leave()

    async def _serve_tls(self, socket_stream: SocketStream, peer: Peer) -> None:
        assert self._ssl_context is not None  # noqa: S101 - the caller has looked
        stream: trio.SSLStream[SocketStream] = trio.SSLStream(
            socket_stream, self._ssl_context, server_side=True, https_compatible=True
        )
        try:
            with trio.fail_after(self._config.request_header_timeout or float("inf")):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as exc:
            LOG.debug("TLS handshake failed", cause=str(exc.__cause__ or exc))
            return
        if stream.selected_alpn_protocol() == "h2":
            await self._http2.serve(stream, peer)
        else:
            await self._connection(_TlsStream(stream, socket_stream), socket_stream, peer).run()

    def _connection(self, stream: SocketStream | _TlsStream, socket_stream: SocketStream, peer: Peer) -> Connection:
        return Connection(
            self._application,
            stream,
            peer,
            self._timeouts,
            stop_reading=stream.stop_reading,
            abort=lambda reset: socket_stream.abort(reset=reset),
            is_draining=self._drain_requested.is_set,
            is_last=self._is_last_response,
        )

    def _is_last_response(self) -> bool:
        return self.admission.is_wanted or self._drain_requested.is_set()


class _TlsStream:
    """TLS as a byte stream: its end, orderly or not, is the end of the socket's."""

    def __init__(self, stream: trio.SSLStream[SocketStream], socket_stream: SocketStream) -> None:
        self._stream = stream
        self._socket_stream = socket_stream
        self._ended = False
        self._stopped = False
        self._reading: trio.CancelScope | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._ended:  # whatever still comes is only counted
            return await self._socket_stream.receive_some(max_bytes)
        if self._stopped and not self._socket_stream.has_input():
            return b""
        with trio.CancelScope() as self._reading:
            return bytes(await self._stream.receive_some(max_bytes))
        return b""

    def stop_reading(self) -> None:
        """Let a reader, now or later, see the end of the stream behind what has arrived; writing goes on.

        If the socket ended instead, TLS would write no more either.
        """
        self._stopped = True
        if self._reading is not None and not self._socket_stream.has_input():
            self._reading.cancel()

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        self._ended = True
        try:
            await self._stream.unwrap()  # tells the client, and waits for it to do the same
        except trio.BrokenResourceError:
            pass  # it goes on sending, or has just gone
        except trio.BusyResourceError:  # a tunnel: TLS as Python has it cannot end one direction only
            await self._stream.aclose()


def _connection_limit(config: Config, others: int) -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        descriptors = sys.maxsize
    limit = connection_limit(config.max_connections, descriptors, others=others)
    if limit < config.max_connections:
        LOG.warning(
            "too few descriptors for so many connections",
            variable="eb_go_lb_max_connections",
            wanted=config.max_connections,
            limit=limit,
            descriptors=descriptors,
        )
    return limit


def _bind_address(config: Config) -> str:
    host = f"[{config.listen_host}]" if ":" in config.listen_host else config.listen_host
    return f"{host}:{config.listen_port}"


def _hypercorn_config(config: Config) -> hypercorn.Config:
    result = hypercorn.Config()
    result.bind = [_bind_address(config)]
    result.certfile = str(config.tls_cert) if config.tls_cert else None
    result.keyfile = str(config.tls_key) if config.tls_key else None
    result.keep_alive_timeout = config.keep_alive_timeout or float("inf")
    # Each header more costs the users' databases.
    result.include_date_header = False
    result.include_server_header = False
    result.errorlog = None
    # HTTP/2: a connection may carry any number of requests, and a body waits for its application by flow control.
    result.keep_alive_max_requests = sys.maxsize
    result.max_app_queue_size = sys.maxsize
    return result


def _ssl_context(hypercorn_config: hypercorn.Config, config: Config) -> ssl.SSLContext | None:
    try:
        return hypercorn_config.create_ssl_context()
    except OSError as exc:  # also ssl.SSLError
        raise ConfigError(
            f"eb_go_lb_tls_cert is {str(config.tls_cert)!r}, eb_go_lb_tls_key is {str(config.tls_key)!r}; "
            f"they accept a PEM certificate chain and its private key: {exc}"
        ) from exc

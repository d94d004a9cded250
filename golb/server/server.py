"""The server: one task for each connection, new settings while it runs, and an orderly end."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import structlog
import trio

from golb.fibers import Fiber
from golb.server.acceptor import Acceptor
from golb.server.admission import Admission, connection_limit
from golb.server.connection import Connection, Peer
from golb.server.drain import Drain
from golb.server.ending import Ending
from golb.server.listening import make_hypercorn_config, open_sockets
from golb.server.timeouts import Timeouts
from golb.server.tls import Handshake, TlsStream, make_ssl_context
from golb.server.tunnels import Tunnels
from golb.sockets import SocketStream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from golb.asgi import Application
    from golb.config import Config
    from golb.deadlines import Deadlines
    from golb.poller import Poller
    from golb.server.http2 import Http2Server
    from golb.server.spread import Spread

LOG = structlog.get_logger()

RECONFIGURABLE = frozenset(
    {
        "client_idle_timeout",
        "drain_timeout",
        "keep_alive_timeout",
        "max_connections",
        "request_header_timeout",
        "tls_cert",
        "tls_key",
        "tunnel_drain_timeout",
    }
)
"""What of a configuration `Server.reconfigure` takes over."""


class Server:
    """Serves an ASGI application over HTTP.

    Args:
        config: where to listen, and the limits.
        application: called for each request.
        poller: watches the connections.
        deadlines: keeps their timeouts.
        others: connections that another server of this process may have.
        make_room: closes something that holds a descriptor and is not in use, for when none is left to accept with; false if there is nothing.
        spread: evens the connections out over several workers, of which this server is one.
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
        spread: Spread | None = None,
    ) -> None:
        self._poller = poller
        self._config = config
        self._others = others
        self._application = application
        self._ssl_context = make_ssl_context(config)
        self._timeouts = Timeouts(
            deadlines,
            head_s=config.request_header_timeout,
            idle_s=config.keep_alive_timeout,
            stall_s=config.client_idle_timeout,
        )
        self._ending = Ending()
        limit = _connection_limit(config, others)
        self.admission = Admission(limit, self._timeouts, deadlines, make_room, self._ending)
        self._acceptor = Acceptor(self.admission, spread, self._start_serving)
        self._http2: Http2Server | None = None
        if self._ssl_context is not None:
            from golb.server.http2 import Http2Server  # noqa: PLC0415 - much time and memory, which a plain port can do without

            self._http2 = Http2Server(application, make_hypercorn_config(config), self._timeouts)
        self._tunnels = Tunnels()
        self._drain_requested = trio.Event()
        self._connections: trio.Nursery
        """Of the tasks that serve, while the server runs."""

    def open_sockets(self) -> list[socket.socket]:
        """Bind and listen.

        Raises:
            ListenError: that is not possible; the text says why.
        """
        return open_sockets(self._config)

    @property
    def is_draining(self) -> bool:
        """Whether it accepts no more."""
        return self._drain_requested.is_set()

    def drain(self) -> None:
        """Stop accepting; let what is under way finish within its drain timeout, then `run` returns."""
        self._acceptor.withdraw()
        self._drain_requested.set()
        self._ending.is_draining = True

    def publish_load(self) -> None:
        """Tell the other workers again how many connections this one has; nothing if it does not accept."""
        self._acceptor.publish_again()

    def waiting_for(self) -> dict[str, int]:
        """Return how many requests are in flight, connections without a request, and tunnels there are."""
        idle = len(self._timeouts.idle) + len(self._timeouts.head)
        tunnels = len(self._tunnels)
        busy = max(self.admission.open - idle - tunnels, 0)
        return {
            "requests": busy + (self._http2.further_requests if self._http2 is not None else 0),
            "idle": idle,
            "tunnels": tunnels,
        }

    def reconfigure(self, config: Config) -> None:
        """Take over what `RECONFIGURABLE` names. Timeouts hold for the waits under way too, TLS for new connections, a drain under way stays as it is.

        Raises:
            ConfigError: a TLS file is not what it should be; everything stays as it was.
        """
        ssl_context = make_ssl_context(config)
        if (ssl_context is None) != (self._ssl_context is None):
            LOG.warning("TLS is switched on or off by a restart only", variable="eb_go_lb_tls_cert")
        else:
            self._ssl_context = ssl_context
        self._config = config
        self._timeouts.change(config, but_idle=self.is_draining)
        self.admission.change_limit(_connection_limit(config, self._others))

    async def run(
        self, sockets: list[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until drained; ready once connections are accepted. Closes the sockets."""
        async with trio.open_nursery() as nursery:
            self._connections = await nursery.start(_hold_nursery)
            inbox = trio.CancelScope()
            try:
                nursery.start_soon(self._run_inbox, inbox)
                try:
                    async with trio.open_nursery() as accepting:
                        await accepting.start(self._acceptor.run, sockets)
                        task_status.started()
                        await self._drain_requested.wait()
                        accepting.cancel_scope.cancel()
                    self._acceptor.accept_last(sockets)
                finally:
                    for sock in sockets:
                        sock.close()
                if self._http2 is not None:
                    await self._http2.drain()
                await self._make_drain(inbox).run()
            finally:
                self._acceptor.withdraw()
                self._tunnels.cut()
                nursery.cancel_scope.cancel()

    async def _run_inbox(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._acceptor.run_inbox()

    def _make_drain(self, inbox: trio.CancelScope) -> Drain:
        def cut_requests() -> None:
            inbox.cancel()  # what comes now is for whoever takes this worker's place
            self._connections.cancel_scope.cancel()

        return Drain(
            admission=self.admission,
            timeouts=self._timeouts,
            tunnels=self._tunnels,
            waiting_for=self.waiting_for,
            take_passed=self._acceptor.take_passed,
            cut_requests=cut_requests,
            requests_s=self._config.drain_timeout,
            tunnels_s=self._config.tunnel_drain_timeout,
        )

    def _start_serving(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self._connections.start_soon(self._serve, sock, address)

    async def _serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Serve one connection. What goes wrong in it stays in it."""
        try:
            stream = SocketStream(sock, self._poller, gives_way=True)
            peer = Peer(
                client=(address[0].removeprefix("::ffff:"), address[1]),
                server=sock.getsockname()[:2],
                scheme="http" if self._ssl_context is None else "https",
            )
            if self._ssl_context is None:
                await Fiber(self._connection(stream, stream, peer).run())
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
            await Handshake(socket_stream).complete(stream, self._timeouts)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            LOG.debug("TLS handshake failed", cause=str(exc.__cause__ or exc))
            return
        if self._http2 is not None and stream.selected_alpn_protocol() == "h2":
            await self._http2.serve(stream, peer)
        else:
            await self._connection(TlsStream(stream, socket_stream), socket_stream, peer).run()

    def _connection(self, stream: SocketStream | TlsStream, socket_stream: SocketStream, peer: Peer) -> Connection:
        return Connection(
            self._application,
            stream,
            peer,
            self._timeouts,
            stop_reading=stream.stop_reading,
            abort=lambda reset: socket_stream.abort(reset=reset),
            is_draining=self._ending.is_near,
            tunnels=self._tunnels,
        )


async def _hold_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Hand out a nursery that can be cancelled by itself."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


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

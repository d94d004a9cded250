"""HTTP/2 by hypercorn, for what golb's own connection does not speak; contained, so that one connection cannot end the rest.

The seam to hypercorn 0.18, held by tests/server/test_http2.py: its TCPServer takes a stream whose TLS handshake is
done, and calls the application; what it raises for a client's faults comes as exception groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

if TYPE_CHECKING:
    from hypercorn.config import Config

    from golb.asgi import Application
    from golb.sockets import SocketStream

LOG = structlog.get_logger()

_CLOSE_S = 1.0


class Http2Server:
    """Serves HTTP/2 connections.

    Args:
        application: called for each request.
        config: hypercorn's.
        stall_s: how long a client may leave a write waiting, in seconds.
    """

    def __init__(self, application: Application, config: Config, *, stall_s: float) -> None:
        self._application: Any = ASGIWrapper(application)  # type: ignore[arg-type] # hypercorn's scopes are typed dicts
        self._config = config
        self._stall_s = stall_s
        self._context = WorkerContext(None)

    async def serve(self, stream: trio.SSLStream[SocketStream]) -> None:
        """Serve one connection; raises nothing but what ends the task."""
        server = _ContainedServer(self._application, self._config, self._context, {}, stream)  # type: ignore[arg-type] # our SocketStream has what it uses
        server.stall_s = self._stall_s
        try:
            await server.run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        except* Exception:  # the boundary of one connection: a client's fault that hypercorn does not expect
            LOG.warning("HTTP/2 connection failed", exc_info=True)

    async def drain(self) -> None:
        """End connections as they become idle."""
        await self._context.terminated.set()


class _ContainedServer(TCPServer):
    """A TCPServer that no client can block.

    hypercorn shields what it writes and how it closes, without a deadline: a client that reads no more would block it,
    and the shutdown, for ever. Here both have one.
    """

    stall_s: float
    stream: Any  # a trio.SSLStream over golb's SocketStream

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        try:
            with trio.fail_after(self.stall_s):
                async with self.send_lock:
                    await self.stream.send_all(event.data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await self.protocol.handle(Closed())
            await self._close()

    async def _close(self) -> None:
        with trio.move_on_after(_CLOSE_S, shield=True):
            await super()._close()
        self.stream.transport_stream.abort()

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        # Closing makes the connection idle, which would cancel this very task.
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self.protocol.handle(Closed())
        await self._close()

"""HTTP/2 by hypercorn, for what golb's own connection does not speak; contained, so that one connection cannot end the rest.

The seam to hypercorn 0.18, held by tests/server/test_http2.py: a TCPServer reads and writes, an H2Protocol keeps the
streams, an HTTPStream calls the application. Left alone, they
- keep an answer to a client that takes none of it in memory, however long it gets: here the application waits;
- let an application that does not read its body block the whole connection, and end it for DATA behind an answer:
  here a stream's flow control is what holds its body back, and what comes too late is dropped;
- leave a client without a word if an answer breaks off: here its stream is reset;
- shield their writes without a deadline, and wait for a client's flow control for ever: here both have a deadline;
- announce WebSockets over HTTP/2, which golb does not serve.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Body, EndBody
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from golb.deadlines import Wait
from golb.errors import ClientGone, GolbError
from golb.headers import TOKEN
from golb.server.requests import MAX_HEADERS, MAX_TARGET_BYTES

if TYPE_CHECKING:
    from h2.events import Event as H2Event
    from hypercorn.config import Config
    from hypercorn.events import Event
    from hypercorn.protocol.events import Event as StreamEvent

    from golb.asgi import Application, Receive, Scope, Send
    from golb.server.connection import Peer
    from golb.server.timeouts import Timeouts
    from golb.sockets import SocketStream

LOG = structlog.get_logger()

_CLOSE_S = 1.0
# What all bodies of a connection may have on the way to golb; HTTP/2 begins with 64 KiB, which is also a stream's share.
_CONNECTION_WINDOW_BYTES = 1 << 20

# Visible characters without `#`; HTTP/1.1 has the same for golb, by its parser.
_TARGET = re.compile(rb"/[!\"$-~]*")


class Http2Server:
    """Serves HTTP/2 connections.

    Args:
        application: called for each request.
        config: hypercorn's.
        timeouts: of the server; a body that a client sends, and a write that it leaves waiting, have the same time.
    """

    def __init__(self, application: Application, config: Config, timeouts: Timeouts) -> None:
        self.application = application
        self.config = config
        self.timeouts = timeouts
        self.context = WorkerContext(None)
        self.connections: set[Http2Connection] = set()

    @property
    def further_requests(self) -> int:
        """How many more requests are under way than connections that have some."""
        return sum(connection.requests - 1 for connection in self.connections if connection.requests)

    async def serve(self, stream: trio.SSLStream[SocketStream], peer: Peer) -> None:
        """Serve one connection, whose TLS handshake is done; raises nothing but what ends the task."""
        try:
            await Http2Connection(self, stream, peer).run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        except* Exception:  # the boundary of one connection: a client's fault that hypercorn does not expect
            LOG.warning("HTTP/2 connection failed", exc_info=True)

    async def drain(self) -> None:
        """End connections as they become idle."""
        await self.context.terminated.set()
        for connection in self.connections:
            connection.stop_waiting()


class Http2Connection(TCPServer):
    """The reads and writes of one connection, which no client can block."""

    protocol: Any  # our _Protocol, where hypercorn has a choice of several
    stream: Any  # TLS over golb's SocketStream

    def __init__(self, server: Http2Server, stream: trio.SSLStream[SocketStream], peer: Peer) -> None:
        super().__init__(_no_application, server.config, server.context, {}, stream)  # type: ignore[arg-type] # it has what is used
        self.requests = 0
        """Under way now."""
        self._server = server
        self._peer = peer
        self._idle: _IdleWait | None = None

    async def run(self) -> None:
        self._server.connections.add(self)
        try:
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = _Protocol(self, self._server, self._peer, task_group)
                await self.protocol.initiate()
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
        finally:
            self._server.connections.discard(self)
            await self._close()

    def stop_waiting(self) -> None:
        """Close if there is no request."""
        if self._idle is not None:
            self._idle.stop_waiting()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        try:
            with trio.fail_after(self._server.timeouts.writing.timeout_s):
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
        self._idle = wait = _IdleWait()
        if not self.context.terminated.is_set():
            await wait.run(self._server.timeouts)
        # Closing makes the connection idle, which would cancel this very task.
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self.protocol.say_goodbye()
            await self.protocol.handle(Closed())
        await self._close()


class _IdleWait:
    """One wait of a connection for a request. hypercorn may begin the next one before it has ended the last."""

    def __init__(self) -> None:
        self._is_over = trio.Event()

    async def run(self, timeouts: Timeouts) -> None:
        """Return once it has taken too long, or `stop_waiting` has been called."""
        wait = Wait()
        timeouts.idle.start(wait, self)
        try:
            await self._is_over.wait()
        finally:
            timeouts.idle.stop(wait)

    def stop_waiting(self) -> None:
        self._is_over.set()


class _Buffer(StreamBuffer):
    """What of an answer waits for the client's flow control; whoever adds to it waits while it is long."""

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:  # hypercorn looks at what has been taken out
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class _Protocol(H2Protocol):
    """The streams of one connection, none of which can block another."""

    def __init__(self, connection: Http2Connection, server: Http2Server, peer: Peer, task_group: TaskGroup) -> None:
        super().__init__(
            self._respond,  # type: ignore[arg-type] # hypercorn's scopes and events are typed dicts
            server.config,
            server.context,
            task_group,
            ConnectionState({}),
            True,  # TLS
            peer.client,
            peer.server,
            connection.protocol_send,
        )
        self._owner = connection
        self._application = server.application
        self._timeouts = server.timeouts
        self._untaken: dict[int, int] = {}
        """Bytes of bodies that have come and have not been taken by the application, by stream."""
        self._ends: dict[int, trio.Event] = {}
        """Set when the last byte of a stream's answer has gone out, by stream."""
        del self.connection.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]

    async def initiate(self, headers: Any = None, settings: Any = None) -> None:
        await super().initiate(headers, settings)
        window = self.connection.inbound_flow_control_window
        self.connection.increment_flow_control_window(_CONNECTION_WINDOW_BYTES - window)
        await self._flush()

    async def say_goodbye(self) -> None:
        """Tell the client that no further request will be served."""
        with suppress(ProtocolError):
            self.connection.close_connection()
        await self._flush()

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if self.closed:
            # hypercorn lets an application wait for room in what nobody will read any more.
            for buffer in self.stream_buffers.values():
                await buffer.close()
            for end in self._ends.values():
                end.set()

    async def _handle_events(self, events: list[H2Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                await self._take_data(event)
            elif isinstance(event, RequestReceived) and (status := self._refusal(event)):
                with suppress(ProtocolError):
                    self.connection.send_headers(event.stream_id, [(b":status", b"%d" % status)], end_stream=True)
            elif isinstance(event, RequestReceived) and self.context.terminated.is_set():
                with suppress(ProtocolError):  # the client may ask again, elsewhere (RFC 9113, 8.7)
                    self.connection.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            else:
                await super()._handle_events([event])
        await self._flush()

    async def _create_stream(self, request: RequestReceived) -> None:
        await super()._create_stream(request)
        self.stream_buffers[request.stream_id] = _Buffer(self.context.event_class)  # before the application runs

    async def _take_data(self, event: DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        surplus = event.flow_controlled_length
        if stream is not None:
            # It goes into a queue without a limit: the stream's flow control is the limit.
            await stream.handle(Body(event.stream_id, event.data))
            self._untaken[event.stream_id] = self._untaken.get(event.stream_id, 0) + len(event.data)
            surplus -= len(event.data)
        self._acknowledge(event.stream_id, surplus)

    def _acknowledge(self, stream_id: int, count: int) -> None:
        if count:
            with suppress(ProtocolError):  # the connection has ended
                self.connection.acknowledge_received_data(count, stream_id)

    def _refusal(self, request: RequestReceived) -> int:
        """Return the status for what HTTP/1.1 could not carry to an endpoint; 0 for what it can."""
        values = dict(request.headers)
        method, target = bytes(values[b":method"]), bytes(values.get(b":path", b""))
        if method == b"CONNECT":
            return 501
        if not (_TARGET.fullmatch(target) or (target == b"*" and method == b"OPTIONS")) or not TOKEN.fullmatch(method):
            return 400
        if len(target) > MAX_TARGET_BYTES:
            return 414
        return 431 if len(request.headers) > MAX_HEADERS else 0

    async def stream_send(self, event: StreamEvent) -> None:
        if not isinstance(event, EndBody):
            await super().stream_send(event)
            return
        # hypercorn goes on once the last bytes have left their buffer, and what it does next may end the connection.
        self._ends[event.stream_id] = end = trio.Event()
        if event.stream_id in self.stream_buffers and not self.closed:
            await super().stream_send(event)
            await end.wait()
        self._ends.pop(event.stream_id, None)

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers and stream_id in self._ends:
            self._ends[stream_id].set()

    async def _close_stream(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        await super()._close_stream(stream_id)
        self._acknowledge(stream_id, self._untaken.pop(stream_id, 0))
        if self.closed:
            return
        if isinstance(stream, HTTPStream) and stream.state is not ASGIHTTPState.CLOSED:
            with suppress(ProtocolError):  # the client has done so itself
                self.connection.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._window_updated(stream_id)  # by which the sending task learns of it
        await self._flush()

    async def _respond(self, scope: Scope, receive: Receive, send: Send, *_: object) -> None:
        """Let the application answer; hypercorn ends the stream afterwards, and `_close_stream` sees whether it was whole."""
        stream: HTTPStream = send.__self__  # type: ignore[attr-defined] # it is one of its methods
        stream_id = stream.stream_id

        more_body, has_stalled = True, False

        async def receive_and_acknowledge() -> dict[str, Any]:
            nonlocal more_body, has_stalled
            event: dict[str, Any] | None = None
            with trio.move_on_after(self._timeouts.reading.timeout_s if more_body else math.inf):
                event = dict(await receive())
            if event is None:
                has_stalled = True
                return {"type": "http.disconnect"}
            more_body = event.get("more_body", False)
            if taken := len(event.get("body", b"")):
                if stream_id in self._untaken:
                    self._untaken[stream_id] -= taken
                    self._acknowledge(stream_id, taken)
                await self._flush()
            return event

        async def send_in_time(event: dict[str, Any]) -> None:
            with trio.move_on_after(self._timeouts.writing.timeout_s) as in_time:
                await send(event)
            if in_time.cancelled_caught:
                raise ClientGone("the client reads no more")
            if stream.closed and stream.state is not ASGIHTTPState.CLOSED:
                raise ClientGone("the client has reset its request")

        self._owner.requests += 1
        try:
            await self._application(scope, receive_and_acknowledge, send_in_time)
        except ClientGone:
            pass
        except GolbError as exc:  # broken off on purpose, by a handler that has logged it
            LOG.debug("response broken off", cause=str(exc))
        except Exception:  # the boundary of one request: whatever its application does stays in here
            LOG.exception("request failed", method=scope["method"], target=scope["raw_path"][:200].decode("latin-1"))
        finally:
            self._owner.requests -= 1
        if stream.state is ASGIHTTPState.REQUEST and not stream.closed:
            status, text = 500, b"golb: the request could not be answered\n"
            if has_stalled:
                status, text = 408, b"golb: the request's body did not arrive in time\n"
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
            with suppress(ClientGone):
                await send_in_time({"type": "http.response.start", "status": status, "headers": headers})
                await send_in_time({"type": "http.response.body", "body": text})


async def _no_application(*_: object) -> None:
    """Stand in where hypercorn wants an application: `_Protocol` has it."""

"""One client's HTTP/1.1 connection, which calls an ASGI application in its own task.

No task, channel or scope is made for a request: `receive` reads the stream when it is asked, `send` writes it. The
application may call the two from different tasks, each from one at a time.

Beside ASGI's HTTP with the trailers extension, the scope's `extensions` offer:
  golb.informational: `{"type": "golb.informational", "status": 103, "headers": [...]}` may precede the response.
  golb.lines: to an application that runs in fibers only. `http.response.start` may have, in place of headers, the lines themselves under the key `golb.lines`:
      a list of bytes, pieces of lines or whole ones, each line with the end of the line before, none of a hop-by-hop header and one of the length, which
      `golb.length` says as well.
  golb.pipe: a body event may have, in place of bytes, a `golb.pipes.Pipe` under the key `golb.pipe`; all it holds is sent. What is to come of a request's
      body, if its length is known, `await scope["golb.receive_into"](pipe)` moves into an empty pipe and returns how many bytes that were, 0 where
      `receive` would tell of a disconnect. `receive` must have been called before.
  golb.tunnel: where the client has asked for it, `http.response.start` with status 101 makes the connection a tunnel: body events carry its bytes both
      ways, and `more_body` false is the end of that direction.
`golb.target` in the scope is the request target in origin form, byte for byte (ASGI cannot tell `/?` from `/`). To an application that runs in fibers, which
is golb's own, it is told in place of `path`, `raw_path` and `query_string`.
`golb.body_ready` tells whether the first `receive` returns without waiting for the client.
The last `http.request` event of a chunked body has its `trailers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import structlog
import trio
from attrs import frozen

from golb.deadlines import Wait
from golb.errors import ClientGone, GolbError
from golb.fibers import attach, running
from golb.pipes import PIPE_BYTES
from golb.server.requests import Refusal, Request, RequestReader
from golb.server.writer import ResponseWriter
from golb.sockets import RECEIVE_BYTES, SocketStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.asgi import Application, Event, Receive, Send
    from golb.deadlines import TimeoutQueue
    from golb.pipes import Pipe
    from golb.server.timeouts import Idle, Silent, Timeouts
    from golb.server.tunnels import Tunnels
    from golb.sockets import ByteStream

LOG = structlog.get_logger()

# What a client may send ahead of the answer to its request; beyond that it has to wait.
_READ_AHEAD_BYTES: Final = 65536
# So much is read and dropped of what a client still sends to a connection that closes; see golb/server/timeouts.py.
_DISCARD_BYTES: Final = 1 << 20

# Of a target: no idle connection is to hold a long one several times.
_REMEMBERED_BYTES: Final = 256

# A number, which is found far faster than `bytes`.
_QUESTION_MARK: Final = ord("?")

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_EXTENSIONS: Final[dict[str, Event]] = {"http.response.trailers": {}, "golb.informational": {}}
_OF_SOCKET: Final[dict[str, Event]] = {"golb.pipe": {}}
_IN_FIBERS: Final[dict[str, Event]] = {"golb.lines": {}}
# By whether the connection is a plain socket, and whether the application runs in fibers.
_EXTENSIONS_OF: Final = {
    (of_socket, in_fibers): {**_EXTENSIONS, **(_OF_SOCKET if of_socket else {}), **(_IN_FIBERS if in_fibers else {})}
    for of_socket in (False, True)
    for in_fibers in (False, True)
}


@frozen
class Peer:
    """The ends of a connection, as an ASGI scope has them."""

    client: tuple[str, int] | None
    server: tuple[str, int] | None
    scheme: str


class Connection:
    """Serves one client until either side closes.

    Args:
        application: called for each request, in the task of `run`.
        stream: owned by the connection; closed when `run` returns.
        stop_reading: makes reads of the stream see its end behind what has arrived.
        abort: closes the stream at once; its argument tells whether the client shall see a failure, not an end.
        is_draining: whether a response that begins now shall be the connection's last, and say so.
        tunnels: takes the connection in if it becomes a tunnel; without them a tunnel ends as any request does.
    """

    __slots__ = (
        "_abort",
        "_application",
        "_body_taken",
        "_extensions",
        "_head_timed_out",
        "_last_method",
        "_last_target",
        "_read_ahead_bytes",
        "_reader",
        "_request",
        "_runs_in_fibers",
        "_scope_of_last",
        "_stop_reading",
        "_stream",
        "_timeouts",
        "_tunnels",
        "_wait",
        "_writer",
    )

    def __init__(
        self,
        application: Application,
        stream: ByteStream,
        peer: Peer,
        timeouts: Timeouts,
        *,
        stop_reading: Callable[[], None],
        abort: Callable[[bool], None],
        is_draining: Callable[[], bool],
        tunnels: Tunnels | None = None,
    ) -> None:
        self._application = application
        self._runs_in_fibers = bool(getattr(application, "runs_in_fibers", False))
        self._stream = stream
        self._timeouts = timeouts
        self._stop_reading = stop_reading
        self._abort = abort
        self._tunnels = tunnels
        self._extensions = _EXTENSIONS_OF[isinstance(stream, SocketStream), self._runs_in_fibers]
        self._reader = RequestReader()
        self._writer = ResponseWriter(stream, timeouts.writing, is_draining, self.abort)
        self._wait = Wait()
        """For a head, or the end: one after the other."""
        self._request = Request()
        self._writer.begin(self._request)
        self._body_taken = False
        self._head_timed_out = False
        self._read_ahead_bytes = 0
        # A copy costs a fifth of what making the scope anew costs.
        self._scope_of_last: Event = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "method": "",
            "scheme": peer.scheme,
            "root_path": "",
            "headers": [],
            "client": peer.client,
            "server": peer.server,
            "extensions": self._extensions,
            "golb.target": b"",
            "golb.body_ready": True,
        }
        """Of the last request whose target was not long, without what is seldom: a client mostly calls again what it has called before."""
        self._last_method = self._last_target = b""

    async def run(self) -> None:
        """Serve until the connection ends. Raises nothing; cancelled, it closes at once.

        Run as a fiber, it is attached for no longer than the request that needs it.
        """
        timer: TimeoutQueue[Silent] | TimeoutQueue[Idle] = self._timeouts.head
        fiber = running()
        receive, send = self.receive, self._writer.send  # bound once
        try:
            while await self._read_head(timer):
                if not await self._respond(receive, send):
                    break
                request = self._request
                if (request.upgrade or not request.complete) and not await self._end_request():
                    break
                timer = self._timeouts.idle
                if fiber is not None:
                    fiber.detach()
            if self._writer.ended and isinstance(self._stream, SocketStream) and not self._stream.is_flushed:
                await self._writer.end_stream()  # a slow client shall have all of its answer
        except (ClientGone, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone, or a timeout has closed the connection
        finally:
            self.abort()

    # Called by timeouts and by the server, from other tasks.

    def abort(self) -> None:
        """Close at once. A response that is under way ends visibly."""
        self._abort(self._writer.ends_by_close)

    def stop_waiting(self) -> None:
        """Close if no request is on its way; one that has arrived is served."""
        if not self._reader.in_head:
            self._stop_reading()

    def time_head_out(self) -> None:
        """Answer 408 where a head has begun to arrive (RFC 9110, 15.5.9), and close."""
        self._head_timed_out = True
        self._stop_reading()

    def time_body_out(self) -> None:
        """Answer 408 where a body has stalled and no response has begun; otherwise close at once."""
        if self._writer.started:
            self.abort()
        else:
            self._request.refusal = Refusal(408, "the request's body did not arrive in time")
            self._stop_reading()

    # The steps of a request.

    async def _read_head(self, timer: TimeoutQueue[Silent] | TimeoutQueue[Idle]) -> bool:
        """Read until a head is complete, and take its request up; false when the connection is to end."""
        reader = self._reader
        if not reader.requests:
            if reader.in_head:  # it came behind the request before
                timer = self._timeouts.head
            timer.start(self._wait, self)
            try:
                while not reader.requests:
                    data = await self._stream.receive_some(RECEIVE_BYTES)
                    if not data:
                        if self._head_timed_out and reader.in_head:
                            self._request = Request()
                            await self._refuse(Refusal(408, "the request's head did not arrive in time"))
                        return False
                    reader.feed(data)
                    if reader.in_head and timer is not self._timeouts.head:
                        timer.stop(self._wait)
                        timer = self._timeouts.head
                        timer.start(self._wait, self)
            finally:
                timer.stop(self._wait)
        else:
            # Requests that came together are answered without a read between them, perhaps thousands: others get a turn.
            await attach()
            await trio.lowlevel.checkpoint()
        self._request = request = reader.requests.popleft()
        self._body_taken = False
        self._read_ahead_bytes = 0
        self._writer.begin(request)
        if request.refusal is not None:
            await self._refuse(request.refusal)
            return False
        return True

    async def _respond(self, receive: Receive, send: Send) -> bool:
        """Let the application answer; false when the connection cannot go on."""
        writer = self._writer
        if not self._runs_in_fibers or self._request.upgrade or not self._request.complete:
            await attach()
        try:
            if self._request.upgrade and self._tunnels is not None:
                await self._tunnels.call(self._application, self._scope(), receive, send, lambda: writer.tunnel)
            else:
                await self._application(self._scope(), receive, send)
        except ClientGone:
            if self._request.refusal is None:
                return False  # otherwise it is there, and its body is malformed or late
        except GolbError as exc:  # broken off on purpose, by a handler that has logged it
            LOG.debug("response broken off", cause=str(exc))
        except Exception:  # the boundary of one request: whatever its application does stays in here
            LOG.exception("request failed", method=self._request.method.decode(), target=_shown(self._request.target))
        if writer.ended:
            return writer.keep_alive or await self._discard()
        if not writer.started:
            await self._refuse(self._request.refusal or Refusal(500, "the request could not be answered"))
        return False

    async def _end_request(self) -> bool:
        """Get past what the application has left of the request; false when the connection is to end."""
        request = self._request
        if request.upgrade:
            self._reader.resume()
        return request.complete or await self._discard()

    async def _refuse(self, refusal: Refusal) -> None:
        """Answer with an error of golb's own, and end the connection."""
        self._request.keep_alive = False
        self._writer.begin(self._request)
        text = f"golb: {refusal.reason}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        await self._writer.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._writer.send({"type": "http.response.body", "body": text})
        await self._discard()

    async def _discard(self) -> bool:
        """Read the rest of the request and drop it; true if it came to its end and the connection goes on.

        One that ends is read to the client's end.
        """
        request, timer = self._request, self._timeouts.discarding
        keep_alive = self._writer.keep_alive
        dropped = 0
        if not keep_alive:
            await self._writer.end_stream()
        timer.start(self._wait, self)
        try:
            while dropped < _DISCARD_BYTES and not (keep_alive and request.refusal is not None):
                data = await (self._read_body() if keep_alive else self._stream.receive_some(RECEIVE_BYTES))
                if not data or (keep_alive and request.complete):
                    break
                dropped += len(data)
                request.body.clear()
        finally:
            timer.stop(self._wait)
        return request.complete and keep_alive

    def _scope(self) -> Event:
        request = self._request
        scope = self._scope_of_last
        is_same_method = request.method == self._last_method
        if not is_same_method or request.target != self._last_target:
            if len(request.target) <= _REMEMBERED_BYTES:
                self._last_method, self._last_target = request.method, request.target
            else:
                scope = scope.copy()
            scope["golb.target"] = request.target
            if not is_same_method:
                scope["method"] = request.method.decode()
            if not self._runs_in_fibers:
                _tell_path(scope, request.target)
        scope = scope.copy()
        scope["headers"] = request.headers
        if request.http_1_0:
            scope["http_version"] = "1.0"
        if request.upgrade:
            scope["extensions"] = {**self._extensions, "golb.tunnel": {}}
        if not request.complete:
            scope["golb.body_ready"] = bool(request.body)
            if "golb.pipe" in self._extensions and not request.upgrade:
                scope["golb.receive_into"] = self.receive_into
        return scope

    # The application's `receive`.

    async def receive(self) -> Event:
        """ASGI's `receive`: the body, then silence until the client goes away."""
        request = self._request
        if self._writer.tunnel:
            return await self._receive_from_tunnel()
        if self._body_taken:
            return await self._wait_for_disconnect()
        if not request.body and not request.complete:
            if request.expects_continue and not self._writer.started:
                await self._writer.send_continue()
            request.expects_continue = False
            timer = self._timeouts.reading
            wait = Wait()  # of its own: an application may call this from any task
            timer.start(wait, self)
            try:
                while not request.body and not request.complete:
                    if not await self._read_body() or request.refusal is not None:
                        return {"type": "http.disconnect"}
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return {"type": "http.disconnect"}
            finally:
                timer.stop(wait)
        body = request.body
        request.body = []
        self._body_taken = request.complete
        event: Event = {
            "type": "http.request",
            "body": body[0] if len(body) == 1 else b"".join(body),
            "more_body": not request.complete,
        }
        if request.complete and request.trailers:
            event["trailers"] = request.trailers
        return event

    async def receive_into(self, pipe: Pipe) -> int:
        """The extension `golb.pipe`: move what comes next of the body into a pipe."""
        assert isinstance(self._stream, SocketStream)  # noqa: S101 - otherwise the extension is not offered
        left = self._reader.body_bytes_left
        if left is None:
            return 0
        timer = self._timeouts.reading
        wait = Wait()
        timer.start(wait, self)
        try:
            moved = await self._stream.receive_into(pipe, min(left, PIPE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return 0
        finally:
            timer.stop(wait)
        if moved:
            self._reader.pass_body(moved)
            self._body_taken = self._request.complete
        return moved

    async def _read_body(self) -> bytes:
        """Read once for the body of the request; empty when the client sends no more."""
        reader = self._reader
        left = reader.body_bytes_left
        data = await self._stream.receive_some(RECEIVE_BYTES if left is None else min(left, RECEIVE_BYTES))
        if not data:
            return b""
        if left is None:
            reader.feed(data)
        else:
            reader.take_body(data)
        return data

    async def _wait_for_disconnect(self) -> Event:
        reader = self._reader
        try:
            while data := await self._stream.receive_some(RECEIVE_BYTES):
                reader.feed(data)
                self._read_ahead_bytes += len(data)
                if self._read_ahead_bytes > _READ_AHEAD_BYTES:
                    await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return {"type": "http.disconnect"}

    async def _receive_from_tunnel(self) -> Event:
        data, self._reader.leftover = self._reader.leftover, b""
        if not data:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return {"type": "http.disconnect"}
        return {"type": "http.request", "body": data, "more_body": bool(data)}


def _tell_path(scope: Event, target: bytes) -> None:
    """Write into a scope what ASGI has in place of a target."""
    path, query = target, b""
    if _QUESTION_MARK in path:
        path, _, query = path.partition(b"?")
    text = path.decode()  # it is ASCII: the reader lets nothing else through
    scope["path"] = unquote(text) if "%" in text else text
    scope["raw_path"] = path
    scope["query_string"] = query


def _shown(target: bytes) -> str:
    return target[:200].decode("latin-1")

"""One connection to an endpoint: a request's bytes out, an answer in; kept for the next request where it may be.

httptools (llhttp, strict) parses; a parser lives as long as its connection, since making one costs 4 µs. A body of
known length passes it by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httptools
import trio

from golb.errors import UpstreamError
from golb.headers import HOP_BY_HOP, X_FINAL_HOST, X_FORWARDED_FOR, NameCache, connection_options, droppable
from golb.sockets import RECEIVE_BYTES, NothingSentError

if TYPE_CHECKING:
    from golb.asgi import Receive
    from golb.deadlines import TimeoutQueue
    from golb.errors import GolbError
    from golb.headers import Headers
    from golb.sockets import SocketStream
    from golb.upstream.pool import Pool

MAX_HEAD_BYTES = 65536
MAX_HEADERS = 200

# Answers that end with their head (RFC 9112, 6.3).
_BODILESS = frozenset({204, 304})
_SWITCHING_PROTOCOLS = 101

# Headers of an answer that need more than being passed on, by their name in lower case.
_SPECIAL = HOP_BY_HOP | {b"content-length", X_FINAL_HOST, X_FORWARDED_FOR}
_NAMES = NameCache(lambda name: None if name.lower() in _SPECIAL else name.lower())


class StaleConnectionError(UpstreamError):
    """A kept connection failed before a byte of the answer came. Ask again on a new one, if the request may be repeated."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the endpoint closed a connection that was kept")
        self.sent = sent
        """Whether the endpoint may have got a byte of the request."""


class Watcher(Protocol):
    """Whoever watches the client while the endpoint is asked."""

    async def stop(self) -> None:
        """End the watch."""


class UpstreamConnection:
    """A connection to one endpoint, used by one request at a time.

    Args:
        pool: the connections of the endpoint, to which this one goes back.
        stream: owned by the connection.
        answer_timeouts: bounds each wait for the endpoint.
    """

    def __init__(self, pool: Pool, stream: SocketStream, answer_timeouts: TimeoutQueue[UpstreamConnection]) -> None:
        self.pool = pool
        self.reused = False
        """Whether it has carried an answer before."""
        self.receive: Receive | None = None
        """The client's side of the request under way, for whoever watches it."""
        self.watcher: Watcher | None = None
        self._stream = stream
        self._answer_timeouts = answer_timeouts
        self._parser = httptools.HttpResponseParser(self)
        self._parser_is_fresh = True
        self._failure: GolbError | None = None
        self._reusable = True
        self.begin(head_request=False)

    def begin(self, *, head_request: bool) -> None:
        """Make ready for the answer to a new request."""
        if not self._parser_is_fresh:
            self._parser = httptools.HttpResponseParser(self)
            self._parser_is_fresh = True
        self._head_request = head_request
        self._in_head = True
        self._raw_headers: Headers = []
        self._expecting = True
        self.interim: list[tuple[int, Headers]] = []
        """1xx answers that have come and have not been taken; never 101."""
        self.status = 0
        """Of the final answer, once its head has come; 101 included."""
        self.headers: Headers = []
        """Of the final answer, names in lower case, as they may go on; `content-length` among them."""
        self.final_hosts: Headers = []
        """Its X-Final-Host lines, if another load balancer has answered."""
        self.forwarded_for: Headers = []
        """Its X-Forwarded-For lines, likewise."""
        self.chunked = False
        """It comes in chunks, so trailers may follow."""
        self.upgraded = False
        """It is a proper 101."""
        self.until_close = False
        """The answer ends with the connection."""
        self.complete = False
        """All of the answer has come."""
        self.body: list[bytes] = []
        """What has come of the body and has not been taken."""
        self.trailers: Headers = []
        self.leftover = b""
        """Behind the head of a 101: the first bytes of the other protocol."""
        self._bytes_left: int | None = None

    def is_usable(self) -> bool:
        """Tell whether an idle connection may carry a request: the endpoint has neither closed it nor sent anything."""
        return not self._stream.has_input()

    async def write(self, data: bytes) -> None:
        """Send a piece of the request.

        Raises:
            UpstreamError: the connection failed, or was aborted.
        """
        try:
            await self._stream.send_all(data)
        except trio.ClosedResourceError as exc:
            raise self._failure or UpstreamError("the connection was closed") from exc
        except NothingSentError as exc:
            if self.reused:
                raise StaleConnectionError(sent=False) from exc
            raise self._broken(exc) from exc
        except trio.BrokenResourceError as exc:
            raise self._broken(exc) from exc

    async def read_head(self) -> None:
        """Read until the head of the final answer, or an interim one, has come.

        Raises:
            StaleConnectionError: see there.
            UpstreamError: the endpoint closed, or its answer cannot be used.
            UpstreamTimeoutError: it did not answer in time.
        """
        received = 0
        while not self.status and not self.interim:
            data = await self._receive(RECEIVE_BYTES)
            if not data:
                raise self._broken(None)
            self.reused = False  # from here on a failure is the answer's, not the kept connection's
            received += len(data)
            self._feed(data)
            if not self.status and received > MAX_HEAD_BYTES:
                raise UpstreamError(f"the answer's head is longer than {MAX_HEAD_BYTES} bytes")

    async def read_body(self) -> bytes:
        """Return the next bytes of the body; none when it is complete.

        Raises:
            UpstreamError: the answer breaks off.
            UpstreamTimeoutError: the endpoint paused too long.
        """
        while not self.body and not self.complete:
            left = self._bytes_left
            data = await self._receive(RECEIVE_BYTES if left is None else min(left, RECEIVE_BYTES))
            if not data:
                if not self.until_close:
                    raise UpstreamError("the connection was closed in the middle of the answer")
                self.complete = True
            elif self.until_close:
                self.body.append(data)
            elif left is None:
                self._feed(data)
            else:
                self.body.append(data)
                self._bytes_left = left - len(data)
                self._parser_is_fresh = False  # it waits for what has passed it by
                self.complete = self._bytes_left == 0
        return self.take_body()

    def take_body(self) -> bytes:
        """Return what has come of the body."""
        body = self.body
        if len(body) == 1:
            return body.pop()
        self.body = []
        return b"".join(body)

    async def read_raw(self) -> bytes:
        """Return bytes of the protocol that a 101 switched to; none at its end."""
        if self.leftover:
            data, self.leftover = self.leftover, b""
            return data
        try:
            return await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._failure or UpstreamError(str(exc)) from exc

    async def end_writing(self) -> None:
        """Let the endpoint see the end of what it is sent."""
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._failure or UpstreamError(str(exc)) from exc

    def spoil(self) -> None:
        """Let the connection not be kept."""
        self._reusable = False

    def keep(self) -> bool:
        """Make ready to be kept after an answer; false if it must be closed instead."""
        self.reused = True
        self.receive = None
        return self.complete and self._reusable and not self.body

    def abort(self, failure: GolbError | None = None) -> None:
        """Close at once; whoever waits on the connection gets `failure`."""
        self._failure = failure
        self._stream.abort()

    async def _receive(self, max_bytes: int) -> bytes:
        timeouts = self._answer_timeouts
        timeouts.start(self)
        try:
            return await self._stream.receive_some(max_bytes)
        except trio.ClosedResourceError as exc:
            raise self._failure or UpstreamError("the connection was closed") from exc
        except trio.BrokenResourceError as exc:
            raise self._broken(exc) from exc
        finally:
            timeouts.stop(self)

    def _broken(self, exc: Exception | None) -> UpstreamError:
        if self.reused:
            return StaleConnectionError(sent=True)
        if self.status:
            return UpstreamError(f"the answer broke off: {exc}")
        return UpstreamError(f"the connection failed: {exc}" if exc else "the endpoint closed without an answer")

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self.leftover = data[exc.args[0] :]
        except httptools.HttpParserError as exc:
            self._reusable = False
            if isinstance(exc.__context__, UpstreamError):
                raise exc.__context__ from None
            if not self.complete:
                raise UpstreamError(f"the answer is malformed: {exc}") from exc

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.complete:  # an answer that nobody asked for
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._raw_headers.append((name, value))
        elif not self.complete:
            self.trailers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200 and status != _SWITCHING_PROTOCOLS:
            if status < 100:
                raise UpstreamError(f"the answer's status is {status:03}")
            self.interim.append((status, [(name.lower(), value) for name, value in self._raw_headers]))
            self._raw_headers = []
            return
        self._in_head = False
        self._sort_headers(status, parser.get_http_version())
        self._reusable = parser.should_keep_alive()
        self.upgraded = parser.should_upgrade()
        self.status = status

    def on_body(self, data: bytes) -> None:
        if self._head_request or self.complete:
            self._reusable = False  # bytes that belong to no answer
            return
        self.body.append(data)
        if self._bytes_left is not None:
            self._bytes_left -= len(data)

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True

    def _sort_headers(self, status: int, version: str) -> None:
        """Take from the head what the connection needs, and leave what goes on."""
        raw = self._raw_headers
        if len(raw) > MAX_HEADERS:
            raise UpstreamError(f"the answer has {len(raw)} headers; {MAX_HEADERS} are accepted")
        if version not in ("1.1", "1.0"):
            raise UpstreamError(f"the answer is HTTP/{version}")
        headers: Headers = []
        length: int | None = None
        connection: list[bytes] = []
        for name, value in raw:
            lowered = _NAMES[name]
            if lowered is not None:
                headers.append((lowered, value))
                continue
            lowered = name.lower()
            if lowered == b"content-length":
                length = int(value)
                headers.append((lowered, value))
            elif lowered == b"transfer-encoding":
                self.chunked = True
                if value.strip(b" \t").lower() != b"chunked" or version == "1.0":
                    raise UpstreamError("the answer's Transfer-Encoding is not chunked")
            elif lowered == b"connection":
                connection.append(value)
            elif lowered == X_FINAL_HOST:
                self.final_hosts.append((lowered, value))
            elif lowered == X_FORWARDED_FOR:
                self.forwarded_for.append((lowered, value))
            elif lowered == b"upgrade" and status == _SWITCHING_PROTOCOLS:
                headers.append((lowered, value))
        if connection and (dropped := droppable(connection_options(connection))):
            headers = [(name, value) for name, value in headers if name not in dropped]
        self.headers = headers
        if self._head_request:
            # The parser cannot know that no body follows, and would wait for it.
            self.complete = True
            self._parser_is_fresh = not (length or self.chunked or length is None)
        elif not self.chunked and status not in _BODILESS and status != _SWITCHING_PROTOCOLS:
            self._bytes_left = length
            self.until_close = length is None

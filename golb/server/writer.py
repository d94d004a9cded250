"""The response side of one HTTP/1.1 connection: ASGI events in, bytes out.

The head waits for the first piece of the body, so that both leave in one write. A response that its application does
not bring to an end leaves `ended` false; the connection then closes without the mark of an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from golb.errors import ClientGone
from golb.headers import trailer_section
from golb.server.responses import Framing, interim_head, response_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.deadlines import TimeoutQueue
    from golb.server.requests import Request
    from golb.sockets import ByteStream

SWITCHING_PROTOCOLS = 101


class ResponseWriter:
    """Writes the responses of one connection, one after the other.

    Args:
        stream: where the bytes go.
        stalls: bounds how long the client may leave a write waiting.
        is_draining: whether a response that begins now shall be the connection's last.
        on_stall: called when a write has waited too long; closes the stream.
    """

    __slots__ = (
        "_bytes_left",
        "_framing",
        "_head",
        "_is_draining",
        "_request",
        "_stalls",
        "_stream",
        "_trailers_follow",
        "ended",
        "keep_alive",
        "on_stall",
        "started",
        "tunnel",
    )

    def __init__(
        self,
        stream: ByteStream,
        stalls: TimeoutQueue[ResponseWriter],
        is_draining: Callable[[], bool],
        on_stall: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._stalls = stalls
        self.on_stall = on_stall
        self._is_draining = is_draining

    def begin(self, request: Request) -> None:
        """Make ready for the response to `request`."""
        self._request = request
        self._head = b""
        self._framing = Framing.NONE
        self._bytes_left = -1
        self._trailers_follow = False
        self.started = False
        """An application has begun a response; its head may not have been written."""
        self.ended = False
        """All of the response has been written."""
        self.keep_alive = True
        """The connection may go on after this response, as its head says."""
        self.tunnel = False
        """The response was 101: from here on the bytes are another protocol's."""

    @property
    def ends_by_close(self) -> bool:
        """Whether the client takes the connection's end for the response's, so that a cut needs a reset to be seen."""
        return self.started and not self.ended and self._framing is Framing.CLOSE

    async def send(self, event: dict[str, Any]) -> None:
        """ASGI's `send`.

        Raises:
            ClientGone: the client closed the connection, or left a write waiting too long.
            ValueError, RuntimeError: the event, or its place in the order of events, is wrong.
        """
        kind = event["type"]
        if kind == "http.response.body":
            if not self.started or self.ended:
                raise RuntimeError("a response's body comes between its start and its end")
            data = self._frame(event.get("body", b""), more=event.get("more_body", False))
            if data:
                await self._write(data)
            if self.tunnel and not event.get("more_body", False):
                await self._end_tunnel()
        elif kind == "http.response.start":
            if self.started:
                raise RuntimeError("a request has one response")
            await self._start(event)
        elif kind == "http.response.trailers":
            if not self._trailers_follow:
                raise RuntimeError("trailers come last, where the response's start has announced them")
            self.ended = True
            if self._framing is Framing.CHUNKED:
                await self._write(trailer_section(event["headers"]))
        elif kind == "golb.informational":
            if self.started:
                raise RuntimeError("an informational response precedes the final one")
            if not self._request.http_1_0:  # RFC 9110, 15.2: HTTP/1.0 has none
                await self._write(interim_head(event["status"], event["headers"]))
        else:
            raise ValueError(f"{kind} is no event of a response")

    async def send_continue(self) -> None:
        """Tell a client that waits for it to send its body."""
        await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _start(self, event: dict[str, Any]) -> None:
        request = self._request
        status = event["status"]
        self.started = True
        if status == SWITCHING_PROTOCOLS:
            if not request.upgrade:
                raise RuntimeError("the client has not asked to switch protocols")
            self.tunnel = True
            self.keep_alive = False
            await self._write(interim_head(status, event["headers"]))
            return
        self.keep_alive = (
            request.keep_alive
            and not self._is_draining()
            # A client that was not told to continue may or may not send its body: nothing behind it could be trusted.
            and not (request.expects_continue and not request.complete)
        )
        self._head, self._framing, self._bytes_left = response_head(
            status,
            event.get("headers", []),
            head_request=request.method == b"HEAD",
            http_1_0=request.http_1_0,
            keep_alive=self.keep_alive,
        )
        if self._framing is Framing.CLOSE:
            self.keep_alive = False
        self._trailers_follow = event.get("trailers", False)

    def _frame(self, body: bytes, *, more: bool) -> bytes:
        """Return the next bytes to write for a piece of the body."""
        head, self._head = self._head, b""
        framing = self._framing
        if framing is Framing.LENGTH:
            self._bytes_left -= len(body)
            if self._bytes_left < 0 or (self._bytes_left > 0 and not more):
                raise RuntimeError("the body has not the length that the response's head says")
            self.ended = not more
            return head + body if head else body
        if framing is Framing.CHUNKED:
            self.ended = not (more or self._trailers_follow)
            last = b"0\r\n\r\n" if self.ended else b""
            return b"%b%x\r\n%b\r\n%b" % (head, len(body), body, last) if body else head + last
        self.ended = not (more or self._trailers_follow)
        if self.tunnel or framing is Framing.CLOSE:
            return head + body
        return head  # a response to HEAD, 204, 304: whatever body the application sends has no place

    async def _write(self, data: bytes) -> None:
        stalls = self._stalls
        stalls.start(self)
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ClientGone(str(exc)) from exc
        finally:
            stalls.stop(self)

    async def _end_tunnel(self) -> None:
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ClientGone(str(exc)) from exc

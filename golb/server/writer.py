"""The response side of one HTTP/1.1 connection: ASGI events in, bytes out.

The head waits for the first piece of the body, so that both leave in one write. A response that its application does
not bring to an end leaves `ended` false; the connection then closes without the mark of an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from golb.deadlines import Wait
from golb.errors import ClientGone
from golb.fibers import attach
from golb.headers import frame_chunk, trailer_section
from golb.server.responses import CHUNKED, CLOSE, LENGTH, NONE, interim_head, response_head, written_head
from golb.sockets import SocketStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.asgi import Buffer
    from golb.deadlines import TimeoutQueue
    from golb.pipes import Pipe
    from golb.server.requests import Request
    from golb.sockets import ByteStream

SWITCHING_PROTOCOLS: Final = 101


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
        "_interim",
        "_is_draining",
        "_request",
        "_send_later",
        "_stalls",
        "_start",
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
        # A plain socket takes what is small without a wait.
        self._send_later: Callable[[Buffer], bool] | None = getattr(stream, "send_later", None)
        self._stalls = stalls
        self._interim: trio.Lock | None = None
        """Held while an interim response is written: the task that reads the request's body writes 100, another one the answer."""
        self._is_draining = is_draining
        self.on_stall = on_stall

    def begin(self, request: Request) -> None:
        """Make ready for the response to `request`."""
        self._request = request
        self._start: bytes | None = None  # the head, which waits for the first piece of the body
        self._framing = NONE
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
        return self.started and not self.ended and (self.tunnel or self._framing is CLOSE)

    async def send(self, event: dict[str, Any]) -> None:
        """ASGI's `send`.

        Raises:
            ClientGone: the client closed the connection, or left a write waiting too long.
            ValueError, RuntimeError: the event, or its place in the order of events, is wrong.
        """
        kind: str = event["type"]
        if kind == "http.response.body":
            if not self.started or self.ended:
                raise RuntimeError("a response's body comes between its start and its end")
            more = bool(event.get("more_body", False))
            if "golb.pipe" in event:
                await self._send_pipe(event["golb.pipe"], more=more)
                return
            data = self._frame(event.get("body", b""), more=more)
            start = self._start
            if start is not None:
                self._start = None
                data = start + data
            if data and (self._send_later is None or not self._send_later(data)):
                await self._write(data)
            if self.tunnel and not more:
                await self.end_stream()
        elif kind == "http.response.start":
            if self.started:
                raise RuntimeError("a request has one response")
            if self._interim is not None:
                await attach()
                async with self._interim:
                    pass  # what is being written comes to its end first; who else waits finds the response begun
            if event["status"] == SWITCHING_PROTOCOLS:
                await self._switch_protocols(event)
            else:
                self._start = self._head(event)
                self.started = True
        else:
            await self._send_other(kind, event)

    async def _send_pipe(self, pipe: Pipe, *, more: bool) -> None:
        """Send the piece of a body that is in a pipe."""
        if self._framing is not LENGTH or not isinstance(self._stream, SocketStream):
            raise RuntimeError("a pipe is for a body of known length over a plain connection")
        if self._start is not None:
            start, self._start = self._start, None
            await self._write(start)
        self._count(pipe.held, more=more)
        wait = Wait()
        self._stalls.start(wait, self)
        try:
            await self._stream.send_from(pipe, lambda: self._stalls.restart(wait))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ClientGone(f"the client went away: {exc}") from exc
        finally:
            self._stalls.stop(wait)

    async def _send_other(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "http.response.trailers":
            if not self._trailers_follow or self.ended:
                raise RuntimeError("trailers come last, where the response's start has announced them")
            section = trailer_section(event["headers"])
            self.ended = True
            if self._framing is CHUNKED:
                await self._write(section)
        elif kind == "golb.informational":
            if self.started:
                raise RuntimeError("an informational response precedes the final one")
            if not self._request.http_1_0:  # RFC 9110, 15.2: HTTP/1.0 has none
                await self._write_interim(interim_head(event["status"], event["headers"]))
        else:
            raise ValueError(f"{kind} is no event of a response")

    async def send_continue(self) -> None:
        """Tell a client that waits for it to send its body."""
        await self._write_interim(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _write_interim(self, data: bytes) -> None:
        if self._interim is None:
            self._interim = trio.Lock()
        await attach()
        async with self._interim:
            if not self.started:  # a final response may have begun meanwhile
                await self._write(data)

    async def _switch_protocols(self, event: dict[str, Any]) -> None:
        if not self._request.upgrade:
            raise RuntimeError("the client has not asked to switch protocols")
        head = interim_head(SWITCHING_PROTOCOLS, event["headers"])
        self.started = self.tunnel = True
        self.keep_alive = False
        await self._write(head)

    def _head(self, event: dict[str, Any]) -> bytes:
        """Return the head of a response, and take note of what it promises."""
        request = self._request
        self.keep_alive = (
            request.keep_alive
            and not self._is_draining()
            # A client that was not told to continue may or may not send its body: nothing behind it could be trusted.
            and (not request.expects_continue or request.complete)
        )
        lines = event.get("golb.lines")
        if lines is None:
            head, self._framing, self._bytes_left = response_head(
                event["status"],
                event.get("headers", []),
                head_request=request.method == b"HEAD",
                http_1_0=request.http_1_0,
                keep_alive=self.keep_alive,
            )
        else:
            head, self._framing, self._bytes_left = written_head(
                event["status"],
                lines,
                event["golb.length"],
                head_request=request.method == b"HEAD",
                http_1_0=request.http_1_0,
                keep_alive=self.keep_alive,
            )
        if self._framing is CLOSE:
            self.keep_alive = False
        self._trailers_follow = bool(event.get("trailers", False))
        return head

    def _frame(self, body: Buffer, *, more: bool) -> Buffer:
        """Return the bytes that carry a piece of the body."""
        framing = self._framing
        if framing is LENGTH:
            self._count(len(body), more=more)
            return body
        self.ended = not (more or self._trailers_follow)
        if framing is CHUNKED:
            return frame_chunk(body, [] if self.ended else None)
        if self.tunnel or framing is CLOSE:
            return body
        return b""  # to HEAD, or 204 or 304: whatever body the application sends has no place

    def _count(self, sent: int, *, more: bool) -> None:
        self._bytes_left -= sent
        if self._bytes_left < 0 or (self._bytes_left > 0 and not more):
            raise RuntimeError("the body has not the length that the response's head says")
        self.ended = not more

    async def _write(self, data: Buffer) -> None:
        wait = Wait()
        self._stalls.start(wait, self)
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ClientGone(f"the client went away: {exc}") from exc
        finally:
            self._stalls.stop(wait)

    async def end_stream(self) -> None:
        """Let the client see the end of what it is sent, behind all of it.

        Raises:
            ClientGone: as for `send`.
        """
        wait = Wait()
        self._stalls.start(wait, self)
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ClientGone(f"the client went away: {exc}") from exc
        finally:
            self._stalls.stop(wait)

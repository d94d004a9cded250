"""One connection to an endpoint: a request's bytes out, an answer in; kept for the next request where it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from golb.deadlines import Wait
from golb.errors import UpstreamError
from golb.pipes import PIPE_BYTES
from golb.sockets import RECEIVE_BYTES, ByteStream
from golb.upstream.answer_reader import AnswerReader
from golb.upstream.answers import NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from golb.asgi import Buffer, Receive
    from golb.deadlines import TimeoutQueue
    from golb.errors import GolbError
    from golb.pipes import Pipe
    from golb.upstream.answers import Answer
    from golb.upstream.pool import Pool

T = TypeVar("T")


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


class EndpointStream(ByteStream, Protocol):
    """What it needs of the connection to an endpoint; see `golb.sockets.SocketStream`."""

    has_sent: bool

    @property
    def is_flushed(self) -> bool: ...
    def has_input(self) -> bool: ...
    def give_way(self, *, gives_way: bool) -> None: ...
    async def receive_into(self, pipe: Pipe, max_bytes: int) -> int: ...
    def send_later(self, data: Buffer) -> bool: ...
    def send_now(self, data: Buffer) -> int: ...
    async def send_from(self, pipe: Pipe, on_progress: Callable[[], object]) -> None: ...
    def abort(self) -> None: ...


class UpstreamConnection:
    """A connection to one endpoint, used by one request at a time.

    Args:
        pool: the connections of the endpoint, to which this one goes back.
        stream: owned by the connection.
        timeouts: bounds each wait for the endpoint to read, and for its bytes from when `watch` is called on.
    """

    __slots__ = (
        "_failure",
        "_is_waiting",
        "_is_watched",
        "_reader",
        "_timeouts",
        "_was_kept",
        "answer",
        "pool",
        "receive",
        "request_sent",
        "stream",
        "wait",
        "watcher",
    )

    def __init__(
        self,
        pool: Pool,
        stream: EndpointStream,
        timeouts: TimeoutQueue[UpstreamConnection],
    ) -> None:
        self.pool = pool
        self.receive: Receive | None = None
        """The client's side of the request under way, for whoever watches it."""
        self.watcher: Watcher | None = None
        self.request_sent = False
        """Of a request whose body was still to come, all has been written."""
        self.stream = stream
        self._timeouts = timeouts
        self._reader = AnswerReader()
        self.answer = self._reader.answer
        """To the request under way."""
        self.wait = Wait()
        """To be used, to be watched, or for the answer: one after the other."""
        self._failure: GolbError | None = None
        self._was_kept = False
        self._is_waiting = False
        self._is_watched = False

    def begin(self, receive: Receive, *, head_request: bool) -> None:
        """Make ready for a new request and its answer."""
        self.receive = receive
        self.answer = self._reader.begin(head_request=head_request)

    def watch(self) -> None:
        """Bound from now on how long the endpoint may pause; most answers are there before it is worth the trouble."""
        if not self._is_watched:
            self._is_watched = True
            if self._is_waiting:
                self._timeouts.start(self.wait, self)

    async def end_watch(self) -> None:
        """End the watch on the client; when this returns, nobody else calls `receive` any more."""
        if self.watcher is not None:
            await self.watcher.stop()
            self.watcher = None

    async def write(self, data: bytes) -> None:
        """Send a piece of the request.

        Raises:
            StaleConnectionError: see there.
            UpstreamError: the connection failed, or was aborted.
        """
        try:
            sent = self.stream.send_now(data)
            if sent < len(data):
                wait = Wait()
                self._timeouts.start(wait, self)
                try:
                    await self.stream.send_all(data[sent:])
                finally:
                    self._timeouts.stop(wait)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._broken(exc) from exc

    async def write_from(self, pipe: Pipe) -> None:
        """Send the piece of the request's body that is in a pipe; raises what `write` does."""
        wait = Wait()
        self._timeouts.start(wait, self)
        try:
            await self.stream.send_from(pipe, lambda: self._timeouts.restart(wait))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._broken(exc) from exc
        finally:
            self._timeouts.stop(wait)

    async def read_head(self) -> Answer:
        """Read until the head of the final answer, or an interim one, has come.

        Raises:
            StaleConnectionError: see there.
            UpstreamError: the endpoint closed, or its answer cannot be used.
            UpstreamTimeoutError: it did not answer in time.
        """
        answer = self.answer
        while not answer.status and answer.interim is None:
            # As `_receive` waits, whose coroutine would cost each request.
            self._begin_wait()
            try:
                data = await self.stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise self._broken(exc) from exc
            finally:
                self._end_wait()
            if not data:
                raise self._broken(None)
            self._was_kept = False  # from here on a failure is the answer's, not the kept connection's
            self._reader.feed(data)
        return answer

    async def read_body(self) -> bytes:
        """Return the next bytes of the body; none when it is complete.

        Raises:
            UpstreamError: the answer breaks off.
            UpstreamTimeoutError: the endpoint paused too long.
        """
        answer = self.answer
        while not answer.body and not answer.complete:
            left = answer.bytes_left
            at_most = RECEIVE_BYTES if left is None else min(left, RECEIVE_BYTES)
            data = await self._receive(self.stream.receive_some(at_most))
            if not data:
                if not answer.until_close:
                    raise UpstreamError("the connection was closed in the middle of the answer")
                answer.complete = True
            elif answer.chunked:
                self._reader.feed(data)
            else:
                self._reader.take_body(data)
        return answer.take_body()

    async def read_body_into(self, pipe: Pipe) -> None:
        """Move the next bytes of a body of known length into an empty pipe; raises what `read_body` does."""
        answer = self.answer
        assert answer.bytes_left is not None  # noqa: S101 - the caller has looked
        moved = await self._receive(self.stream.receive_into(pipe, min(answer.bytes_left, PIPE_BYTES)))
        if not moved:
            raise UpstreamError("the connection was closed in the middle of the answer")
        self._reader.pass_body(moved)

    async def read_raw(self) -> bytes:
        """Return bytes of the protocol that a 101 switched to; none at its end."""
        answer = self.answer
        if answer.leftover:
            data, answer.leftover = answer.leftover, b""
            return data
        try:
            return await self.stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._broken(exc) from exc

    async def end_writing(self) -> None:
        """Let the endpoint see the end of what it is sent."""
        try:
            await self.stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._broken(exc) from exc

    def spoil(self) -> None:
        """Let the connection not be kept."""
        self._reader.reusable = False

    def keep(self) -> bool:
        """Make ready to be kept after an answer; false if it must be closed instead."""
        self.receive = None
        self._is_watched = False
        self._was_kept = True
        self.stream.has_sent = False
        is_complete = self.answer.complete
        # Now, while it is in the processor's cache, and the next answer takes its place there.
        self.answer = NO_ANSWER
        self._reader.end()
        return is_complete and self._reader.reusable and self.stream.is_flushed

    def abort(self, failure: GolbError | None = None) -> None:
        """Close at once; whoever waits on the connection gets `failure`."""
        self._failure = failure
        self.stream.abort()

    async def _receive(self, arriving: Awaitable[T]) -> T:
        """Wait for what the endpoint sends, no longer than it may pause."""
        self._begin_wait()
        try:
            return await arriving
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self._broken(exc) from exc
        finally:
            self._end_wait()

    def _begin_wait(self) -> None:
        self._is_waiting = True
        if self._is_watched:
            self._timeouts.start(self.wait, self)

    def _end_wait(self) -> None:
        self._is_waiting = False
        if self._is_watched:
            self._timeouts.stop(self.wait)

    def _broken(self, exc: Exception | None) -> GolbError:
        if self._failure is not None:
            return self._failure
        if self._was_kept:
            return StaleConnectionError(sent=self.stream.has_sent)
        if self.answer.status:
            return UpstreamError(f"the answer broke off: {exc}")
        return UpstreamError(f"the connection failed: {exc}" if exc else "the endpoint closed without an answer")

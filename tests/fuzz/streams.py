"""Peers without sockets: what they say is a script, and what they are sent is kept."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

_READS_BEHIND_END = 100


class End(Enum):
    """What comes behind a script."""

    EOF = auto()
    RESET = auto()
    SILENCE = auto()


class Misused(BaseException):
    """A stream was used as no stream may be. No handler of exceptions may take it for an error of the peer's."""


class ScriptedStream:
    """The near end of a connection to a peer that follows a script; has the methods of golb's streams.

    Args:
        pieces: what the peer sends; each is read by itself.
        end: what comes behind them.
        room: how many bytes the peer takes; then a write waits for ever, or fails if the end is a reset.
    """

    def __init__(self, pieces: Iterable[bytes], end: End, room: int = 1 << 30) -> None:
        self.sent = bytearray()
        """What the peer was sent."""
        self.ended = False
        """It has seen the end of that."""
        self.was_reset = False
        """It has seen a failure instead."""
        self.closed = False
        self.has_sent = False
        self._pieces = deque(piece for piece in pieces if piece)
        self._end = end
        self._room = room
        self._news = trio.Event()
        self._is_read = self._is_written = False
        self._reads_behind_end = 0

    # What golb does with a connection.

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._is_read:
            raise Misused("two tasks read one stream")
        self._is_read = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if self.closed:
                    raise trio.ClosedResourceError
                if self._pieces:
                    return self._next_piece(max_bytes or 1 << 30)
                if self._end is End.EOF:
                    self._reads_behind_end += 1
                    if self._reads_behind_end > _READS_BEHIND_END:
                        raise Misused("the stream is read on and on behind its end")
                    return b""
                if self._end is End.RESET:
                    raise trio.BrokenResourceError
                await self._wait()
        finally:
            self._is_read = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_written:
            raise Misused("two tasks write one stream")
        self._is_written = True
        try:
            sent = self.send_now(data)
            while sent < len(data):
                await self._wait()
                sent += self.send_now(data[sent:])
        finally:
            self._is_written = False

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        if self.closed:
            raise trio.ClosedResourceError
        if self.ended:
            raise Misused("bytes are written behind the end")
        sent = min(len(data), self._room - len(self.sent))
        if sent < len(data) and self._end is End.RESET:
            raise trio.BrokenResourceError
        self.sent += data[:sent]
        if sent:
            self.has_sent = True
            self.take(bytes(data[:sent]))
        return sent

    def send_later(self, data: bytes) -> bool:
        return self.send_now(data) == len(data) if len(data) <= self._room - len(self.sent) else False

    @property
    def is_flushed(self) -> bool:
        return True

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        self.ended = True
        # A peer that has nothing more to say ends its direction too.
        self.stop_reading()

    def stop_reading(self) -> None:
        if self._end is End.SILENCE:
            self._end = End.EOF
            self._wake()

    def has_input(self) -> bool:
        return bool(self._pieces) or self._end is not End.SILENCE

    def give_way(self, *, gives_way: bool) -> None:
        """Nobody else has turns to take here."""

    def abort(self, *, reset: bool = False) -> None:
        if not self.closed:
            self.closed = True
            self.was_reset = reset
            self._wake()

    @property
    def full(self) -> bool:
        """Whether the peer has stopped reading."""
        return len(self.sent) >= self._room

    # What a peer does.

    def take(self, data: bytes) -> None:
        """Read what has been sent; a peer that has something to say to it overrides this."""

    def say(self, pieces: Iterable[bytes]) -> None:
        """Go on with the script."""
        self._pieces += [piece for piece in pieces if piece]
        self._wake()

    def end_with(self, end: End) -> None:
        """Let this come behind the script."""
        self._end = end
        self._wake()

    def _next_piece(self, max_bytes: int) -> bytes:
        piece = self._pieces.popleft()
        if len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
        return piece[:max_bytes]

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _wait(self) -> None:
        await self._news.wait()

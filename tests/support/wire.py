"""A raw HTTP/1.1 connection, as either side of golb sees it: bytes out, bytes in, and a reader that trusts nobody.

The reader here is deliberately not golb's: it takes each line and each length as it stands on the wire.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import trio
from attrs import field, frozen

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

CRLF = b"\r\n"
_BODILESS = (204, 304)


@frozen
class Head:
    """A request's or a response's head, byte for byte but for the line ends."""

    first_line: bytes
    headers: list[tuple[bytes, bytes]]
    """Names as they were written."""

    @property
    def status(self) -> int:
        return int(self.first_line.split(b" ")[1])

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all lines of that name, which is compared byte for byte."""
        return [value for found, value in self.headers if found == name]

    def names(self) -> list[bytes]:
        return [name for name, _ in self.headers]


@frozen
class Message:
    """A head, its body without framing, and its trailers."""

    head: Head
    body: bytes
    trailers: list[tuple[bytes, bytes]] = field(factory=list)

    @property
    def status(self) -> int:
        return self.head.status


class Wire:
    """One end of a connection."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self._unread = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stream.aclose()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_until_broken(self, data: bytes) -> None:
        """Send again and again, until the peer has closed the connection."""
        with suppress(trio.BrokenResourceError):
            while True:
                await self.send(data)

    async def send_eof(self) -> None:
        """End this direction; the other one goes on."""
        assert isinstance(self.stream, trio.SocketStream)
        await self.stream.send_eof()

    async def close(self) -> None:
        await self.stream.aclose()

    async def reset(self) -> None:
        """Close so that the peer sees a failure."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()

    async def read_some(self) -> bytes:
        """Return what is there; none at the end."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return bytes(await self.stream.receive_some(65536))

    async def read_until(self, mark: bytes) -> bytes:
        """Return everything up to the mark, and the mark."""
        while mark not in self._unread:
            data = bytes(await self.stream.receive_some(65536))
            if not data:
                raise EOFError(f"the end came before {mark!r}, behind {self._unread!r}")
            self._unread += data
        end = self._unread.index(mark) + len(mark)
        found, self._unread = self._unread[:end], self._unread[end:]
        return found

    async def read_exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            data = bytes(await self.stream.receive_some(65536))
            if not data:
                raise EOFError(f"the end came {count - len(self._unread)} bytes too early")
            self._unread += data
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    async def read_to_end(self) -> bytes:
        """Return all that comes until the peer ends its direction; raises trio.BrokenResourceError at a reset."""
        parts = [self._unread]
        self._unread = b""
        while data := await self.stream.receive_some(65536):
            parts.append(bytes(data))
        return b"".join(parts)

    async def read_head(self) -> Head:
        return parse_head(await self.read_until(CRLF + CRLF))

    async def read_chunk(self) -> bytes:
        """Return one chunk's data; none for the last chunk, whose trailers are left to be read."""
        size = int((await self.read_until(CRLF)).removesuffix(CRLF), 16)
        if not size:
            return b""
        data = await self.read_exactly(size)
        assert await self.read_exactly(2) == CRLF
        return data

    async def read_chunked(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return a chunked body and its trailers."""
        parts = []
        while data := await self.read_chunk():
            parts.append(data)
        trailers = []
        while (line := await self.read_until(CRLF)) != CRLF:
            trailers.append(_header(line))
        return b"".join(parts), trailers

    async def read_request(self) -> Message:
        head = await self.read_head()
        return await self._with_body(head)

    async def read_response(self, *, to: bytes = b"GET") -> Message:
        """Read a final response to a method; one without a length ends with the connection."""
        head = await self.read_head()
        if to == b"HEAD" or head.status in _BODILESS:
            return Message(head, b"")
        if not head.values(b"Content-Length") and not head.values(b"Transfer-Encoding"):
            return Message(head, await self.read_to_end())
        return await self._with_body(head)

    async def _with_body(self, head: Head) -> Message:
        if head.values(b"Transfer-Encoding"):
            assert head.values(b"Transfer-Encoding") == [b"chunked"]
            assert not head.values(b"Content-Length")
            body, trailers = await self.read_chunked()
            return Message(head, body, trailers)
        lengths = head.values(b"Content-Length")
        assert len(lengths) <= 1
        return Message(head, await self.read_exactly(int(lengths[0])) if lengths else b"")


def parse_head(data: bytes) -> Head:
    first_line, *lines = data.removesuffix(CRLF + CRLF).split(CRLF)
    return Head(first_line, [_header(line) for line in lines])


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.removesuffix(CRLF).partition(b": ")
    assert colon, line
    return name, value


async def connect(port: int, ssl_context: ssl.SSLContext | None = None) -> Wire:
    """Connect to a port of loopback."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    if ssl_context is None:
        return Wire(stream)
    tls = trio.SSLStream(stream, ssl_context, server_hostname="localhost", https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return Wire(tls)

"""A client for tests that keeps its connection and sees the bytes."""

from __future__ import annotations

from typing import Self

import trio
from attrs import frozen


@frozen
class Response:
    status: int
    head: str
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of the lines of exactly that name, in order."""
        lines = (line.partition(": ") for line in self.head.split("\r\n")[1:])
        return [value for found, _, value in lines if found == name]


class Client:
    """One connection to golb."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def call(self, target: str, *lines: str, method: str = "GET", body: bytes = b"") -> Response:
        """Send a request with Content-Length, and read the response to it."""
        head = [f"{method} {target} HTTP/1.1", "Host: golb", *lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        await self._stream.send_all("\r\n".join([*head, "", ""]).encode() + body)
        while b"\r\n\r\n" not in self._received:
            await self._receive()
        text, _, rest = self._received.partition(b"\r\n\r\n")
        response = Response(int(text.split()[1]), text.decode(), b"")
        length = 0 if method == "HEAD" else int(response.values("Content-Length")[0])
        self._received = rest
        while len(self._received) < length:
            await self._receive()
        content, self._received = self._received[:length], self._received[length:]
        return Response(response.status, response.head, content)

    async def _receive(self) -> None:
        data = await self._stream.receive_some(65536)
        assert data, f"golb closed the connection after {self._received!r}"
        self._received += data

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


async def call(port: int, target: str, *lines: str, method: str = "GET", body: bytes = b"") -> Response:
    """Make one call on a connection of its own."""
    async with await Client.connect(port) as client:
        return await client.call(target, *lines, method=method, body=body)

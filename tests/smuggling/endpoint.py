"""An endpoint that records every byte and answers as a case says."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from smuggling.arrived import Arrived, read_arrivals
from smuggling.case import answer, fill_in, token_of

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from smuggling.case import AnswerCase


FIRST = b"GET /first HTTP/1.1"
"""A request whose answer closes the connection."""


def plain_answer(arrived: Arrived) -> bytes:
    """Write the answer that tells what the request was."""
    body = plain_body(arrived.line)
    lines = [b"Content-Length: %d" % len(body), *[b"Connection: close"] * (arrived.line == FIRST)]
    return answer(*lines, body=b"" if arrived.line.startswith(b"HEAD ") else body)


def plain_body(line: bytes) -> bytes:
    return b"the endpoint got " + line


@define(eq=False)
class EndpointConnection:
    """One connection that golb has opened."""

    stream: trio.SocketStream
    received: bytearray = field(factory=bytearray)
    """All that came on it."""
    answered: int = 0
    """How many of its requests."""
    told_to_continue: bool = False


class RecordingEndpoint:
    """Answers each request by what it was; the one of an answer case, known by its token, by the case's bytes."""

    def __init__(self, listener: socket.socket, case: AnswerCase | None) -> None:
        self.connections: list[EndpointConnection] = []
        self.head_arrived = trio.Event()
        """Of any request."""
        self._has_answered = trio.Event()
        self._listener = listener
        self._case = case

    async def run(self) -> None:
        listener = trio.socket.from_stdlib_socket(self._listener)
        async with trio.open_nursery() as nursery:
            while True:
                sock, _ = await listener.accept()
                nursery.start_soon(self._serve, self._record(sock))

    def _record(self, sock: trio.socket.SocketType) -> EndpointConnection:
        connection = EndpointConnection(trio.SocketStream(sock))
        self.connections.append(connection)
        return connection

    async def _serve(self, connection: EndpointConnection) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await connection.stream.receive_some():
                connection.received += data
                try:
                    arrivals = read_arrivals(bytes(connection.received))
                except AssertionError:  # whoever looks at the record finds it again
                    break
                for arrived in arrivals[connection.answered :]:
                    await self._answer(connection, arrived)
        await connection.stream.aclose()

    async def _answer(self, connection: EndpointConnection, arrived: Arrived) -> None:
        if not arrived.headers:
            return
        self.head_arrived.set()
        case = self._case
        if case is not None and token_of(case.name) in arrived.line:
            if arrived.whole or case.at_head:
                connection.answered += 1
                await connection.stream.send_all(fill_in(case.data, case.name))
                self._has_answered.set()
                if case.ends and not case.rest:
                    await connection.stream.aclose()
        elif arrived.whole:
            connection.answered += 1
            connection.told_to_continue = False
            await connection.stream.send_all(plain_answer(arrived))
        elif arrived.values(b"Expect") == [b"100-continue"] and not connection.told_to_continue:
            connection.told_to_continue = True
            await connection.stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")

    def forget(self) -> None:
        """Begin the record anew; no connection may be open."""
        self.connections.clear()
        self.head_arrived = trio.Event()

    async def send(self, data: bytes, *, ends: bool) -> None:
        """Send more on the connection of the case, behind its answer; returns when it has reached golb's socket."""
        await self._has_answered.wait()
        stream = self.connections[0].stream
        await stream.send_all(data)
        while _on_its_way(stream.socket.fileno()):  # noqa: ASYNC110 - nothing tells when the kernel has delivered it
            await trio.sleep(0.001)
        if ends:
            await stream.aclose()

    def take_the_rest(self) -> None:
        """Record what has come but was not read, once `run` has ended."""
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                self._record(trio.socket.from_stdlib_socket(sock))
        for connection in self.connections:
            with suppress(OSError):  # nothing is there, or it has been closed
                while data := os.read(connection.stream.socket.fileno(), 65536):
                    connection.received += data

    def arrivals(self) -> list[Arrived]:
        """Return all that came, in order: golb asks on the connection that it has used last, or on a new one."""
        return [arrived for connection in self.connections for arrived in read_arrivals(bytes(connection.received))]


def _on_its_way(descriptor: int) -> int:
    """Return how many bytes the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)); none once the socket is closed."""
    if descriptor < 0:
        return 0
    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


@asynccontextmanager
async def recording_endpoint(
    listener: socket.socket, case: AnswerCase | None = None
) -> AsyncIterator[RecordingEndpoint]:
    """Run an endpoint; on leaving, the record is complete and all connections are closed."""
    endpoint = RecordingEndpoint(listener, case)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.run)
            try:
                yield endpoint
            except Exception as exc:  # noqa: BLE001 - raised below, as itself and not in a group
                failure = exc
            nursery.cancel_scope.cancel()
        endpoint.take_the_rest()
    finally:
        for connection in endpoint.connections:
            connection.stream.socket.close()
    if failure is not None:
        raise failure

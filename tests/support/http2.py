"""An HTTP/2 client that does what the test says, good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

if TYPE_CHECKING:
    import ssl

    from h2.events import Event

Headers = list[tuple[bytes, bytes]]


@define
class Answer:
    """An answer, as far as it has come."""

    headers: Headers = field(factory=list)
    body: bytes = b""
    trailers: Headers = field(factory=list)
    ended: bool = False
    reset: int | None = None
    """The error code, if the server has reset the stream."""

    @property
    def status(self) -> int:
        return int(dict(self.headers)[b":status"])

    @property
    def names(self) -> list[bytes]:
        return [name for name, _ in self.headers]


class Http2Client:
    """One connection. It acknowledges what it reads, and reads only when it is told to."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], *, strict: bool) -> None:
        self.stream = stream
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=strict,
                normalize_outbound_headers=strict,
            )
        )
        self.answers: dict[int, Answer] = {}
        self.terminated = False
        """The server has said that it serves no further request."""

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def request(
        self,
        path: bytes = b"/",
        *extra: tuple[bytes, bytes],
        method: bytes = b"GET",
        body: bytes | None = None,
        end: bool = True,
    ) -> int:
        """Send a request, and return its stream; `body` must fit into the window. It ends unless told otherwise."""
        stream_id = self.h2.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        headers = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path),
            *extra,
        ]
        self.h2.send_headers(stream_id, headers, end_stream=end and body is None)
        if body is not None:
            self.send_data(stream_id, body, end=end)
        await self.flush()
        return stream_id

    def send_data(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Queue data as frames; `flush` sends them."""
        size = self.h2.max_outbound_frame_size
        pieces = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
        for piece in pieces[:-1]:
            self.h2.send_data(stream_id, piece)
        self.h2.send_data(stream_id, pieces[-1], end_stream=end)

    async def upload(self, stream_id: int, data: bytes) -> None:
        """Send a body and its end, reading as flow control demands."""
        while data:
            window = self.h2.local_flow_control_window(stream_id)
            if not window:
                await self.read_once()
                continue
            piece, data = data[:window], data[window:]
            self.send_data(stream_id, piece, end=not data)
            await self.flush()

    async def read_once(self, *, acknowledge: bool = True) -> bool:
        """Take in what has come; false at the end of the connection."""
        data = bytes(await self.stream.receive_some(65536))
        if not data:
            return False
        for event in self.h2.receive_data(data):
            self._take(event, acknowledge=acknowledge)
        await self.flush()
        return True

    async def answer(self, stream_id: int) -> Answer:
        """Read until a stream's answer has come to its end, good or bad."""
        answer = self.answers[stream_id]
        while not answer.ended and answer.reset is None:
            if not await self.read_once():
                raise EOFError("the connection ended in an answer")
        return answer

    async def read_to_end(self) -> None:
        """Read until the server closes the connection; in whatever way."""
        try:
            while await self.read_once(acknowledge=False):
                pass
        except trio.BrokenResourceError:
            pass

    def _take(self, event: Event, *, acknowledge: bool) -> None:
        answer = self.answers.get(getattr(event, "stream_id", None) or 0, Answer())
        if isinstance(event, ResponseReceived):
            answer.headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if acknowledge:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            answer.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = int(event.error_code)
        elif isinstance(event, ConnectionTerminated):
            self.terminated = True


async def connect_http2(port: int, context: ssl.SSLContext, *, strict: bool = True) -> Http2Client:
    """Connect to a port of loopback; a client that is not `strict` sends whatever it is told to."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    tls = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
    await tls.do_handshake()
    assert tls.selected_alpn_protocol() == "h2"
    client = Http2Client(tls, strict=strict)
    client.h2.initiate_connection()
    await client.flush()
    return client

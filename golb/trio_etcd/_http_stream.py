"""A streamed answer, over a connection of its own that carries nothing else.

A watch brings a thousand lines a second. httpx hands each of them on through five layers, which takes longer than all
that becomes of it afterwards; here a read is a read, and a parser in C takes the chunks off.

Rule: as in `_transport`, every error becomes an `EtcdError`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httptools
import trio

from ._errors import TlsFailed, Unavailable
from ._httpx import httpx
from ._reasons import is_tls_refusal, reason

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

_READ_BYTES = 65536
_MAX_HEAD_BYTES = 65536
_FIRST_FINAL_STATUS = 200
_HTTPS_PORT, _HTTP_PORT = 443, 80
_FRAMING = (b"content-length", b"transfer-encoding")

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class StreamedAnswer:
    """An answer whose body is still to be read; whoever opened it closes it.

    Args:
        stream: owned by the answer.
        url: of the member that answers.
        read_timeout_s: the longest silence (> 0) before an end is assumed; None allows any.
    """

    def __init__(self, stream: Stream, url: str, read_timeout_s: float | None) -> None:
        self.url = url
        self.status = 0
        """HTTP's, once the head is there."""
        self._stream = stream
        self._read_timeout_s = read_timeout_s
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._head_bytes = 0
        self._is_framed = False
        """The head says where the body ends; otherwise the connection's end does."""
        self._is_complete = False

    async def read_head(self) -> None:
        """Read until `status` is known.

        Raises:
            Unavailable: the connection ended before, what came is no HTTP, or nothing came within the read timeout.
        """
        while not self.status:
            await self._read()

    async def receive_some(self) -> bytes | None:
        """Return all of the body that has come, at least a byte, or None at its end. Cancelled, it loses nothing.

        Raises:
            Unavailable: the answer broke off, or the read timeout passed.
        """
        while not self._parts:
            if self._is_complete:
                return None
            await self._read()
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def aclose(self) -> None:
        """Close the connection, at once and also if cancelled."""
        self._is_complete = True
        self._parts.clear()
        await _close(self._stream)

    async def _read(self) -> None:
        timeout_s = self._read_timeout_s
        with _translate(self.url, f"nothing came within {timeout_s} s"):
            if timeout_s is None:
                data = await _receive(self._stream)
            else:
                with trio.fail_after(timeout_s):
                    data = await _receive(self._stream)
        if not data:
            if not self.status or self._is_framed:
                raise Unavailable(f"{self.url}: the connection was closed before the answer's end")
            self._is_complete = True
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            raise Unavailable(f"{self.url}: the answer is no HTTP/1.1: {exc}") from exc
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                raise Unavailable(f"{self.url}: the answer's head is longer than {_MAX_HEAD_BYTES} bytes")

    # What httptools calls.

    def on_header(self, name: bytes, _value: bytes) -> None:
        self._is_framed = self._is_framed or name.lower() in _FRAMING

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FIRST_FINAL_STATUS:
            self.status = status

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        self._is_complete = bool(self.status)


async def _receive(stream: Stream) -> bytes:
    """Return what has come, or nothing at the end."""
    if not isinstance(stream, trio.SocketStream):
        return bytes(await stream.receive_some(_READ_BYTES))
    # A SocketStream reads before it waits, but of a watch all has been read.
    while True:
        await trio.lowlevel.wait_readable(stream.socket)
        with suppress(BlockingIOError):
            return os.read(stream.socket.fileno(), _READ_BYTES)


async def open_streamed(
    url: str,
    request: bytes,
    *,
    tls: ssl.SSLContext,
    socket_options: Sequence[tuple[int, int, int]],
    dial_timeout_s: float,
    request_timeout_s: float,
    read_timeout_s: float | None,
) -> StreamedAnswer:
    """Send a request to a member over a new connection, and return the answer, whose head has come.

    Args:
        url: the member's, as `_endpoints` has it.
        request: head and body, as they are sent.
        tls: for https.
        socket_options: set on the connection.
        dial_timeout_s: for TCP's and TLS's handshakes together (> 0).
        request_timeout_s: for the member to take the request (> 0).
        read_timeout_s: as `StreamedAnswer` has it.

    Raises:
        Unavailable, TlsFailed: there is no answer; `sent` tells whether the member may have the request.
    """
    with _translate(url, f"no connection within {dial_timeout_s:g} s", sent=False), trio.fail_after(dial_timeout_s):
        stream = await _connect(httpx.URL(url), tls, socket_options)
    try:
        with (
            _translate(url, f"the request was not taken within {request_timeout_s:g} s"),
            trio.fail_after(request_timeout_s),
        ):
            await stream.send_all(request)
        answer = StreamedAnswer(stream, url, read_timeout_s)
        await answer.read_head()
    except BaseException:
        await _close(stream)
        raise
    return answer


async def _connect(url: httpx.URL, tls: ssl.SSLContext, options: Sequence[tuple[int, int, int]]) -> Stream:
    is_tls = url.scheme == "https"
    host = url.raw_host.decode("ascii")
    tcp = await trio.open_tcp_stream(host, url.port or (_HTTPS_PORT if is_tls else _HTTP_PORT))
    try:
        for option in options:
            tcp.setsockopt(*option)
        if not is_tls:
            return tcp
        stream = trio.SSLStream(tcp, tls, server_hostname=host, https_compatible=True)
        await stream.do_handshake()
    except BaseException:
        await _close(tcp)
        raise
    return stream


async def _close(stream: Stream) -> None:
    with trio.CancelScope(shield=True):  # whoever is cancelled has other things to close behind this one
        await trio.aclose_forcefully(stream)


@contextmanager
def _translate(url: str, when_late: str, *, sent: bool = True) -> Iterator[None]:
    try:
        yield
    except trio.TooSlowError as exc:
        raise Unavailable(f"{url}: {when_late}", sent=sent) from exc
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        error = TlsFailed if is_tls_refusal(exc) else Unavailable
        raise error(f"{url}: {reason(exc)}", sent=sent) from exc

"""Response heads into bytes, and how the body behind them is framed. No I/O."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING

from golb.headers import LINE_STARTS, join_lines

if TYPE_CHECKING:
    from golb.headers import Headers


class Framing(Enum):
    """How a client learns where a body ends."""

    NONE = auto()
    """There is no body: HEAD, 1xx, 204, 304."""
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()
    """The end of the connection: HTTP/1.0 and a length that is not known."""


class _StatusLines(dict[int, bytes]):
    def __missing__(self, status: int) -> bytes:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no status; a status has three digits")
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = ""
        self[status] = line = b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())
        return line


_STATUS_LINES = _StatusLines()
_BODILESS = frozenset({204, 304})


def response_head(
    status: int, headers: Headers, *, head_request: bool, http_1_0: bool, keep_alive: bool
) -> tuple[bytes, Framing, int]:
    """Write a head.

    Hop-by-hop headers are left out: they are the server's to decide.

    Args:
        status: 200 to 999.
        headers: names in any case; they leave in canonical MIME case.
        head_request: the method is HEAD, so the length is that of a body that does not follow.
        http_1_0: the client speaks HTTP/1.0.
        keep_alive: the connection is to go on after this response.

    Returns:
        The bytes, how the body is framed, and its length in bytes if that is how.

    Raises:
        ValueError: a name, value or status could not stand in a head, or two lengths differ.
    """
    parts = [_STATUS_LINES[status]]
    length = -1
    for name, value in headers:
        start = LINE_STARTS[name]
        if start is None:
            continue
        if start == b"Content-Length: ":
            if length >= 0 and length != int(value):
                raise ValueError("the response has two lengths")
            length = int(value)
            if status == 204:  # RFC 9110, 8.6: it has no length
                continue
        parts += (start, value, b"\r\n")
    head = join_lines(parts)
    if head_request or status in _BODILESS:
        framing = Framing.NONE
    elif length >= 0:
        framing = Framing.LENGTH
    elif http_1_0:
        framing = Framing.CLOSE
        keep_alive = False
    else:
        framing = Framing.CHUNKED
        head += b"Transfer-Encoding: chunked\r\n"
    if not keep_alive:
        return head + b"Connection: close\r\n\r\n", framing, length
    if http_1_0:
        return head + b"Connection: keep-alive\r\n\r\n", framing, length
    return head + b"\r\n", framing, length


def interim_head(status: int, headers: Headers) -> bytes:
    """Write the head of a 1xx response; 101 keeps its Connection and Upgrade."""
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        start = LINE_STARTS[name]
        if start is None and status == HTTPStatus.SWITCHING_PROTOCOLS and name.lower() == b"upgrade":
            parts += (b"Connection: ", b"Upgrade", b"\r\n", b"Upgrade: ", value, b"\r\n")
        elif start is not None and name.lower() != b"content-length":
            parts += (start, value, b"\r\n")
    return join_lines(parts) + b"\r\n"

"""Response heads into bytes, and how the body behind them is framed. No I/O."""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from golb.header_lines import written_line, written_lines
from golb.headers import LINE_STARTS, MARK_PREFIX, by_name, join_lines
from golb.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Iterable


class Framing(Enum):
    """How a client learns where a body ends."""

    NONE = auto()
    """There is no body: HEAD, 1xx, 204, 304."""
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()
    """The end of the connection: HTTP/1.0 and a length that is not known."""


# A member is looked up slowly: these are for what runs with each request.
NONE: Final = Framing.NONE
LENGTH: Final = Framing.LENGTH
CHUNKED: Final = Framing.CHUNKED
CLOSE: Final = Framing.CLOSE


class _StatusLines(dict[int, bytes]):
    def __missing__(self, status: int) -> bytes:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no status; a status has three digits")
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = ""
        self[status] = line = b"HTTP/1.1 %d %b" % (status, phrase.encode())
        return line


_STATUS_LINES: Final = _StatusLines()
_BODILESS: Final = frozenset({204, 304})
_LENGTH_DIGITS: Final = 20  # of 64 bits


def _read_length(value: bytes) -> tuple[int, bytes]:
    length = int(value)
    if length < 0:
        raise ValueError(f"{length} is no length of a body")
    return length, b"\r\nContent-Length: %d" % length


_LENGTHS: Final = Memo(_read_length, lambda value: len(value) <= _LENGTH_DIGITS)
# A length is looked at more closely.
_LINES: Final = written_lines(
    by_name(lambda name: None if name.lower() == b"content-length" else LINE_STARTS[name]).__getitem__
)


def response_head(
    status: int, headers: Iterable[Any], *, head_request: bool, http_1_0: bool, keep_alive: bool
) -> tuple[bytes, Framing, int]:
    """Write a head.

    Hop-by-hop headers are left out: they are the server's to decide. 426 keeps its Upgrade.

    Args:
        status: 200 to 999.
        headers: pairs, names in any case; they leave in canonical MIME case, and a length as a number, once.
        head_request: the method is HEAD, so the length is that of a body that does not follow.
        http_1_0: the client speaks HTTP/1.0.
        keep_alive: the connection is to go on after this response.

    Returns:
        The bytes, how the body is framed, and its length in bytes if that is how.

    Raises:
        ValueError: a name, value or status could not stand in a head, a length is below 0, or two differ.
        TypeError: a name is no `bytes`, or a value holds none.
    """
    parts = [_STATUS_LINES[status]]
    length = -1
    for header in headers:
        try:
            line = _LINES.get(header)
        except (TypeError, ValueError):  # a list, or a value that may change
            line = None
        if line is not None:
            parts.append(line)
            continue
        pair: Any = header if isinstance(header, tuple) else tuple(header)
        if len(pair) != 2:
            raise ValueError(f"{pair!r} is no header, a name and a value")
        name: bytes = pair[0]
        if type(pair[1]) is not bytes:  # but holds some: what is remembered must not change
            pair = (name, bytes(memoryview(pair[1])))
        if name.startswith(MARK_PREFIX):  # it tells the time, so there is nothing to remember
            start = LINE_STARTS[name]
            assert start is not None  # noqa: S101 - no mark stays on its hop
            parts.append(written_line(start, pair[1]))
            continue
        # There are so many lengths that they would leave no room for the rest.
        line = None if name == b"content-length" else _LINES[pair]
        if line is not None:
            parts.append(line)
            continue
        value: bytes = pair[1]
        lowered = name.lower()
        if lowered == b"content-length":
            before = length
            length, line = _LENGTHS[value]
            if before < 0 and status != 204:  # RFC 9110, 8.6: that has no length
                parts.append(line)
            elif before not in (-1, length):
                raise ValueError("the response has two lengths")
        elif lowered == b"upgrade" and status == 426:  # RFC 9110, 15.5.22: it says what to upgrade to
            parts.append(written_line(b"\r\nConnection: Upgrade\r\nUpgrade: ", value))
    if head_request or status in _BODILESS:
        framing = NONE
    elif length >= 0:
        framing = LENGTH
    elif http_1_0:
        framing = CLOSE
        keep_alive = False
    else:
        framing = CHUNKED
        parts.append(b"\r\nTransfer-Encoding: chunked")
    parts.append(_end(http_1_0=http_1_0, keep_alive=keep_alive))
    return b"".join(parts), framing, length


def written_head(
    status: int, lines: list[bytes], length: int, *, head_request: bool, http_1_0: bool, keep_alive: bool
) -> tuple[bytes, Framing, int]:
    """Write a head whose lines have been written already, each with the end of the line before; otherwise as `response_head`.

    Args:
        status: as there.
        lines: whole ones or pieces of them, none of a hop-by-hop header, and one of the length.
        length: of the body, in bytes.
        head_request: as there.
        http_1_0: as there.
        keep_alive: as there.
    """
    framing = NONE if head_request or status in _BODILESS else LENGTH
    parts = [_STATUS_LINES[status], *lines, _end(http_1_0=http_1_0, keep_alive=keep_alive)]
    return b"".join(parts), framing, length


def _end(*, http_1_0: bool, keep_alive: bool) -> bytes:
    """Return what ends a head: whether the connection goes on, where the version alone does not say that."""
    if not keep_alive:
        return b"\r\nConnection: close\r\n\r\n"
    return b"\r\nConnection: keep-alive\r\n\r\n" if http_1_0 else b"\r\n\r\n"


def interim_head(status: int, headers: Iterable[Any]) -> bytes:
    """Write the head of a 1xx response; 101 keeps its Connection and Upgrade."""
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        start = LINE_STARTS[name]
        if start is None and status == HTTPStatus.SWITCHING_PROTOCOLS and name.lower() == b"upgrade":
            parts += (b"\r\nConnection: ", b"Upgrade", b"\r\nUpgrade: ", value)
        elif start is not None and name.lower() != b"content-length":
            parts += (start, value)
    return join_lines(parts, 1 + len(parts) // 2) + b"\r\n\r\n"

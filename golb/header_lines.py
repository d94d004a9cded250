"""Header lines out of bytes and into bytes. Nearly all of a message's come again with the next one, so they are remembered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from golb.headers import MARK_PREFIX, TOKEN, by_name
from golb.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Header = tuple[bytes, bytes]

_REMEMBERED_BYTES: Final = 256
# In the names of headers with secrets: nearly each service has one of its own.
_SECRET: Final = re.compile(rb"auth|cookie|credential|key|passw|secret|session|signature|token")
_HARDLY_EVER_TWICE: Final = frozenset({b"traceparent", b"x-request-id"})
# What has been read is not read again in another way: a value that ends in white space would take each way.
_LINE: Final = re.compile(rb"(%b): ?([!-~\x80-\xff][\t -~\x80-\xff]*+)(?<![\t ])\r" % TOKEN.pattern)
_USUAL_CONNECTIONS: Final = frozenset({b"close", b"keep-alive"})
_USUAL_LENGTH_DIGITS: Final = 18  # far below 64 bits
# As numbers they are found far faster.
_LF: Final = ord("\n")
_CR: Final = ord("\r")


class UnusualError(LookupError):
    """A line is malformed, or decides more than one that is just passed on: a parser has to read the message."""


class Line:
    """A header line that has been read."""

    __slots__ = ("header", "length", "name", "value", "written")

    def __init__(self, name: bytes, value: bytes, *, is_looked_at: bool, start: bytes | None) -> None:
        # Compiled, a tuple of known types would be made anew each time it is taken.
        self.header: Any = (name, value)
        """Its name in lower case, and its value."""
        self.name = name if is_looked_at else b""
        """Empty: whoever reads lines has asked for no such ones."""
        self.value = value.lower() if name == b"connection" else value
        """Of `Connection`, in lower case."""
        self.length = int(value) if name == b"content-length" else 0
        """What `Content-Length` says."""
        self.written = b""
        """As it goes on, with the end of the line before; a length as a number. Empty: it does not, or nobody has asked for that."""
        if start:
            self.written = start + (b"%d" % self.length if name == b"content-length" else value)


def read_lines(
    looked_at: Collection[bytes],
    unusual: Collection[bytes],
    start_of: Callable[[bytes], bytes | None] | None = None,
) -> Memo[bytes, Line]:
    r"""Return what reads a line with its `\r`, and no `\n`: one byte, by which lines are told apart fastest.

    It raises `UnusualError` for all but a part of what RFC 9112, 5, allows, in which a strict parser would find the same:
    the value is not empty and has no white space around it but one space, `Connection` is one of its two usual options, and
    `Content-Length` has at most 18 digits.

    Args:
        looked_at: names, in lower case, of lines that shall tell them.
        unusual: names, in lower case, of which every line is unusual.
        start_of: how the line begins when it goes on, by the header's name, as `written_lines` has it; None: it does not.
    """

    def read(line: bytes) -> Line:
        match = _LINE.fullmatch(line)
        if match is None:
            raise UnusualError
        name, value = match[1].lower(), match[2]
        if (
            name in unusual
            or (name == b"connection" and value.lower() not in _USUAL_CONNECTIONS)
            or (name == b"content-length" and not (value.isdigit() and len(value) <= _USUAL_LENGTH_DIGITS))
        ):
            raise UnusualError
        start = None if start_of is None else start_of(name)
        return Line(name, value, is_looked_at=name in looked_at, start=start)

    def is_worth_it(line: bytes) -> bool:
        return _is_worth_it(line.partition(b":")[0], len(line))

    return Memo(read, is_worth_it)


def written_lines(start_of: Callable[[bytes], bytes | None]) -> Memo[Header, bytes | None]:
    r"""Return what writes the line of a header, with the end of the line before: `\r\nName: value`.

    It raises ValueError where the value would add a line of its own.

    Args:
        start_of: how the line begins, by the header's name; what is empty or None comes back as it is.
    """

    def write(header: Header) -> bytes | None:
        name, value = header
        start = start_of(name)
        if not start:
            return start
        return written_line(start, value)

    def is_worth_it(header: Header) -> bool:
        name, value = header
        return _is_worth_it(name, len(name) + len(value))

    return Memo(write, is_worth_it)


def written_line(start: bytes, value: bytes) -> bytes:
    """Write a line, and remember nothing; otherwise as `written_lines` has it."""
    if _LF in value or _CR in value:
        raise ValueError("a header value holds a line break")
    return start + value


def _comes_again(name: bytes) -> bool:
    """Tell whether headers of this name, in any case, are likely to come with the same value, and that is no secret."""
    lowered = name.lower()
    return lowered not in _HARDLY_EVER_TWICE and not lowered.startswith(MARK_PREFIX) and _SECRET.search(lowered) is None


_COMES_AGAIN: Final = by_name(_comes_again)


def _is_worth_it(name: bytes, length: int) -> bool:
    return length <= _REMEMBERED_BYTES and _COMES_AGAIN[name]

"""Requests out of the bytes that reached the endpoint, by a reader that is not golb's and forgives nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from smuggling.case import CRLF, fill_in

if TYPE_CHECKING:
    from smuggling.case import Arrival

NODE = b"eb-a-controller"
MARK = b"X-Forwarded-Host-Eb-A-Controller"
OWN_NAMES = [b"Host", b"X-Final-Host", b"X-Forwarded-For", MARK]
"""The headers of a request that had nothing but its Host."""

_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ((?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\t\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_REQUEST_LINE = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.1")
_HOP_BY_HOP = {b"keep-alive", b"proxy-connection", b"http2-settings"}


@frozen
class Arrived:
    """One request, as far as it came."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: tuple[bytes, ...] = ()
    whole: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all lines of that name, in any case of letters."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def names(self) -> list[bytes]:
        return [name for name, _ in self.headers]


def read_arrivals(data: bytes) -> list[Arrived]:
    """Read all requests of one connection; the last one may not be whole.

    Raises:
        AssertionError: these are no requests in the one strict form that every endpoint understands alike.
    """
    arrivals = []
    while data:
        arrived, data = _read_one(data)
        arrivals.append(arrived)
    return arrivals


def _read_one(data: bytes) -> tuple[Arrived, bytes]:
    head, end, rest = data.partition(CRLF + CRLF)
    line, *lines = head.split(CRLF)
    if not end:
        return Arrived(line, []), b""
    assert _REQUEST_LINE.fullmatch(line), line
    headers = [_read_line(found) for found in lines]
    arrived = Arrived(line, headers)
    lengths, codings = arrived.values(b"Content-Length"), arrived.values(b"Transfer-Encoding")
    assert len(lengths) + len(codings) <= 1, headers
    if codings:
        assert codings == [b"chunked"]
        return _read_chunks(line, headers, rest)
    assert all(re.fullmatch(rb"0|[1-9][0-9]*", length) for length in lengths)
    length = int(lengths[0]) if lengths else 0
    return Arrived(line, headers, rest[:length], whole=len(rest) >= length), rest[length:]


def _read_chunks(line: bytes, headers: list[tuple[bytes, bytes]], data: bytes) -> tuple[Arrived, bytes]:
    body = b""
    while True:
        digits, end, rest = data.partition(CRLF)
        if not end:
            return Arrived(line, headers, body), b""
        assert re.fullmatch(rb"0|[1-9a-f][0-9a-f]*", digits), digits
        size = int(digits, 16)
        if not size:
            break
        body += rest[:size]
        if len(rest) < size + 2:
            return Arrived(line, headers, body), b""
        assert rest[size : size + 2] == CRLF
        data = rest[size + 2 :]
    section, end, data = (CRLF + rest).partition(CRLF + CRLF)
    trailers = tuple(section.split(CRLF)[1:])
    for trailer in trailers:
        _read_line(trailer)
    return Arrived(line, headers, body, trailers, whole=bool(end)), data


def _read_line(line: bytes) -> tuple[bytes, bytes]:
    match = _LINE.fullmatch(line)
    assert match, line
    return match[1], match[2]


def check_arrival(arrived: Arrived, expected: Arrival, name: str, authority: bytes) -> None:
    """Compare a request with what its case says, and with what holds for all that golb forwards."""
    assert arrived.line == fill_in(expected.line, name)
    assert arrived.whole is not expected.cut
    body = expected.body if expected.chunked is None else expected.chunked
    assert arrived.body == fill_in(body or b"", name)
    assert bool(arrived.values(b"Transfer-Encoding")) is (expected.chunked is not None)
    lengths = arrived.values(b"Content-Length")
    if expected.cut and expected.body is not None:
        assert int(lengths[0]) > len(arrived.body)
    else:
        assert lengths == ([] if expected.body is None else [b"%d" % len(expected.body)])
    assert list(arrived.trailers) == [fill_in(line, name) for line in expected.trailers]
    lines = [b": ".join(header) for header in arrived.headers]
    assert {fill_in(line, name) for line in expected.has} <= set(lines)
    lowered = {found.lower() for found in arrived.names()}
    assert not {found.lower() for found in expected.lacks} & lowered
    assert not _HOP_BY_HOP & lowered
    assert arrived.values(b"Host") == arrived.values(b"X-Final-Host") == [authority]
    (chain,) = arrived.values(b"X-Forwarded-For")
    assert chain.endswith(NODE + b", 127.0.0.1")
    (mark,) = arrived.values(MARK)
    assert re.fullmatch(rb"[0-9]{10}\.[0-9]{7}", mark)

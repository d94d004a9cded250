"""What a case is, and the short words by which the corpus is written."""

from __future__ import annotations

from zlib import crc32

from attrs import frozen

CRLF = b"\r\n"
TOKEN = b"c0ffee00"
"""Stands in the bytes of a case for eight hex digits of its own, by which its bytes are known wherever they turn up."""
TARGET = b"/function/f/" + TOKEN
SEEN = b"/" + TOKEN
"""The same target as the endpoint sees it."""
SMUGGLED = b"GET /function/f/smuggled-" + TOKEN + b" HTTP/1.1\r\nHost: golb\r\n\r\n"
"""A request that must not come out of another one's body or head."""


@frozen(kw_only=True)
class Arrival:
    """One request as the endpoint has to get it: this, and not a byte more."""

    line: bytes
    body: bytes | None = None
    """With a Content-Length of its length; None: there is none."""
    chunked: bytes | None = None
    """The body without its chunks, with Transfer-Encoding: chunked; None: there is none."""
    trailers: tuple[bytes, ...] = ()
    """Lines, all of them."""
    has: tuple[bytes, ...] = ()
    """Header lines that are there."""
    lacks: tuple[bytes, ...] = ()
    """Header names that are not there, in any case of letters."""
    cut: bool = False
    """It breaks off, as the client's own did, so that nobody takes it for whole; `body` is what came of it."""


def arrives(method: bytes = b"GET", target: bytes = SEEN, **rest: object) -> Arrival:
    return Arrival(line=method + b" " + target + b" HTTP/1.1", **rest)  # type: ignore[arg-type] # Arrival names them


def hello(*, has: tuple[bytes, ...] = (), lacks: tuple[bytes, ...] = ()) -> Arrival:
    """Return how a POST of five bytes arrives."""
    return arrives(b"POST", body=b"hello", has=has, lacks=lacks)


@frozen(kw_only=True)
class RequestCase:
    """What a client sends on one connection, and what golb does."""

    name: str
    why: str
    """The rule that decides, with its source."""
    data: bytes
    then: bytes = b""
    """Sent once the first request's head has reached the endpoint."""
    ends: bool = False
    """The client ends its direction behind all that."""
    statuses: tuple[int, ...]
    """Of the answers, in order."""
    is_told_to_continue: bool = False
    """All that the client gets is a 100, for a body that it does not send."""
    arrivals: tuple[Arrival, ...] = ()
    closes: bool
    """golb closes the connection; otherwise it serves another request on it."""
    defect: str | None = None
    """Why golb does not do this yet."""


def refused(name: str, why: str, data: bytes, *, status: int = 400, defect: str | None = None) -> RequestCase:
    """Make a case whose only request is answered by golb with an error, and ends the connection unseen by the endpoint."""
    return RequestCase(name=name, why=why, data=data, statuses=(status,), closes=True, defect=defect)


def forwarded(
    name: str, why: str, data: bytes, *arrivals: Arrival, closes: bool = False, defect: str | None = None
) -> RequestCase:
    """Make a case whose requests all arrive and are answered by the endpoint."""
    arrived = arrivals or (arrives(),)
    return RequestCase(
        name=name, why=why, data=data, statuses=(200,) * len(arrived), arrivals=arrived, closes=closes, defect=defect
    )


def cut_off(name: str, why: str, data: bytes, *arrivals: Arrival) -> RequestCase:
    """Make a case of a request that the client does not send whole before it ends: it gets no answer."""
    return RequestCase(name=name, why=why, data=data, ends=True, statuses=(), arrivals=arrivals, closes=True)


def request(
    method: bytes,
    *lines: bytes,
    target: bytes = TARGET,
    version: bytes = b"HTTP/1.1",
    host: bytes | None = b"golb",
    body: bytes = b"",
) -> bytes:
    """Write a request; `host` None leaves its line out."""
    host_lines = [] if host is None else [b"Host: " + host]
    return CRLF.join([b" ".join([method, target, version]), *host_lines, *lines]) + CRLF + CRLF + body


def get(*lines: bytes, target: bytes = TARGET, version: bytes = b"HTTP/1.1", host: bytes | None = b"golb") -> bytes:
    return request(b"GET", *lines, target=target, version=version, host=host)


def post(*lines: bytes, body: bytes = b"", target: bytes = TARGET, version: bytes = b"HTTP/1.1") -> bytes:
    return request(b"POST", *lines, target=target, version=version, body=body)


@frozen(kw_only=True)
class AnswerCase:
    """What an endpoint answers to one request, and what golb makes of it for the client."""

    name: str
    why: str
    data: bytes
    rest: bytes = b""
    """Sent once the client has the head."""
    later: bytes = b""
    """Sent once the client has all of its answer."""
    ends: bool = False
    """The endpoint closes behind `data` and `rest`."""
    request: bytes = get()
    at_head: bool = False
    """The endpoint does not wait for the request's body."""
    request_rest: bytes = b""
    """Of the request's body: sent once the client has its answer."""
    status: int
    interim: tuple[int, ...] = ()
    body: bytes | None = None
    """That the client gets; None: golb's own words."""
    has: tuple[bytes, ...] = ()
    """Header lines that the client gets: all of them, but for golb's own three, the framing and Connection."""
    trailers: tuple[bytes, ...] = ()
    """Lines, all of them."""
    breaks: bool = False
    """The client sees its connection end in the middle of the answer."""
    closes: bool = False
    """golb closes the client's connection behind the answer; otherwise it serves another request on it."""
    kept: bool = False
    """golb uses the connection to the endpoint for the next request; otherwise it has closed it."""
    defect: str | None = None
    """Why golb does not do this yet."""


def bad(name: str, why: str, data: bytes, *, ends: bool = False, defect: str | None = None) -> AnswerCase:
    """Make a case whose answer must not go on: the client gets 502, and the connection to the endpoint is closed."""
    return AnswerCase(name=name, why=why, data=data, ends=ends, status=502, defect=defect)


def good(name: str, why: str, data: bytes, *, kept: bool = True, **rest: object) -> AnswerCase:
    """Make a case whose answer goes on; it is 200 with the token as its body unless it is said otherwise."""
    said = {"status": 200, "body": TOKEN} | rest
    return AnswerCase(name=name, why=why, data=data, kept=kept, **said)  # type: ignore[arg-type] # AnswerCase names them


def answer(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return CRLF.join([start, *lines]) + CRLF + CRLF + body


OK = answer(b"Content-Length: 8", body=TOKEN)
POISON = answer(b"Content-Length: 15", b"X-Poison: 1", body=b"poison-" + TOKEN)
"""An answer that nobody has asked for."""


def fill_in(data: bytes, name: str) -> bytes:
    """Put the eight hex digits of a case's name where `TOKEN` stands."""
    return data.replace(TOKEN, token_of(name))


def token_of(name: str) -> bytes:
    """Return eight lower-case hex digits."""
    return b"%08x" % crc32(name.encode())

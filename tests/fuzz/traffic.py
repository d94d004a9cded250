"""Well-formed requests and answers, each as it goes over the wire and as what it means; strategies for Hypothesis."""

from __future__ import annotations

from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st

Headers = list[tuple[bytes, bytes]]

# A test run is to mean the same each time; an example that is slow once, on a busy machine, means nothing.
REPEATABLE = settings(derandomize=True, deadline=None)

_MAX_CUTS = 12
# What golb, or the message itself, gives a meaning; all others go through as they are.
_OWN = {b"host", b"te", b"connection", b"upgrade", b"expect", b"trailer", b"keep-alive", b"content-length"}
_BODILESS = (204, 304)


@frozen
class Message:
    """A request or an answer."""

    data: bytes
    """As it goes over the wire."""
    start: bytes
    """The method, or the status."""
    target: bytes
    headers: Headers
    """Those that go through, names in lower case."""
    body: bytes
    trailers: Headers


names = (
    st.text("abcXYZ019-_.!", min_size=1, max_size=10)
    .map(str.encode)
    .filter(lambda name: name.lower() not in _OWN and not name.startswith(b"-"))
)
values = st.binary(max_size=12).map(
    lambda value: bytes(byte for byte in value if byte in b"\t " or (byte > 0x20 and byte != 0x7F)).strip(b" \t")
)
headers = st.lists(st.tuples(names, values), max_size=5)
bodies = st.one_of(st.binary(max_size=40), st.just(b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n"))
spaces = st.sampled_from([b"", b" ", b"\t", b" \t "])
extensions = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c"'])
targets = st.text("abc019/-._~%20:@!$&'()*+,;=", max_size=12).map(
    lambda text: b"/function/f/" + text.replace("%", "%2F").encode()
)
queries = st.sampled_from([b"", b"?", b"?a=b&c=%20", b"?/?"])


@st.composite
def _lines(draw: st.DrawFn, found: Headers) -> bytes:
    """Write headers with white space as a sender may set it."""
    return b"".join(b"%b:%b%b%b\r\n" % (name, draw(spaces), value, draw(spaces)) for name, value in found)


@st.composite
def _framed(draw: st.DrawFn, body: bytes, *, may_be_absent: bool) -> tuple[bytes, bytes, Headers]:
    """Return the lines that frame a body, the body with its framing, and its trailers."""
    kind = draw(st.sampled_from(["length", "chunked", *(["absent"] if may_be_absent and not body else [])]))
    if kind == "absent":
        return b"", b"", []
    if kind == "length":
        name = draw(st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]))
        return name + b": %d\r\n" % len(body), body, []
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=3)))
    pieces = [body[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    chunks = b"".join(
        b"%b%b\r\n%b\r\n" % (draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(piece), draw(extensions), piece)
        for piece in pieces
        if piece
    )
    trailers = draw(headers)
    coding = draw(st.sampled_from([b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:CHUNKED\r\n"]))
    end = b"0%b\r\n%b\r\n" % (draw(extensions), draw(_lines(trailers)))
    return coding, chunks + end, _lowered(trailers)


def _lowered(found: Headers) -> Headers:
    return [(name.lower(), value) for name, value in found]


@st.composite
def requests(draw: st.DrawFn, *, with_head: bool = True) -> Message:
    """Make a request that calls function `f`; by HEAD only if the answer may be one to HEAD."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", *[b"HEAD"][:with_head]]))
    target = draw(targets) + draw(queries)
    found = draw(headers)
    body = draw(bodies)
    framing, framed, trailers = draw(_framed(body, may_be_absent=True))
    head = method + b" " + target + b" HTTP/1.1\r\n" + draw(st.sampled_from([b"Host: golb\r\n", b"host:golb:80 \r\n"]))
    data = head + framing + draw(_lines(found)) + b"\r\n" + framed
    return Message(data, method, target, _lowered(found), body, trailers)


@st.composite
def answers(draw: st.DrawFn) -> Message:
    """Make an answer that does not end with its connection, with interim ones in front."""
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500, 599]))
    no_headers: Headers = []
    found = draw(headers)
    interim = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"])
    )
    if status in _BODILESS:
        framing, framed, body, trailers = b"", b"", b"", no_headers
    else:
        body = draw(bodies)
        framing, framed, trailers = draw(_framed(body, may_be_absent=False))
    reason = draw(st.sampled_from([b"", b" OK", b" Not at all"]))
    data = interim + b"HTTP/1.1 %d%b\r\n" % (status, reason) + framing + draw(_lines(found)) + b"\r\n" + framed
    return Message(data, b"%d" % status, b"", _lowered(found), body, trailers)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut bytes into pieces: each byte for itself, or at some places."""
    if draw(st.integers(0, 9)) == 0:
        return [data[index : index + 1] for index in range(len(data))]
    places = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=_MAX_CUTS)))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True) if begin < end]

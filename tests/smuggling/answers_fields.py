"""Header and trailer fields of answers: splitting, folding, floods, and what would forge golb's own."""

from __future__ import annotations

from smuggling.case import POISON, TOKEN, answer, bad, good

LENGTH = b"Content-Length: 8"


def with_lines(*lines: bytes) -> bytes:
    return answer(*lines, LENGTH, body=TOKEN)


_FIELD = "RFC 9112, 5: a name that is a token, a colon, a value without control bytes"
_SPLIT = "CWE-113: what an endpoint lets its client write into a header must not become an answer"
_FOLD = "RFC 9112, 5.2: a proxy answers 502 to obs-fold"
_LINE_END = "RFC 9112, 2.2: CRLF ends a line"
FIELDS = [
    *[
        bad(f"answer-field-{name}", _FIELD, with_lines(line))
        for name, line in {
            "space-before-colon": b"X-A : 1",
            "tab-before-colon": b"X-A\t: 1",
            "no-colon": b"X-A",
            "no-name": b": 1",
            "space-in-name": b"X A: 1",
            "no-token": b"X(A): 1",
            "nul-in-name": b"X\x00A: 1",
            "high-bit-in-name": b"X\xe9A: 1",
            "nul-in-value": b"X-A: a\x00b",
            "control-byte-in-value": b"X-A: a\x01b",
            "delete-in-value": b"X-A: a\x7fb",
        }.items()
    ],
    bad("answer-fold-space", _FOLD, with_lines(b"X-A: 1", b" 2")),
    bad("answer-fold-tab", _FOLD, with_lines(b"X-A: 1", b"\t2")),
    bad("answer-fold-in-front", _FOLD, with_lines(b" X-A: 1")),
    bad("answer-split-by-bare-lf", _SPLIT, with_lines(b"Location: /a\nX-Smuggled: 1")),
    bad("answer-split-by-bare-cr", _SPLIT, with_lines(b"Location: /a\rX-Smuggled: 1")),
    bad("answer-split-by-two-bare-lf", _SPLIT, with_lines(b"Location: /a\n\n" + POISON)),
    bad("answer-all-bare-lf", _LINE_END, b"HTTP/1.1 200 OK\nContent-Length: 8\n\n" + TOKEN),
    bad("answer-end-bare-lf", _LINE_END, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\n" + TOKEN),
    bad("answer-end-cr-cr-lf", _LINE_END, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\r\n" + TOKEN),
    good(
        "answer-split-by-encoding",
        "it is text",
        with_lines(b"Location: /a%0d%0aX-B: 1"),
        has=(b"Location: /a%0d%0aX-B: 1",),
    ),
    good(
        "answer-split-by-crlf-of-unicode",
        "obs-text passes byte for byte",
        with_lines("X-A: \u560d\u560a".encode()),
        has=("X-A: \u560d\u560a".encode(),),
    ),
    good(
        "answer-split",
        "RFC 9112, 6.3: what is behind the length is nobody's, and the connection cannot be trusted",
        answer(b"Location: /a", b"Content-Length: 0") + POISON,
        body=b"",
        has=(b"Location: /a",),
        kept=False,
    ),
]

_BOUND = "golb's own bound: RFC 9110, 5.4 leaves it to the recipient"
FLOODS = [
    bad("answer-with-too-many-headers", _BOUND, with_lines(*[b"X-%d: 1" % n for n in range(200)])),
    bad("answer-with-one-header-too-often", _BOUND, with_lines(*[b"X-A: 1"] * 2000)),
    bad("answer-with-a-long-value", _BOUND, with_lines(b"X-A: " + b"a" * 200_000)),
    bad("answer-with-a-long-name", _BOUND, with_lines(b"X" * 200_000 + b": 1")),
    bad("answer-with-a-long-phrase", _BOUND, answer(LENGTH, start=b"HTTP/1.1 200 " + b"a" * 200_000, body=TOKEN)),
    bad("answer-with-a-long-head", _BOUND, with_lines(*[b"X-%d: " % n + b"a" * 700 for n in range(150)])),
]

_KEPT = "RFC 9110, 7.6.1: Connection must not strip what golb says, nor the framing"
_REMOVED = "RFC 9110, 7.6.1: a proxy removes what Connection names, and Connection"
_HOP = "RFC 9110, 7.6.1: fields of one hop are not forwarded"
OPTIONS = [
    good(
        "answer-connection-names-final-host",
        _KEPT,
        with_lines(b"Connection: X-Final-Host", b"X-Final-Host: 6.6.6.6:80"),
        has=(b"X-Final-Host: 6.6.6.6:80",),
    ),
    good(
        "answer-connection-names-the-chain",
        _KEPT,
        with_lines(b"Connection: X-Forwarded-For", b"X-Forwarded-For: eb-b"),
        has=(b"X-Forwarded-For: eb-b",),
    ),
    good("answer-connection-names-own-mark", _KEPT, with_lines(b"Connection: X-Forwarded-Host-Eb-A-Controller")),
    good("answer-connection-names-the-length", _KEPT, with_lines(b"Connection: Content-Length")),
    good(
        "answer-connection-names-the-coding",
        _KEPT,
        answer(
            b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", body=b"8\r\n" + TOKEN + b"\r\n0\r\n\r\n"
        ),
    ),
    good(
        "answer-connection-names-a-header",
        _REMOVED,
        with_lines(b"Connection: X-A", b"X-A: 1", b"X-B: 2"),
        has=(b"X-B: 2",),
    ),
    good(
        "answer-connection-on-two-lines",
        _REMOVED,
        with_lines(b"Connection: X-A", b"Connection: X-B", b"X-A: 1", b"X-B: 2"),
    ),
    good(
        "answer-connection-close",
        "RFC 9112, 9.6: the endpoint's last; the client's goes on",
        with_lines(b"Connection: close"),
        kept=False,
    ),
    good("answer-connection-close-among-others", "RFC 9112, 9.6", with_lines(b"Connection: X-A, CLOSE"), kept=False),
    good(
        "answer-connection-close-and-keep-alive",
        "RFC 9112, 9.3: close is looked at first",
        with_lines(b"Connection: keep-alive", b"Connection: close"),
        kept=False,
    ),
    good("answer-keep-alive", _HOP, with_lines(b"Connection: keep-alive", b"Keep-Alive: timeout=1")),
    good("answer-proxy-connection", _HOP, with_lines(b"Proxy-Connection: X-A", b"X-A: 1"), has=(b"X-A: 1",)),
    good(
        "answer-upgrade-to-no-upgrade",
        "RFC 9110, 7.8: it is of one hop",
        with_lines(b"Upgrade: h2c", b"Connection: Upgrade"),
    ),
    good(
        "answer-426",
        "RFC 9110, 15.5.22 and 7.8: 426 has an Upgrade, named in Connection",
        answer(
            b"Connection: Upgrade", b"Upgrade: websocket", LENGTH, start=b"HTTP/1.1 426 Upgrade Required", body=TOKEN
        ),
        status=426,
        has=(b"Upgrade: websocket",),
    ),
]

_TRAILERS = (
    "RFC 9110, 6.5.1: no framing, routing, marks, control data, cookies, or how to read the content in trailers: "
    "a client may merge them into the head"
)


def with_trailers(*lines: bytes) -> bytes:
    section = b"".join(line + b"\r\n" for line in lines)
    return answer(b"Transfer-Encoding: chunked", body=b"8\r\n" + TOKEN + b"\r\n0\r\n" + section + b"\r\n")


TRAILERS = [
    good("answer-trailer", "RFC 9112, 7.1.2: trailers go on", with_trailers(b"x-a: 1"), trailers=(b"X-A: 1",)),
    *[
        good(
            f"answer-trailer-{line.split(b':')[0].decode().lower()}",
            _TRAILERS,
            with_trailers(line, b"X-A: 1"),
            trailers=(b"X-A: 1",),
        )
        for line in (
            b"Transfer-Encoding: chunked",
            b"X-Final-Host: 6.6.6.6:80",
            b"X-Forwarded-For: eb-b",
            b"X-Forwarded-Host-Eb-B: 1.0",
            b"Connection: X-A",
            b"Upgrade: h2c",
            b"Trailer: X-Final-Host",
            b"Set-Cookie: a=b",
            b"Location: /a",
            b"Content-Type: text/html",
            b"Content-Encoding: gzip",
            b"Content-Range: bytes 0-1/2",
            b"Cache-Control: public",
            b"WWW-Authenticate: Basic",
        )
    ],
    good(
        "answer-trailer-connection-close",
        "RFC 9112, 9.6: not a place for it, but who says close will close",
        with_trailers(b"Connection: close"),
        kept=False,
    ),
    good(
        "answer-trailer-proxy-connection-close",
        "llhttp reads nothing more behind it either",
        with_trailers(b"Proxy-Connection: close"),
        kept=False,
    ),
    *[
        bad(f"answer-trailer-{name}", _FIELD, with_trailers(line))
        for name, line in {
            "no-colon": b"smuggled",
            "status-line": b"HTTP/1.1 200 OK",
            "folded": b"X-A: 1\r\n 2",
            "nul": b"X-A: \x00",
            "bare-lf": b"X-A: 1\nX-B: 2",
        }.items()
    ],
    bad("answer-trailer-content-length", _TRAILERS, with_trailers(b"Content-Length: 1")),
    good("answer-with-endless-trailers", _BOUND, with_trailers(b"X-A: " + b"a" * 200_000), breaks=True, kept=False),
    bad("answer-with-too-many-trailers", _BOUND, with_trailers(*[b"X-%d: 1" % n for n in range(4000)])),
]

CASES = [*FIELDS, *FLOODS, *OPTIONS, *TRAILERS]

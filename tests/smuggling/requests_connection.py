"""Connection, TE and their like: what speaks to golb must neither strip what golb says nor reach the endpoint."""

from __future__ import annotations

from smuggling.case import arrives, forwarded, get, hello, post

_KEPT = "RFC 9110, 7.6.1: Connection does not name what the recipient needs; a client must not strip what golb says"
_REMOVED = "RFC 9110, 7.6.1: a proxy removes what Connection names, and Connection"
_HOP = "RFC 9110, 7.6.1: fields of one hop are not forwarded"


def named(options: bytes, *lines: bytes) -> bytes:
    return post(b"Connection: " + options, b"Content-Length: 5", *lines, body=b"hello")


CASES = [
    *[
        forwarded(f"connection-names-{option.decode()}", _KEPT, named(option), hello(lacks=(b"Connection",)))
        for option in (
            b"host",
            b"content-length",
            b"transfer-encoding",
            b"x-forwarded-for",
            b"x-final-host",
            b"x-forwarded-host-eb-a-controller",
        )
    ],
    forwarded(
        "connection-names-all-of-them",
        _KEPT,
        named(
            b"Host, CONTENT-LENGTH,Transfer-Encoding, X-Forwarded-For,X-Final-Host, X-Forwarded-Host-Eb-A-Controller"
        ),
        hello(lacks=(b"Connection",)),
    ),
    forwarded(
        "connection-names-transfer-encoding-of-chunks",
        _KEPT,
        post(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
        arrives(b"POST", chunked=b"hello"),
    ),
    forwarded(
        "connection-names-another-mark",
        _KEPT,
        get(b"Connection: X-Forwarded-Host-Eb-B", b"X-Forwarded-Host-Eb-B: 1.0"),
        arrives(has=(b"X-Forwarded-Host-Eb-B: 1.0",)),
    ),
    forwarded(
        "connection-names-the-chain-of-a-client",
        _KEPT,
        get(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 6.6.6.6"),
        arrives(has=(b"X-Forwarded-For: 6.6.6.6, eb-a-controller, 127.0.0.1",)),
    ),
    forwarded(
        "connection-names-a-header",
        _REMOVED,
        get(b"Connection: X-A", b"X-A: 1", b"X-B: 2"),
        arrives(lacks=(b"X-A", b"Connection"), has=(b"X-B: 2",)),
    ),
    forwarded(
        "connection-names-a-header-in-capitals",
        _REMOVED,
        get(b"CONNECTION: x-A", b"X-a: 1"),
        arrives(lacks=(b"X-A", b"Connection")),
    ),
    forwarded(
        "connection-names-a-later-and-an-earlier-header",
        _REMOVED,
        get(b"X-A: 1", b"Connection: X-A", b"X-A: 2"),
        arrives(lacks=(b"X-A",)),
    ),
    forwarded(
        "connection-on-two-lines",
        _REMOVED,
        get(b"Connection: X-A", b"X-A: 1", b"X-B: 2", b"Connection: X-B"),
        arrives(lacks=(b"X-A", b"X-B", b"Connection")),
    ),
    forwarded(
        "connection-with-empty-options",
        "RFC 9110, 5.6.1: empty elements are ignored",
        get(b"Connection: , ,X-A,,", b"X-A: 1"),
        arrives(lacks=(b"X-A",)),
    ),
    forwarded(
        "connection-with-tabs",
        "RFC 9110, 5.6.1: white space around elements",
        get(b"Connection:\tX-A\t,\tX-B", b"X-A: 1", b"X-B: 1"),
        arrives(lacks=(b"X-A", b"X-B")),
    ),
    forwarded(
        "connection-empty", "RFC 9110, 5.6.1: an empty list", get(b"Connection:"), arrives(lacks=(b"Connection",))
    ),
    forwarded(
        "connection-junk",
        "it names nothing that is there",
        get(b'Connection: "a, b";q=1, @'),
        arrives(lacks=(b"Connection",)),
    ),
    forwarded(
        "connection-keep-alive",
        _HOP,
        get(b"Connection: keep-alive", b"Keep-Alive: timeout=5"),
        arrives(lacks=(b"Keep-Alive", b"Connection")),
    ),
    forwarded(
        "connection-close",
        "RFC 9112, 9.3: the client's last request; golb's connection to the endpoint is its own",
        get(b"Connection: close"),
        arrives(lacks=(b"Connection",)),
        closes=True,
    ),
    forwarded(
        "connection-close-in-capitals", "RFC 9110, 7.6.1: options have no case", get(b"Connection: CLOSE"), closes=True
    ),
    forwarded(
        "connection-close-on-a-second-line", "RFC 9112, 9.3", get(b"Connection: X-A", b"Connection: close"), closes=True
    ),
    forwarded(
        "connection-keep-alive-and-close",
        "RFC 9112, 9.3: close is looked at first",
        get(b"Connection: keep-alive, close"),
        closes=True,
    ),
    forwarded(
        "proxy-connection",
        "RFC 9112, C.2.2: no field of HTTP/1.1: it is not forwarded; who says close means it",
        get(b"Proxy-Connection: close"),
        arrives(lacks=(b"Proxy-Connection",)),
        closes=True,
    ),
    forwarded(
        "proxy-connection-names-a-header",
        "RFC 9112, C.2.2: no field of HTTP/1.1: it names nothing",
        get(b"Proxy-Connection: X-A", b"X-A: 1"),
        arrives(has=(b"X-A: 1",), lacks=(b"Proxy-Connection",)),
    ),
    forwarded(
        "proxy-authorization",
        "RFC 9110, 11.7.2: for the first proxy that asks",
        get(b"Proxy-Authorization: Basic eDp5"),
        arrives(lacks=(b"Proxy-Authorization",)),
    ),
    forwarded(
        "te-trailers",
        "RFC 9110, 10.1.4: TE is of one hop; golb says its own",
        get(b"TE: trailers", b"Connection: TE"),
        arrives(has=(b"TE: trailers", b"Connection: TE")),
    ),
    forwarded(
        "te-gzip",
        "RFC 9110, 10.1.4: golb reads no coding but chunked",
        get(b"TE: gzip;q=1, deflate"),
        arrives(lacks=(b"TE",)),
    ),
]

"""Upgrade: what the endpoint is asked to switch to, and what it must never be asked."""

from __future__ import annotations

from smuggling.case import SEEN, TARGET, arrives, forwarded, get, hello, post

_UNASKED = "RFC 9110, 7.8: an upgrade has to be named in Connection too, and does not come with a body or in HTTP/1.0"
_H2C = "RFC 9113, 3.1: h2c is gone, and who grants it opens a way past golb"
SETTINGS = b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
ASKS = (b"Connection: Upgrade", b"Upgrade: websocket")

CASES = [
    forwarded(
        "upgrade",
        "RFC 9110, 7.8: the endpoint may decline",
        get(*ASKS),
        arrives(has=(b"Upgrade: websocket", b"Connection: Upgrade")),
    ),
    forwarded(
        "upgrade-then-request",
        "RFC 9110, 7.8: declined, what follows is HTTP",
        get(*ASKS) + get(target=TARGET + b"/b"),
        arrives(has=(b"Upgrade: websocket",)),
        arrives(target=SEEN + b"/b"),
    ),
    forwarded(
        "upgrade-not-in-connection", _UNASKED, get(b"Upgrade: websocket"), arrives(lacks=(b"Upgrade", b"Connection"))
    ),
    forwarded(
        "upgrade-only-in-connection", _UNASKED, get(b"Connection: Upgrade"), arrives(lacks=(b"Upgrade", b"Connection"))
    ),
    forwarded(
        "upgrade-in-http-1-0",
        _UNASKED,
        get(*ASKS, version=b"HTTP/1.0"),
        arrives(lacks=(b"Upgrade", b"Connection")),
        closes=True,
    ),
    forwarded(
        "upgrade-with-a-body",
        _UNASKED,
        post(*ASKS, b"Content-Length: 5", body=b"hello") + get(),
        hello(lacks=(b"Upgrade", b"Connection")),
        arrives(),
    ),
    forwarded(
        "upgrade-with-chunks",
        _UNASKED,
        post(*ASKS, b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n") + get(),
        arrives(b"POST", chunked=b"hello", lacks=(b"Upgrade", b"Connection")),
        arrives(),
    ),
    forwarded(
        "upgrade-with-an-empty-body",
        "RFC 9110, 7.8: it has ended",
        post(*ASKS, b"Content-Length: 0"),
        arrives(b"POST", body=b"", has=(b"Upgrade: websocket",)),
    ),
    forwarded(
        "h2c",
        _H2C,
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", SETTINGS),
        arrives(lacks=(b"Upgrade", b"Connection")),
    ),
    forwarded(
        "h2c-in-capitals",
        _H2C,
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: H2C", SETTINGS),
        arrives(lacks=(b"Upgrade",)),
    ),
    forwarded(
        "h2c-among-others",
        _H2C,
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: websocket, h2c", SETTINGS),
        arrives(has=(b"Upgrade: websocket",)),
    ),
    forwarded(
        "h2c-on-a-second-line",
        _H2C,
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: websocket", b"Upgrade: h2c", SETTINGS),
        arrives(has=(b"Upgrade: websocket",)),
    ),
    forwarded(
        "h2c-without-its-settings-named",
        _H2C,
        get(b"Connection: Upgrade", b"Upgrade: h2c", SETTINGS),
        arrives(lacks=(b"Upgrade", b"HTTP2-Settings")),
    ),
    forwarded(
        "h2c-with-a-body",
        _H2C,
        post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", SETTINGS, b"Content-Length: 5", body=b"hello"),
        hello(lacks=(b"Upgrade", b"Connection")),
    ),
]

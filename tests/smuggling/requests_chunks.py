"""Chunked bodies: sizes, extensions, line ends, trailers."""

from __future__ import annotations

from smuggling.case import (
    SEEN,
    SMUGGLED,
    TARGET,
    Arrival,
    RequestCase,
    arrives,
    cut_off,
    forwarded,
    get,
    post,
    refused,
)


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def hello(*trailers: bytes) -> Arrival:
    return arrives(b"POST", chunked=b"hello", trailers=trailers)


END = b"0\r\n\r\n"
_SIZE = "RFC 9112, 7.1: a chunk's size is hex digits and nothing else"
_NO_WRAP = "RFC 9112, 7.1: a large size must not overflow"
_LINE_END = "RFC 9112, 7.1: CRLF ends a size and a chunk, nothing else does"
_BOUND = "golb's own bound, as for heads"
_EXTENSION = "RFC 9112, 7.1.1: an extension that is not known is ignored; here it ends"
_NO_CONTROLS = "RFC 9112, 7.1.1: an extension is tokens and quoted strings; who ends it elsewhere sees other chunks"

SIZES = [
    *[
        refused(f"chunk-size-{name}", _SIZE, chunks(size + b"\r\nhello\r\n" + END))
        for name, size in {
            "plus": b"+5",
            "minus": b"-5",
            "hex-prefix": b"0x5",
            "capital-hex-prefix": b"0X5",
            "underscore": b"0_5",
            "space-before": b" 5",
            "tab-before": b"\t5",
            "space-behind": b"5 ",
            "tab-behind": b"5\t",
            "space-inside": b"0 5",
            "no-hex": b"g",
            "word": b"five",
            "point": b"5.0",
            "quoted": b'"5"',
            "comma": b"5,5",
            "empty": b"",
            "nul": b"5\x00",
            "vertical-tab": b"\x0b5",
            "high-bit": b"5\xa0",
            "fullwidth-digit": "\uff15".encode(),
            "h-suffix": b"5h",
        }.items()
    ],
    refused("chunk-size-2-64-and-5", _NO_WRAP, chunks(b"10000000000000005\r\nhello\r\n" + END)),
    refused("chunk-size-of-a-hundred-digits", _NO_WRAP, chunks(b"f" * 100 + b"\r\nhello\r\n" + END)),
    cut_off(
        "chunk-size-2-32-and-5",
        _NO_WRAP,
        chunks(b"100000005\r\nhello\r\n" + END),
        arrives(b"POST", chunked=b"hello\r\n" + END, cut=True),
    ),
    cut_off(
        "chunk-size-2-64-less-1",
        _NO_WRAP,
        chunks(b"ffffffffffffffff\r\nhello"),
        arrives(b"POST", chunked=b"hello", cut=True),
    ),
    forwarded(
        "chunk-size-capital", _SIZE, chunks(b"A\r\nhellohello\r\n" + END), arrives(b"POST", chunked=b"hellohello")
    ),
    forwarded("chunk-size-leading-zeros", "RFC 9112, 7.1: 1*HEXDIG", chunks(b"00005\r\nhello\r\n000\r\n\r\n"), hello()),
    forwarded("chunks-of-one-byte", _SIZE, chunks(b"".join(b"1\r\n%c\r\n" % byte for byte in b"hello") + END), hello()),
    refused("chunk-missing-last", _SIZE, chunks(b"5\r\nhello\r\n") + SMUGGLED),
]

LINE_ENDS = [
    refused("chunk-size-bare-lf", _LINE_END, chunks(b"5\nhello\r\n" + END)),
    refused("chunk-size-bare-cr", _LINE_END, chunks(b"5\rhello\r\n" + END)),
    refused("chunk-size-cr-cr-lf", _LINE_END, chunks(b"5\r\r\nhello\r\n" + END)),
    refused("chunk-data-bare-lf", _LINE_END, chunks(b"5\r\nhello\n" + END)),
    refused("chunk-data-bare-cr", _LINE_END, chunks(b"5\r\nhello\r" + END)),
    refused("chunk-data-no-line-end", _LINE_END, chunks(b"5\r\nhello" + END)),
    refused("chunk-data-two-other-bytes", _LINE_END, chunks(b"5\r\nhelloXX" + END)),
    refused("chunk-data-too-long", _LINE_END, chunks(b"5\r\nhello!\r\n" + END)),
    refused("chunk-data-too-short", _LINE_END, chunks(b"6\r\nhello\r\n" + END)),
    refused("chunk-last-bare-lf", _LINE_END, chunks(b"5\r\nhello\r\n0\n\n") + SMUGGLED),
    refused("chunk-last-then-bare-lf", _LINE_END, chunks(b"5\r\nhello\r\n0\r\n\n") + SMUGGLED),
    refused("chunk-last-then-bare-cr", _LINE_END, chunks(b"5\r\nhello\r\n0\r\n\rX\r\n\r\n")),
    refused("chunk-last-without-empty-line", _LINE_END, chunks(b"5\r\nhello\r\n0\r\n") + SMUGGLED),
    cut_off(
        "chunk-last-cut",
        "RFC 9112, 8: a body that is not whole is no request",
        chunks(b"5\r\nhello\r\n0\r\n"),
        arrives(b"POST", chunked=b"hello", cut=True),
    ),
    cut_off(
        "chunk-data-cut",
        "RFC 9112, 8: a body that is not whole is no request",
        chunks(b"a\r\nhello"),
        arrives(b"POST", chunked=b"hello", cut=True),
    ),
    forwarded(
        "chunks-then-request",
        "RFC 9112, 9.3.2: pipelined",
        chunks(b"5\r\nhello\r\n" + END) + get(target=TARGET + b"/b"),
        hello(),
        arrives(target=SEEN + b"/b"),
    ),
    *[
        RequestCase(
            name=f"chunk-{name}-behind-a-head-that-has-gone",
            why="RFC 9112, 8: the endpoint must see that the body broke off",
            data=chunks(b"5\r\nhello\r\n"),
            then=bad,
            statuses=(400,),
            arrivals=(arrives(b"POST", chunked=b"hello", cut=True),),
            closes=True,
        )
        for name, bad in {
            "bare-lf": b"5\nhello\r\n" + END,
            "minus": b"-1\r\n",
            "smuggled": SMUGGLED,
            "end-bare-lf": b"0\n\n",
        }.items()
    ],
]

EXTENSIONS = [
    *[
        forwarded(
            f"chunk-extension-{name}",
            _EXTENSION,
            chunks(b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n"),
            hello(),
        )
        for name, extension in {
            "name": b";a",
            "value": b";a=b",
            "quoted": b';a="b"',
            "quoted-semicolon": b';a="b;c"',
            "quoted-pair": b';a="\\""',
            "two": b";a=b;c=d",
            "looks-like-a-size": b";a=5",
        }.items()
    ],
    *[
        refused(f"chunk-extension-{name}", _NO_CONTROLS, chunks(b"5" + extension + b"\r\nhello\r\n" + END))
        for name, extension in {
            "bare-lf": b";a\nb",
            "bare-lf-in-quotes": b';a="\n"',
            "bare-cr": b";a\rb",
            "bare-cr-in-quotes": b';a="\r"',
            "nul": b";a\x00",
            "control-byte": b";a\x01",
            "crlf-in-quotes": b';a="\r\n"',
            "two-names": b";a b",
            "open-quote": b';a="b',
        }.items()
    ],
    refused("chunk-extension-hides-a-last-chunk", _NO_CONTROLS, chunks(b"2;\nxx\r\n4c\r\n0\r\n\r\n" + SMUGGLED + END)),
    RequestCase(
        name="chunk-extension-endless",
        why=_BOUND,
        data=chunks(b"5;" + b"a" * 70000),
        statuses=(431,),
        arrivals=(arrives(b"POST", chunked=b"", cut=True),),
        closes=True,
    ),
]

_TRAILERS = (
    "RFC 9110, 6.5.1: no framing, routing, marks, modifiers, credentials, or how to read the content in trailers: "
    "an endpoint may merge them into the head"
)
_FIELDS = "RFC 9112, 7.1.2: trailers are fields, by the rules of fields"
_CLOSED = "RFC 9110, 6.5.1: no place for it; by the head the connection goes on, and a recipient that heeds it ends it"
_UNDERSCORE = "RFC 3875, 4.1.18: CGI writes both names alike, so the endpoint may take it for what golb sets"


def with_trailers(*lines: bytes) -> bytes:
    return chunks(b"5\r\nhello\r\n0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


TRAILERS = [
    forwarded("trailer", _FIELDS, with_trailers(b"X-A: 1", b"x-b:2"), hello(b"X-A: 1", b"X-B: 2")),
    *[
        forwarded(
            f"trailer-{line.split(b':')[0].decode().lower()}",
            _TRAILERS,
            with_trailers(line, b"X-A: 1"),
            hello(b"X-A: 1"),
        )
        for line in (
            b"Host: evil",
            b"Upgrade: h2c",
            b"TE: trailers",
            b"Trailer: Host",
            b"X-Forwarded-For: 6.6.6.6",
            b"X-Final-Host: 6.6.6.6:80",
            b"X-Forwarded-Host-Eb-B: 1.0",
            b"Proxy-Authorization: Basic eDp5",
            b"Authorization: Basic eDp5",
            b"Cookie: a=b",
            b"Content-Type: text/html",
            b"Content-Encoding: gzip",
            b"Content-Range: bytes 0-1/2",
            b"Range: bytes=0-1",
            b"Expect: 100-continue",
            b"Cache-Control: no-store",
            b"Max-Forwards: 0",
            b"If-Match: x",
        )
    ],
    *[
        forwarded(
            f"trailer-{line.split(b':')[0].decode().lower().replace('_', '+')}",
            _UNDERSCORE,
            with_trailers(line, b"X-A: 1"),
            hello(b"X-A: 1"),
        )
        for line in (b"X_Forwarded_For: 6.6.6.6", b"Content_Length: 1")
    ],
    *[
        refused(f"trailer-{name}", _FIELDS, with_trailers(line))
        for name, line in {
            "no-colon": b"smuggled",
            "request-line": b"GET /function/f/smuggled HTTP/1.1",
            "folded": b"X-A: 1\r\n folded",
            "space-before-colon": b"X-A : 1",
            "no-name": b": 1",
            "nul": b"X-A: \x00",
            "bare-lf": b"X-A: 1\nX-B: 2",
            "bare-cr": b"X-A: 1\rX-B: 2",
            "control-byte": b"X-A: \x01",
        }.items()
    ],
    refused("trailer-connection", _CLOSED, with_trailers(b"Connection: X-A", b"X-A: 1")),
    refused("trailer-connection-close", _CLOSED, with_trailers(b"Connection: close")),
    refused("trailer-connection-close-then-request", _CLOSED, with_trailers(b"Connection: close") + get()),
    refused("trailer-proxy-connection-close", _CLOSED, with_trailers(b"Proxy-Connection: close") + get()),
    refused("trailer-content-length", _TRAILERS, with_trailers(b"Content-Length: 100")),
    refused("trailer-transfer-encoding", _TRAILERS, with_trailers(b"Transfer-Encoding: chunked")),
    RequestCase(
        name="trailers-endless",
        why=_BOUND,
        data=chunks(b"5\r\nhello\r\n0\r\nX-A: " + b"a" * 200_000),
        statuses=(431,),
        arrivals=(arrives(b"POST", chunked=b"hello", cut=True),),
        closes=True,
    ),
    refused(
        "trailers-too-many",
        _BOUND,
        with_trailers(*[b"X-%d: 1" % n for n in range(4000)]),
        status=431,
    ),
]

CASES = [*SIZES, *LINE_ENDS, *EXTENSIONS, *TRAILERS]

"""Header fields: folding, line ends, spaces, bytes that are none of text, names that look like others, floods."""

from __future__ import annotations

from smuggling.case import SMUGGLED, arrives, cut_off, forwarded, get, post, refused

_FOLD = "RFC 9112, 5.2: 400 to obs-fold, which some readers join and some do not"
_NO_SPACE = "RFC 9112, 5.1: no white space between name and colon"
_TOKEN = "RFC 9110, 5.1: a name is a token"
_TEXT = "RFC 9110, 5.5: no control bytes in a value but the tab; CR, LF and NUL are dangerous"
_LINE_END = "RFC 9112, 2.2: CRLF ends a line; a proxy may refuse a bare LF, and has to refuse a bare CR"

FOLDS = [
    refused("fold-space", _FOLD, get(b"X-A: 1", b" 2")),
    refused("fold-tab", _FOLD, get(b"X-A: 1", b"\t2")),
    refused("fold-empty", _FOLD, get(b"X-A: 1", b" ")),
    refused(
        "fold-in-front",
        "RFC 9112, 2.2: white space before the first field",
        b"GET /function/f HTTP/1.1\r\n Host: golb\r\n\r\n",
    ),
    refused(
        "fold-in-front-of-all",
        "RFC 9112, 2.2: white space before the first field",
        b"GET /function/f HTTP/1.1\r\n \r\nHost: golb\r\n\r\n",
    ),
    refused("fold-looks-like-a-header", _FOLD, get(b"X-A: 1", b" Connection: close")),
    refused("fold-as-last-line", _FOLD, get(b"X-A:", b" ") + SMUGGLED),
    refused("fold-vertical-tab", _TOKEN, get(b"X-A: 1", b"\x0b2")),
]

NAMES = [
    *[
        refused(f"name-{name}", _NO_SPACE, get(line))
        for name, line in {
            "space-before-colon": b"X-A : 1",
            "tab-before-colon": b"X-A\t: 1",
            "spaces-before-colon": b"X-A   : 1",
        }.items()
    ],
    *[
        refused(f"name-{name}", _TOKEN, get(line))
        for name, line in {
            "empty": b": 1",
            "no-colon": b"X-A",
            "only-a-space": b" : 1",
            "space-inside": b"X A: 1",
            "tab-inside": b"X\tA: 1",
            "nul": b"X\x00A: 1",
            "control-byte": b"X\x01A: 1",
            "delete": b"X\x7fA: 1",
            "high-bit": b"X\xe9A: 1",
            "parenthesis": b"X(A): 1",
            "slash": b"X/A: 1",
            "at": b"X@A: 1",
            "bracket": b"X[A]: 1",
            "brace": b"X{A}: 1",
            "quotes": b'"X-A": 1',
            "backslash": b"X\\A: 1",
            "equals": b"X=A: 1",
            "bare-cr": b"X\rA: 1",
            "bare-lf": b"X\nA: 1",
            "request-line": b"GET / HTTP/1.1",
        }.items()
    ],
]

VALUES = [
    *[
        refused(f"value-{name}", _TEXT, get(b"X-A: " + value))
        for name, value in {
            "nul": b"a\x00b",
            "bell": b"a\x07b",
            "backspace": b"a\x08b",
            "vertical-tab": b"a\x0bb",
            "form-feed": b"a\x0cb",
            "escape": b"a\x1b[2Jb",
            "delete": b"a\x7fb",
            "nul-alone": b"\x00",
        }.items()
    ],
    *[
        refused(f"value-{name}", _LINE_END, get(b"X-A: " + value))
        for name, value in {
            "bare-cr": b"a\rb",
            "bare-cr-in-front": b"\ra",
            "bare-cr-behind": b"a\r",
            "bare-lf": b"a\nb",
            "bare-lf-and-header": b"a\nX-Smuggled: 1",
            "bare-cr-and-header": b"a\rX-Smuggled: 1",
            "bare-lf-and-request": b"a\n\n" + SMUGGLED,
            "lf-cr": b"a\n\rX-Smuggled: 1",
        }.items()
    ],
    forwarded(
        "value-tab", "RFC 9110, 5.5: a tab inside a value is text", get(b"X-A: a\tb"), arrives(has=(b"X-A: a\tb",))
    ),
    forwarded(
        "value-high-bit", "RFC 9110, 5.5: obs-text passes", get(b"X-A: \xe9\xff"), arrives(has=(b"X-A: \xe9\xff",))
    ),
    forwarded(
        "value-white-space-around",
        "RFC 9110, 5.5: no part of the value",
        get(b"X-A: \t a b \t "),
        arrives(has=(b"X-A: a b",)),
    ),
    forwarded("value-empty", "RFC 9110, 5.5: a value may be empty", get(b"X-A:"), arrives(has=(b"X-A: ",))),
    forwarded(
        "value-only-white-space", "RFC 9110, 5.5: that is an empty one", get(b"X-A: \t "), arrives(has=(b"X-A: ",))
    ),
    forwarded(
        "value-colons", "RFC 9112, 5: the first colon ends the name", get(b"X-A::b: c"), arrives(has=(b"X-A: :b: c",))
    ),
    forwarded(
        "value-encoded-crlf",
        "it is text",
        get(b"X-A: a%0d%0aX-B: c"),
        arrives(has=(b"X-A: a%0d%0aX-B: c",), lacks=(b"X-B",)),
    ),
    forwarded(
        "value-crlf-of-unicode",
        "who takes its low bytes gets CRLF; it is obs-text",
        get("X-A: \u560d\u560aX-B: c".encode()),
        arrives(lacks=(b"X-B",)),
    ),
]

ENDS = [
    refused("end-bare-lf", _LINE_END, b"GET /function/f HTTP/1.1\r\nHost: golb\r\n\n" + SMUGGLED),
    refused("end-all-bare-lf", _LINE_END, b"GET /function/f HTTP/1.1\r\nHost: golb\n\n" + SMUGGLED),
    refused("end-cr-cr-lf", _LINE_END, b"GET /function/f HTTP/1.1\r\nHost: golb\r\n\r\r\n" + SMUGGLED),
    refused("end-line-cr-cr-lf", _LINE_END, b"GET /function/f HTTP/1.1\r\nHost: golb\r\r\n\r\n"),
    refused("end-of-a-line-bare-lf", _LINE_END, b"GET /function/f HTTP/1.1\r\nHost: golb\nX-A: 1\r\n\r\n"),
    cut_off(
        "end-missing",
        "RFC 9112, 8: a head that is not whole is no request",
        b"GET /function/f HTTP/1.1\r\nHost: golb\r\nX-A: 1\r\n",
    ),
    cut_off(
        "end-in-a-name",
        "RFC 9112, 8: a head that is not whole is no request",
        b"GET /function/f HTTP/1.1\r\nHost: golb\r\nX-",
    ),
]

_CGI = "RFC 3875, 4.1.18: CGI and WSGI write both names alike, so the endpoint would take this for what golb sets"
LOOKALIKES = [
    *[
        forwarded(
            f"lookalike-{name}",
            _CGI,
            post(line, b"Content-Length: 5", body=b"hello"),
            arrives(b"POST", body=b"hello", lacks=(line.split(b":")[0],)),
        )
        for name, line in {
            "length-underscore": b"Content_Length: 0",
            "coding-underscore": b"Transfer_Encoding: chunked",
            "chain-underscores": b"X_Forwarded_For: 6.6.6.6",
            "chain-one-underscore": b"X-Forwarded_For: 6.6.6.6",
            "final-host-underscore": b"X_Final_Host: 6.6.6.6:80",
            "mark-underscore": b"X_Forwarded_Host_Eb_B: 1.0",
            "length-dot": b"Content.Length: 0",
            "coding-dot": b"Transfer.Encoding: chunked",
            "chain-dots": b"X.Forwarded.For: 6.6.6.6",
            "mark-dot": b"X-Forwarded-Host.Eb-B: 1.0",
            "credentials-underscore": b"Proxy_Authorization: Basic eDp5",
        }.items()
    ],
    forwarded(
        "underscore", "RFC 9110, 5.1: an underscore is part of a token", get(b"x_a: 1"), arrives(has=(b"X_a: 1",))
    ),
    forwarded("dot", "RFC 9110, 5.1: a dot is part of a token", get(b"x.a: 1"), arrives(has=(b"X.a: 1",))),
    forwarded(
        "dash-doubled", "RFC 9110, 5.1: another name", get(b"Content--Length: 5"), arrives(has=(b"Content--Length: 5",))
    ),
    forwarded(
        "same-name-twice",
        "RFC 9110, 5.3: lines of one name keep their order",
        get(b"X-A: 1", b"x-a: 2"),
        arrives(has=(b"X-A: 1", b"X-A: 2")),
    ),
]

FLOODS = [
    refused("flood-of-headers", "RFC 6585, 5", get(*[b"X-%d: 1" % n for n in range(200)]), status=431),
    refused("flood-of-one-header", "RFC 6585, 5", get(*[b"X-A: 1"] * 5000), status=431),
    refused("flood-of-empty-headers", "RFC 6585, 5", get(*[b"X:"] * 5000), status=431),
    refused("flood-one-long-value", "RFC 6585, 5", get(b"X-A: " + b"a" * 70000), status=431),
    refused("flood-one-long-name", "RFC 6585, 5", get(b"X" * 70000 + b": 1"), status=431),
    refused("flood-long-lines", "RFC 6585, 5", get(*[b"X-%d: " % n + b"a" * 700 for n in range(100)]), status=431),
    forwarded(
        "as-many-headers-as-may-be",
        "RFC 9110, 5.4: golb's own bound",
        get(*[b"X-%d: 1" % n for n in range(199)]),
        arrives(has=(b"X-0: 1", b"X-198: 1")),
    ),
]

CASES = [*FOLDS, *NAMES, *VALUES, *ENDS, *LOOKALIKES, *FLOODS]

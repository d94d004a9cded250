"""Content-Length: what is a number and what is none, more than one, and bodies that are not as long as they say."""

from __future__ import annotations

from smuggling.case import (
    SEEN,
    SMUGGLED,
    TARGET,
    RequestCase,
    arrives,
    cut_off,
    forwarded,
    get,
    post,
    refused,
)

_ONE_NUMBER = "RFC 9110, 8.6: a length is digits and nothing else"
_ONE_LENGTH = "RFC 9112, 6.3: lengths that differ cannot be recovered from; RFC 9110, 8.6: equal ones may be refused"
_NO_WRAP = "RFC 9112, 6.3, and CWE-190: a length beyond 64 bits must not wrap round"
_SPACE = "RFC 9110, 5.5: white space around a value is no part of it"


def sent(value: bytes, body: bytes = b"hello") -> bytes:
    return post(b"Content-Length: " + value, body=body)


MALFORMED = [
    refused(f"length-{name}", _ONE_NUMBER, sent(value))
    for name, value in {
        "plus": b"+5",
        "minus": b"-5",
        "minus-zero": b"-0",
        "hex": b"0x5",
        "octal-prefix": b"0o5",
        "hex-digit": b"a",
        "point": b"5.0",
        "exponent": b"5e0",
        "underscore": b"0_5",
        "semicolon": b"5;",
        "quoted": b'"5"',
        "two-words": b"5 5",
        "word": b"five",
        "fullwidth-digit": "\uff15".encode(),
        "arabic-digit": "\u0665".encode(),
        "superscript": b"\xb2",
        "high-bit-behind": b"5\xa0",
        "nul-behind": b"5\x00",
        "nul-before": b"\x005",
        "vertical-tab-before": b"\x0b5",
        "form-feed-behind": b"5\x0c",
        "delete-behind": b"5\x7f",
        "bare-cr-behind": b"5\r",
        "bare-cr-inside": b"5\r0",
        "bare-lf-inside": b"5\n0",
        "empty": b"",
        "space": b"  ",
        "comma-behind": b"5,",
        "comma-before": b",5",
        "list": b"5, 5",
        "list-that-differs": b"5, 6",
    }.items()
]

DUPLICATES = [
    refused("lengths-equal", _ONE_LENGTH, post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    refused("lengths-differ", _ONE_LENGTH, post(b"Content-Length: 5", b"Content-Length: 0", body=b"hello")),
    refused("lengths-zero-first", _ONE_LENGTH, post(b"Content-Length: 0", b"Content-Length: 5", body=b"hello")),
    refused("lengths-in-two-cases", _ONE_LENGTH, post(b"Content-Length: 5", b"content-length: 5", body=b"hello")),
    refused("lengths-far-apart", _ONE_LENGTH, post(b"Content-Length: 5", *[b"X: 1"] * 40, b"CONTENT-LENGTH: 6")),
    refused("lengths-one-empty", _ONE_LENGTH, post(b"Content-Length: 5", b"Content-Length:", body=b"hello")),
    refused(
        "lengths-equal-in-http-1-0", _ONE_LENGTH, post(b"Content-Length: 5", b"Content-Length: 5", version=b"HTTP/1.0")
    ),
]

DISGUISED = [
    refused("length-space-before-colon", "RFC 9112, 5.1", post(b"Content-Length : 5", body=b"hello")),
    refused("length-tab-before-colon", "RFC 9112, 5.1", post(b"Content-Length\t: 5", body=b"hello")),
    refused("length-folded", "RFC 9112, 5.2", post(b"Content-Length:", b" 5", body=b"hello")),
    refused("length-folded-number", "RFC 9112, 5.2", post(b"Content-Length: 1", b"\t5", body=b"hello")),
    refused("length-behind-a-bare-lf", "RFC 9112, 2.2", post(b"X-A: 1\nContent-Length: 5", body=b"hello")),
    refused("length-behind-a-bare-cr", "RFC 9112, 2.2", post(b"X-A: 1\rContent-Length: 5", body=b"hello")),
    refused("length-without-colon", "RFC 9112, 5", post(b"Content-Length 5", body=b"hello")),
    refused("length-nul-in-name", "RFC 9110, 5.1", post(b"Content-Length\x00: 5", body=b"hello")),
    refused("length-space-in-front", "RFC 9112, 2.2 and 5.2", post(b" Content-Length: 5", body=b"hello")),
]

LARGE = [
    refused("length-2-64", _NO_WRAP, sent(b"18446744073709551616")),
    refused("length-2-64-and-5", _NO_WRAP, sent(b"18446744073709551621")),
    refused("length-of-a-hundred-nines", _NO_WRAP, sent(b"9" * 100)),
    refused("length-of-many-zeros", "golb's own bound: nobody pads a length so far", sent(b"0" * 100 + b"5")),
    cut_off(
        "length-2-32-and-5",
        _NO_WRAP,
        sent(b"4294967301", b"hello" + SMUGGLED),
        arrives(b"POST", body=b"hello" + SMUGGLED, cut=True),
    ),
    cut_off(
        "length-2-63-and-5",
        _NO_WRAP,
        sent(b"9223372036854775813", b"hello" + SMUGGLED),
        arrives(b"POST", body=b"hello" + SMUGGLED, cut=True),
    ),
    cut_off("length-2-64-less-1", _NO_WRAP, sent(b"18446744073709551615"), arrives(b"POST", body=b"hello", cut=True)),
]

ACCEPTED = [
    forwarded("length", _ONE_NUMBER, sent(b"5"), arrives(b"POST", body=b"hello")),
    forwarded("length-0", _ONE_NUMBER, sent(b"0", b""), arrives(b"POST", body=b"")),
    forwarded("length-0-then-request", _ONE_NUMBER, sent(b"0", b"") + get(), arrives(b"POST", body=b""), arrives()),
    forwarded(
        "length-leading-zeros",
        "RFC 9110, 8.6: 1*DIGIT; the endpoint gets it without them",
        sent(b"0005"),
        arrives(b"POST", body=b"hello"),
    ),
    forwarded(
        "length-zeros", "RFC 9110, 8.6: 1*DIGIT; the endpoint gets one", sent(b"000", b""), arrives(b"POST", body=b"")
    ),
    forwarded(
        "length-010-is-ten",
        "RFC 9110, 8.6: decimal, whatever it begins with",
        sent(b"010", b"hellohello"),
        arrives(b"POST", body=b"hellohello"),
    ),
    forwarded("length-space-behind", _SPACE, sent(b"5  "), arrives(b"POST", body=b"hello")),
    forwarded("length-tabs-around", _SPACE, sent(b"\t5\t"), arrives(b"POST", body=b"hello")),
    forwarded("length-no-space", _SPACE, post(b"Content-Length:5", body=b"hello"), arrives(b"POST", body=b"hello")),
    forwarded(
        "length-in-http-1-0",
        _ONE_NUMBER,
        post(b"Content-Length: 5", body=b"hello", version=b"HTTP/1.0"),
        arrives(b"POST", body=b"hello"),
        closes=True,
    ),
]

_REST_IS_NEXT = "RFC 9112, 6.3: what is behind the length is another request, or none"
MEASURED = [
    cut_off(
        "body-too-short",
        "RFC 9112, 8: a body that is not whole is no request",
        sent(b"10"),
        arrives(b"POST", body=b"hello", cut=True),
    ),
    cut_off(
        "body-missing",
        "RFC 9112, 8: a body that is not whole is no request",
        sent(b"10", b""),
        arrives(b"POST", body=b"", cut=True),
    ),
    forwarded(
        "body-then-request",
        _REST_IS_NEXT,
        sent(b"5") + get(target=TARGET + b"/b"),
        arrives(b"POST", body=b"hello"),
        arrives(target=SEEN + b"/b"),
    ),
    forwarded(
        "body-then-empty-lines",
        "RFC 9112, 2.2: old clients sent CRLF behind a body",
        sent(b"5") + b"\r\n\r\n" + get(),
        arrives(b"POST", body=b"hello"),
        arrives(),
    ),
    RequestCase(
        name="body-too-long",
        why=_REST_IS_NEXT,
        data=sent(b"5", b"hello\x00world\r\n\r\n"),
        statuses=(200, 400),
        arrivals=(arrives(b"POST", body=b"hello"),),
        closes=True,
    ),
    RequestCase(
        name="body-too-long-by-a-method",
        why=_REST_IS_NEXT,
        data=sent(b"5", b"helloG") + get(),
        statuses=(200, 400),
        arrivals=(arrives(b"POST", body=b"hello"),),
        closes=True,
    ),
    RequestCase(
        name="get-then-body-without-length",
        why=_REST_IS_NEXT,
        data=get() + b"hello=" + SMUGGLED,
        statuses=(200, 400),
        arrivals=(arrives(),),
        closes=True,
    ),
]

CASES = [*MALFORMED, *DUPLICATES, *DISGUISED, *LARGE, *ACCEPTED, *MEASURED]

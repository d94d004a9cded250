"""Where the body of an answer ends: lengths, codings, chunks, and answers that have no body."""

from __future__ import annotations

from smuggling.case import OK, POISON, TARGET, TOKEN, answer, bad, good, request

CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
CHUNKS = b"8\r\n" + TOKEN + b"\r\n" + END
HEAD = request(b"HEAD")

_ONE_NUMBER = "RFC 9110, 8.6: a length is digits and nothing else"
_ONE_LENGTH = "RFC 9112, 6.3: a proxy answers 502 and closes where lengths differ; equal ones may be refused too"
LENGTHS = [
    *[
        bad(f"answer-length-{name}", _ONE_NUMBER, answer(b"Content-Length: " + value, body=TOKEN))
        for name, value in {
            "plus": b"+8",
            "minus": b"-8",
            "hex": b"0x8",
            "empty": b"",
            "words": b"8 8",
            "list": b"8, 8",
            "comma": b"8,",
            "underscore": b"0_8",
            "point": b"8.0",
            "nul": b"8\x00",
            "bare-cr": b"8\r",
            "overflow": b"18446744073709551624",
            "fullwidth-digit": "\uff18".encode(),
        }.items()
    ],
    bad("answer-lengths-equal", _ONE_LENGTH, answer(b"Content-Length: 8", b"Content-Length: 8", body=TOKEN)),
    bad("answer-lengths-differ", _ONE_LENGTH, answer(b"Content-Length: 8", b"Content-Length: 0", body=TOKEN)),
    bad("answer-lengths-in-two-cases", _ONE_LENGTH, answer(b"Content-Length: 0", b"content-length: 8", body=TOKEN)),
    bad("answer-length-space-before-colon", "RFC 9112, 5.1", answer(b"Content-Length : 8", body=TOKEN)),
    bad("answer-length-folded", "RFC 9112, 5.2", answer(b"Content-Length:", b" 8", body=TOKEN)),
    good("answer-length", _ONE_NUMBER, OK),
    good("answer-length-leading-zeros", "RFC 9110, 8.6: 1*DIGIT", answer(b"Content-Length: 0008", body=TOKEN)),
    good("answer-length-white-space", "RFC 9110, 5.5: no part of a value", answer(b"Content-Length: \t8 ", body=TOKEN)),
    good("answer-length-0", _ONE_NUMBER, answer(b"Content-Length: 0"), body=b""),
]

_BOTH = "RFC 9112, 6.3: a length beside a coding is an error"
_CODING = "RFC 9112, 6.1: golb knows chunked and no other coding, and cannot tell where such an answer ends"
CODINGS = [
    bad("answer-cl-te", _BOTH, answer(b"Content-Length: 8", CHUNKED, body=CHUNKS)),
    bad("answer-te-cl", _BOTH, answer(CHUNKED, b"Content-Length: 8", body=CHUNKS)),
    bad("answer-te-gzip", _CODING, answer(b"Transfer-Encoding: gzip", body=TOKEN), ends=True),
    bad("answer-te-identity", _CODING, answer(b"Transfer-Encoding: identity", body=TOKEN), ends=True),
    bad("answer-te-gzip-chunked", _CODING, answer(b"Transfer-Encoding: gzip, chunked", body=CHUNKS)),
    bad("answer-te-chunked-gzip", _CODING, answer(b"Transfer-Encoding: chunked, gzip", body=CHUNKS), ends=True),
    bad("answer-te-chunked-twice", _CODING, answer(b"Transfer-Encoding: chunked, chunked", body=CHUNKS)),
    bad(
        "answer-te-on-two-lines",
        "RFC 9110, 5.3: two lines are one list, and RFC 9112, 6.1: chunked is applied once",
        answer(CHUNKED, CHUNKED, body=CHUNKS),
    ),
    bad("answer-te-empty", _CODING, answer(b"Transfer-Encoding:", body=TOKEN), ends=True),
    bad("answer-te-unknown", _CODING, answer(b"Transfer-Encoding: xchunked", body=CHUNKS), ends=True),
    bad("answer-te-parameter", _CODING, answer(b"Transfer-Encoding: chunked;q=1", body=CHUNKS), ends=True),
    bad("answer-te-high-bit", _CODING, answer(b"Transfer-Encoding: chunked\xa0", body=CHUNKS), ends=True),
    bad("answer-te-vertical-tab", "RFC 9110, 5.5", answer(b"Transfer-Encoding: \x0bchunked", body=CHUNKS)),
    bad("answer-te-space-before-colon", "RFC 9112, 5.1", answer(b"Transfer-Encoding : chunked", body=CHUNKS)),
    bad("answer-te-folded", "RFC 9112, 5.2", answer(b"Transfer-Encoding:", b" chunked", body=CHUNKS)),
    bad(
        "answer-te-in-http-1-0",
        "RFC 9112, 6.1: faulty framing",
        answer(CHUNKED, start=b"HTTP/1.0 200 OK", body=CHUNKS),
        ends=True,
    ),
    good("answer-te", "RFC 9112, 7.1", answer(CHUNKED, body=CHUNKS)),
    good(
        "answer-te-in-capitals", "RFC 9112, 7: codings have no case", answer(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKS)
    ),
]

_CHUNK = "RFC 9112, 7.1: hex digits, CRLF, so many bytes, CRLF"
CHUNKED_BODIES = [
    *[
        bad(f"answer-chunk-{name}", _CHUNK, answer(CHUNKED, body=body))
        for name, body in {
            "size-no-hex": b"g\r\n" + TOKEN + b"\r\n" + END,
            "size-minus": b"-8\r\n" + TOKEN + b"\r\n" + END,
            "size-hex-prefix": b"0x8\r\n" + TOKEN + b"\r\n" + END,
            "size-underscore": b"0_8\r\n" + TOKEN + b"\r\n" + END,
            "size-space-behind": b"8 \r\n" + TOKEN + b"\r\n" + END,
            "size-space-before": b" 8\r\n" + TOKEN + b"\r\n" + END,
            "size-empty": b"\r\n" + TOKEN + b"\r\n" + END,
            "size-overflow": b"10000000000000008\r\n" + TOKEN + b"\r\n" + END,
            "size-bare-lf": b"8\n" + TOKEN + b"\r\n" + END,
            "size-bare-cr": b"8\r" + TOKEN + b"\r\n" + END,
            "data-bare-lf": b"8\r\n" + TOKEN + b"\n" + END,
            "data-no-line-end": b"8\r\n" + TOKEN + END,
            "data-too-long": b"8\r\n" + TOKEN + b"!\r\n" + END,
            "extension-bare-lf": b"8;a\nb\r\n" + TOKEN + b"\r\n" + END,
            "extension-nul": b"8;a\x00\r\n" + TOKEN + b"\r\n" + END,
            "last-bare-lf": b"8\r\n" + TOKEN + b"\r\n0\n\n",
        }.items()
    ],
    good(
        "answer-chunk-extension",
        "RFC 9112, 7.1.1: an extension ends here",
        answer(CHUNKED, body=b"8;a=b\r\n" + TOKEN + b"\r\n0;c\r\n\r\n"),
    ),
    good(
        "answer-chunk-bad-behind-a-head-that-has-gone",
        "RFC 9112, 8: the client must see that the body broke off",
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n"),
        rest=b"-1\r\n" + POISON,
        breaks=True,
        kept=False,
    ),
    good(
        "answer-chunk-then-another-answer",
        "RFC 9112, 8: what is no chunk breaks the body off, whatever it looks like",
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n"),
        rest=POISON,
        breaks=True,
        kept=False,
    ),
]

_NO_BODY = "RFC 9112, 6.3: an answer to HEAD, 1xx, 204 and 304 end with their heads; what is behind is nobody's"
BODILESS = [
    good("answer-to-head", _NO_BODY, answer(b"Content-Length: 8"), request=HEAD, body=b""),
    good("answer-to-head-of-chunks", _NO_BODY, answer(CHUNKED), request=HEAD, body=b""),
    good("answer-to-head-with-a-body", _NO_BODY, OK, request=HEAD, body=b"", kept=False),
    good("answer-to-head-with-chunks", _NO_BODY, answer(CHUNKED, body=CHUNKS), request=HEAD, body=b"", kept=False),
    good(
        "answer-to-head-with-another-answer",
        _NO_BODY,
        answer(b"Content-Length: 8") + POISON,
        request=HEAD,
        body=b"",
        kept=False,
    ),
    good(
        "answer-to-head-with-a-late-body",
        _NO_BODY,
        answer(b"Content-Length: 8"),
        later=POISON,
        request=HEAD,
        body=b"",
        kept=False,
    ),
    good("answer-204", _NO_BODY, answer(start=b"HTTP/1.1 204 No Content"), status=204, body=b""),
    good(
        "answer-204-with-a-length",
        "RFC 9110, 8.6: 204 has no length",
        answer(b"Content-Length: 8", start=b"HTTP/1.1 204 No Content"),
        status=204,
        body=b"",
    ),
    good(
        "answer-204-with-a-body",
        _NO_BODY,
        answer(b"Content-Length: 8", start=b"HTTP/1.1 204 No Content", body=TOKEN),
        status=204,
        body=b"",
        kept=False,
    ),
    good(
        "answer-204-with-chunks",
        _NO_BODY,
        answer(CHUNKED, start=b"HTTP/1.1 204 No Content", body=CHUNKS),
        status=204,
        body=b"",
        kept=False,
    ),
    good(
        "answer-204-with-another-answer",
        _NO_BODY,
        answer(start=b"HTTP/1.1 204 No Content") + POISON,
        status=204,
        body=b"",
        kept=False,
    ),
    good(
        "answer-304", _NO_BODY, answer(b"Content-Length: 8", start=b"HTTP/1.1 304 Not Modified"), status=304, body=b""
    ),
    good(
        "answer-304-with-a-body",
        _NO_BODY,
        answer(b"Content-Length: 8", start=b"HTTP/1.1 304 Not Modified", body=TOKEN),
        status=304,
        body=b"",
        kept=False,
    ),
    good(
        "answer-304-with-another-answer",
        _NO_BODY,
        answer(start=b"HTTP/1.1 304 Not Modified") + POISON,
        status=304,
        body=b"",
        kept=False,
    ),
]

_CUT = "RFC 9112, 8: never a clean end of a cut body"
CUT = [
    good("answer-length-cut", _CUT, answer(b"Content-Length: 9", body=TOKEN), ends=True, breaks=True, kept=False),
    good("answer-length-cut-at-the-head", _CUT, answer(b"Content-Length: 9"), ends=True, breaks=True, kept=False),
    good("answer-chunk-cut", _CUT, answer(CHUNKED, body=b"9\r\n" + TOKEN), ends=True, breaks=True, kept=False),
    good(
        "answer-chunks-without-the-last",
        _CUT,
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n"),
        ends=True,
        breaks=True,
        kept=False,
    ),
    good(
        "answer-chunks-cut-in-a-size",
        _CUT,
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n1"),
        ends=True,
        breaks=True,
        kept=False,
    ),
    good(
        "answer-chunks-cut-behind-the-last",
        _CUT,
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n0\r\n"),
        ends=True,
        breaks=True,
        kept=False,
    ),
    good(
        "answer-chunks-cut-in-trailers",
        _CUT,
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n0\r\nX-A: 1\r\n"),
        ends=True,
        breaks=True,
        kept=False,
    ),
    good(
        "answer-chunks-cut-for-http-1-0",
        "a client of HTTP/1.0 sees a reset, since the end of its connection would be that of the body",
        answer(CHUNKED, body=b"8\r\n" + TOKEN + b"\r\n"),
        ends=True,
        request=request(b"GET", target=TARGET, version=b"HTTP/1.0"),
        breaks=True,
        closes=True,
        kept=False,
    ),
    good(
        "answer-until-close",
        "RFC 9112, 6.3: without a length it ends with its connection",
        answer(body=TOKEN),
        ends=True,
        kept=False,
    ),
    good(
        "answer-until-close-of-two", "RFC 9112, 6.3: all of it is body", answer(body=OK), ends=True, body=OK, kept=False
    ),
]

CASES = [*LENGTHS, *CODINGS, *CHUNKED_BODIES, *BODILESS, *CUT]

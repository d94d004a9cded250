"""Where the body of a request ends: a length and chunks at once, codings that are none, bodies where none is usual."""

from __future__ import annotations

from smuggling.case import SMUGGLED, TARGET, arrives, forwarded, get, post, refused, request

CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d"
EMPTY = b"0\r\n\r\n"
HIDDEN = EMPTY + SMUGGLED
"""For who counts chunks an empty body and a request behind it."""

_BOTH = "RFC 9112, 6.1: a length beside a coding may be an attempt to smuggle"
_UNKNOWN = "RFC 9112, 6.1: 501 to a transfer coding that is not understood"
_NOT_LAST = "RFC 9112, 6.3: chunked has to be the last coding, or the length is not known"
_NO_SPACE = "RFC 9112, 5.1: no white space between name and colon"

BOTH = [
    refused("cl-te", _BOTH, post(LENGTH % len(HIDDEN), CHUNKED, body=HIDDEN)),
    refused(
        "te-cl", _BOTH, post(CHUNKED, b"Content-Length: 4", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))
    ),
    refused("cl-0-te", _BOTH, post(b"Content-Length: 0", CHUNKED, body=HIDDEN)),
    refused("te-cl-0", _BOTH, post(CHUNKED, b"Content-Length: 0", body=HIDDEN)),
    refused("cl-te-in-get", _BOTH, get(LENGTH % len(HIDDEN), CHUNKED) + HIDDEN),
    refused("cl-te-in-capitals", _BOTH, post(LENGTH % len(HIDDEN), b"TRANSFER-ENCODING: CHUNKED", body=HIDDEN)),
    refused("cl-te-that-agree", _BOTH, post(b"Content-Length: 5", CHUNKED, body=EMPTY)),
    refused("cl-te-identity", _BOTH, post(LENGTH % len(SMUGGLED), b"Transfer-Encoding: identity", body=SMUGGLED)),
    refused("cl-te-gzip", _BOTH, post(LENGTH % len(SMUGGLED), b"Transfer-Encoding: gzip", body=SMUGGLED)),
    refused("cl-te-empty", _BOTH, post(LENGTH % len(SMUGGLED), b"Transfer-Encoding:", body=SMUGGLED)),
    refused("cl-te-far-apart", _BOTH, post(LENGTH % 6, *[b"X-%d: 1" % n for n in range(50)], CHUNKED, body=HIDDEN)),
    refused("cl-te-in-http-1-0", _BOTH, post(LENGTH % 5, CHUNKED, body=EMPTY, version=b"HTTP/1.0")),
    refused("cl-cl-te", _BOTH, post(b"Content-Length: 5", b"Content-Length: 5", CHUNKED, body=EMPTY)),
]

DISGUISED = [
    refused("te-space-before-colon", _NO_SPACE, post(b"Transfer-Encoding : chunked", body=EMPTY)),
    refused("te-tab-before-colon", _NO_SPACE, post(b"Transfer-Encoding\t: chunked", body=EMPTY)),
    refused("cl-te-space-before-colon", _NO_SPACE, post(LENGTH % 5, b"Transfer-Encoding : chunked", body=EMPTY)),
    refused(
        "te-on-a-folded-line",
        "RFC 9112, 5.2: 400 to obs-fold",
        post(b"Transfer-Encoding:", b" chunked", body=EMPTY),
    ),
    refused(
        "te-folded-behind-another-header",
        "RFC 9112, 5.2: a reader that knows no folding sees a coding",
        post(b"X-A: 1", b" Transfer-Encoding: chunked", LENGTH % 5, body=EMPTY),
    ),
    refused("te-nul-in-name", "RFC 9110, 5.1: a name is a token", post(b"Transfer-Encoding\x00: chunked", body=EMPTY)),
    refused("te-high-bit-in-name", "RFC 9110, 5.1: a name is a token", post(b"Transfer-Encoding\xa0: chunked")),
    refused("te-nul-in-value", "RFC 9110, 5.5: no NUL in a value", post(b"Transfer-Encoding: \x00chunked", body=EMPTY)),
    refused("te-vertical-tab", "RFC 9110, 5.5: no control byte", post(b"Transfer-Encoding: \x0bchunked", body=EMPTY)),
    refused(
        "te-form-feed-behind", "RFC 9110, 5.5: no control byte", post(b"Transfer-Encoding: chunked\x0c", body=EMPTY)
    ),
    refused("te-bare-cr-behind", "RFC 9112, 2.2: no bare CR", post(b"Transfer-Encoding: chunked\r", body=EMPTY)),
    refused("te-bare-cr-before", "RFC 9112, 2.2: no bare CR", post(b"Transfer-Encoding: \rchunked", body=EMPTY)),
    refused(
        "te-bare-lf-before-it",
        "RFC 9112, 2.2: a proxy may refuse a bare LF",
        post(b"X-A: 1\nTransfer-Encoding: chunked"),
    ),
    refused("te-no-colon", "RFC 9112, 5: a field has a colon", post(b"Transfer-Encoding chunked", body=EMPTY)),
    refused(
        "te-semicolon-for-colon", "RFC 9112, 5: a field has a colon", post(b"Transfer-Encoding; chunked", body=EMPTY)
    ),
]

CODINGS = [
    refused("te-unknown", _UNKNOWN, post(b"Transfer-Encoding: xchunked", body=EMPTY), status=501),
    refused("te-identity", _UNKNOWN, post(b"Transfer-Encoding: identity", body=EMPTY), status=501),
    refused("te-gzip-alone", _UNKNOWN, post(b"Transfer-Encoding: gzip", body=EMPTY), status=501),
    refused("te-gzip-chunked", _UNKNOWN, post(b"Transfer-Encoding: gzip, chunked", body=EMPTY), status=501),
    refused("te-identity-chunked", _UNKNOWN, post(b"Transfer-Encoding: identity, chunked", body=EMPTY), status=501),
    refused(
        "te-gzip-then-chunked-on-two-lines", _UNKNOWN, post(b"Transfer-Encoding: gzip", CHUNKED, body=EMPTY), status=501
    ),
    refused("te-quoted", _UNKNOWN, post(b'Transfer-Encoding: "chunked"', body=EMPTY), status=501),
    refused("te-with-parameter", _UNKNOWN, post(b"Transfer-Encoding: chunked;q=1", body=EMPTY), status=501),
    refused("te-high-bit-behind", _UNKNOWN, post(b"Transfer-Encoding: chunked\xa0", body=EMPTY), status=501),
    refused("te-two-words", _UNKNOWN, post(b"Transfer-Encoding: x chunked", body=EMPTY), status=501),
    refused("te-only-the-begin", _UNKNOWN, post(b"Transfer-Encoding: chunk", body=EMPTY), status=501),
    refused("te-chunked-identity", _NOT_LAST, post(b"Transfer-Encoding: chunked, identity", body=EMPTY)),
    refused("te-chunked-gzip", _NOT_LAST, post(b"Transfer-Encoding: chunked, gzip", body=EMPTY)),
    refused("te-te-identity-second", _NOT_LAST, post(CHUNKED, b"Transfer-Encoding: identity", body=EMPTY)),
    refused("te-te-x-second", _NOT_LAST, post(CHUNKED, b"Transfer-encoding: x", body=EMPTY)),
    refused(
        "te-chunked-twice",
        "RFC 9112, 6.1: chunked is applied once",
        post(b"Transfer-Encoding: chunked, chunked", body=EMPTY),
    ),
    refused("te-te-chunked-twice", "RFC 9112, 6.1: chunked is applied once", post(CHUNKED, CHUNKED, body=EMPTY)),
    refused("te-empty", "RFC 9112, 6.1: a coding has a name", post(b"Transfer-Encoding:", body=EMPTY)),
    refused(
        "te-in-http-1-0",
        "RFC 9112, 6.1: a coding in HTTP/1.0 is faulty framing",
        post(CHUNKED, body=EMPTY, version=b"HTTP/1.0"),
    ),
    forwarded(
        "te-in-capitals",
        "RFC 9112, 7: codings have no case",
        post(b"TRANSFER-ENCODING: CHUNKED", body=EMPTY),
        arrives(b"POST", chunked=b""),
    ),
    forwarded(
        "te-in-white-space",
        "RFC 9110, 5.5: white space around a value is no part of it; the endpoint sees none",
        post(b"Transfer-Encoding: \t chunked  ", body=EMPTY),
        arrives(b"POST", chunked=b""),
    ),
    refused(
        "te-tab-behind",
        "RFC 9112, 11.2: white space that only some readers strip; who refuses it is safe",
        post(b"Transfer-Encoding: chunked\t", body=EMPTY),
    ),
    forwarded(
        "te-without-space",
        "RFC 9112, 5: white space before a value is optional",
        post(b"Transfer-Encoding:chunked", body=EMPTY),
        arrives(b"POST", chunked=b""),
    ),
]

_BODY_IS_DATA = "RFC 9112, 6.3: whatever a body holds, it is one body"
_AS_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
BODIES = [
    *[
        forwarded(
            f"cl-0-{method.decode().lower()}",
            _BODY_IS_DATA,
            request(method, LENGTH % len(SMUGGLED), body=SMUGGLED),
            arrives(method, body=SMUGGLED),
        )
        for method in (b"GET", b"POST", b"DELETE", b"OPTIONS", b"HEAD", b"TRACE", b"PURGE")
    ],
    *[
        forwarded(
            f"te-0-{method.decode().lower()}",
            _BODY_IS_DATA,
            request(method, CHUNKED, body=_AS_CHUNK),
            arrives(method, chunked=SMUGGLED),
        )
        for method in (b"GET", b"POST", b"DELETE", b"OPTIONS", b"HEAD")
    ],
    forwarded(
        "cl-body-looks-chunked", _BODY_IS_DATA, post(LENGTH % len(HIDDEN), body=HIDDEN), arrives(b"POST", body=HIDDEN)
    ),
    forwarded(
        "te-body-looks-like-a-last-chunk",
        _BODY_IS_DATA,
        post(CHUNKED, body=b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        arrives(b"POST", chunked=EMPTY),
    ),
    forwarded(
        "no-length-no-body", "RFC 9112, 6.3: without length and coding there is no body", post(), arrives(b"POST")
    ),
    forwarded(
        "no-length-then-request",
        "RFC 9112, 6.3: what follows is the next request",
        post() + get(target=TARGET + b"/second"),
        arrives(b"POST"),
        arrives(target=b"/c0ffee00/second"),
    ),
]

CASES = [*BOTH, *DISGUISED, *CODINGS, *BODIES]

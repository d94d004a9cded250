"""The connection behind an answer: bytes that nobody has asked for, and answers that come too early."""

from __future__ import annotations

from smuggling.case import OK, POISON, SMUGGLED, TOKEN, answer, good, post, request

_NOBODYS = (
    "RFC 9112, 9.2: bytes without a request to them are no answer; the connection closes, and no client sees them"
)
_EARLY = "RFC 9112, 9.5: an endpoint that has not read the request whole still waits for the rest"
_EMPTY = "an empty line is no part of an answer, so none can come out of it: llhttp drops it"
CHUNKED_OK = answer(b"Transfer-Encoding: chunked", body=b"8\r\n" + TOKEN + b"\r\n0\r\n\r\n")

CASES = [
    good("answer-then-another", _NOBODYS, OK + POISON, kept=False),
    good("answer-then-another-later", _NOBODYS, OK, later=POISON, kept=False),
    good("answer-of-chunks-then-another", _NOBODYS, CHUNKED_OK + POISON, kept=False),
    good("answer-of-chunks-then-another-later", _NOBODYS, CHUNKED_OK, later=POISON, kept=False),
    good("answer-then-one-byte", _NOBODYS, OK + b"\x00", kept=False),
    good("answer-then-one-byte-later", _NOBODYS, OK, later=b"H", kept=False),
    good(
        "answer-then-an-empty-line",
        _EMPTY,
        OK + b"\r\n",
    ),
    good(
        "answer-then-an-empty-line-later",
        "RFC 9112, 2.2: only before requests are empty lines ignored",
        OK,
        later=b"\r\n",
        kept=False,
    ),
    good(
        "answer-of-chunks-then-an-empty-line",
        _EMPTY,
        CHUNKED_OK + b"\r\n",
    ),
    good("answer-then-part-of-a-head", _NOBODYS, OK + b"HTTP/1.1 200 OK\r\nContent-Length: ", kept=False),
    good("answer-then-continue", _NOBODYS, OK + answer(start=b"HTTP/1.1 100 Continue"), kept=False),
    good(
        "answer-then-408-later",
        "RFC 9110, 15.5.9: servers say so of a connection that was idle",
        OK,
        later=answer(b"Content-Length: 0", b"Connection: close", start=b"HTTP/1.1 408 Request Timeout"),
        kept=False,
    ),
    good("answer-longer-than-its-length", _NOBODYS, answer(b"Content-Length: 8", body=TOKEN + b"more"), kept=False),
    good("answer-empty-then-body", _NOBODYS, answer(b"Content-Length: 0", body=TOKEN), body=b"", kept=False),
    good(
        "answer-before-the-body",
        _EARLY,
        OK,
        request=post(b"Content-Length: %d" % len(POISON + SMUGGLED), body=POISON),
        at_head=True,
        request_rest=SMUGGLED,
        kept=False,
    ),
    good(
        "answer-before-the-chunks",
        _EARLY,
        OK,
        request=post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
        at_head=True,
        request_rest=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        kept=False,
    ),
    good(
        "answer-417-to-an-expectation",
        "RFC 9110, 10.1.1: whoever was not told to continue may or may not send its body",
        answer(b"Content-Length: 8", start=b"HTTP/1.1 417 Expectation Failed", body=TOKEN),
        request=post(b"Expect: 100-continue", b"Content-Length: 5"),
        at_head=True,
        status=417,
        kept=False,
        closes=True,
    ),
    good(
        "answer-200-to-an-expectation",
        "RFC 9110, 10.1.1: whoever was not told to continue may or may not send its body",
        OK,
        request=request(b"PUT", b"Expect: 100-continue", b"Content-Length: 5"),
        at_head=True,
        kept=False,
        closes=True,
    ),
]

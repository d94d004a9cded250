"""Heads of answers: status lines, versions, interim answers, and those that are none."""

from __future__ import annotations

from smuggling.case import OK, POISON, TOKEN, answer, bad, get, good

LENGTH = b"Content-Length: 8"


def started(start: bytes) -> bytes:
    return answer(LENGTH, start=start, body=TOKEN)


_LINE = "RFC 9112, 4: version, space, three digits, space, phrase"
_VERSION = "RFC 9112, 2.3: golb speaks HTTP/1.1 and HTTP/1.0"
_STATUS = "RFC 9110, 15: a status is from 100 to 599; 600 to 999 pass as what they are"
_PHRASE = "RFC 9112, 4: a client ignores the phrase; it ends here, since golb writes its own"
_HAS_NO_HEAD = "an answer without a head is HTTP/0.9, or none"
LINES = [
    *[
        bad(f"status-line-{name}", _LINE, started(line))
        for name, line in {
            "two-digits": b"HTTP/1.1 20 OK",
            "four-digits": b"HTTP/1.1 2000 OK",
            "minus": b"HTTP/1.1 -200 OK",
            "plus": b"HTTP/1.1 +200 OK",
            "hex": b"HTTP/1.1 0xc8 OK",
            "words": b"HTTP/1.1 two OK",
            "no-status": b"HTTP/1.1 OK",
            "only-version": b"HTTP/1.1",
            "space-in-status": b"HTTP/1.1 2 00 OK",
            "two-spaces": b"HTTP/1.1  200 OK",
            "tab": b"HTTP/1.1\t200 OK",
            "tab-behind-status": b"HTTP/1.1 200\tOK",
            "space-in-front": b" HTTP/1.1 200 OK",
            "bare-cr-in-phrase": b"HTTP/1.1 200 O\rX-A: 1",
            "bare-lf": b"HTTP/1.1 200 OK\nX-A: 1",
            "cr-cr-lf": b"HTTP/1.1 200 OK\r",
            "request-line": b"GET / HTTP/1.1",
        }.items()
    ],
    *[
        bad(f"version-of-answer-{name}", _VERSION, started(line))
        for name, line in {
            "2-0": b"HTTP/2.0 200 OK",
            "2": b"HTTP/2 200 OK",
            "0-9": b"HTTP/0.9 200 OK",
            "1-2": b"HTTP/1.2 200 OK",
            "11": b"HTTP/11 200 OK",
            "lower-case": b"http/1.1 200 OK",
            "leading-zero": b"HTTP/01.1 200 OK",
            "icy": b"ICY 200 OK",
            "rtsp-1-0": b"RTSP/1.0 200 OK",
            "rtsp-1-1": b"RTSP/1.1 200 OK",
            "ice": b"ICE/1.0 200 OK",
        }.items()
    ],
    bad("status-000", _STATUS, started(b"HTTP/1.1 000 None")),
    bad("status-099", _STATUS, started(b"HTTP/1.1 099 None")),
    bad("answer-of-http-0-9", _HAS_NO_HEAD, b"<html>" + TOKEN + b"</html>", ends=True),
    bad("answer-empty", _HAS_NO_HEAD, b"", ends=True),
    bad(
        "answer-cut-in-the-head",
        "RFC 9112, 8: a head that is not whole is none",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        ends=True,
    ),
    bad(
        "answer-cut-behind-a-header",
        "RFC 9112, 8: a head that is not whole is none",
        b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n",
        ends=True,
    ),
    bad("answer-of-http-2", _VERSION, b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    good("status-line-no-phrase", "RFC 9112, 4: the phrase may be empty", started(b"HTTP/1.1 200 ")),
    good(
        "status-line-high-bit-in-phrase",
        "RFC 9112, 4: obs-text; golb writes its own phrase",
        started(b"HTTP/1.1 200 \xe9"),
    ),
    good("status-line-splits-by-encoding", "golb writes its own phrase", started(b"HTTP/1.1 200 %0d%0aX-A: 1")),
    good("status-line-nul-in-phrase", _PHRASE, started(b"HTTP/1.1 200 O\x00K")),
    good("status-line-control-byte-in-phrase", _PHRASE, started(b"HTTP/1.1 200 O\x01K")),
    good("status-299", _STATUS, started(b"HTTP/1.1 299 Odd"), status=299),
    good("status-999", _STATUS, started(b"HTTP/1.1 999 Odd"), status=999),
    good("version-of-answer-1-0", "RFC 9112, 9.3: not kept", started(b"HTTP/1.0 200 OK"), kept=False),
    good(
        "version-of-answer-1-0-until-close",
        "RFC 9112, 6.3",
        answer(start=b"HTTP/1.0 200 OK", body=TOKEN),
        ends=True,
        kept=False,
    ),
    good(
        "version-of-answer-1-0-kept",
        "RFC 9112, C.2.2",
        answer(b"Connection: keep-alive", LENGTH, start=b"HTTP/1.0 200 OK", body=TOKEN),
    ),
]

UPGRADE = get(b"Connection: Upgrade", b"Upgrade: websocket")
SWITCHED = answer(b"Connection: Upgrade", b"Upgrade: websocket", start=b"HTTP/1.1 101 Switching Protocols")
_UNASKED = "RFC 9110, 15.2.2: who has not asked cannot be switched"
_INTERIM = "RFC 9110, 15.2: an interim answer has no body and is not the last"
INTERIM = [
    bad("switch-unasked", _UNASKED, SWITCHED + POISON),
    bad("switch-without-upgrade", _UNASKED, answer(start=b"HTTP/1.1 101 Switching Protocols") + POISON),
    bad("switch-with-a-length", _UNASKED, answer(LENGTH, start=b"HTTP/1.1 101 Switching Protocols", body=TOKEN)),
    good(
        "switch",
        "RFC 9110, 7.8: from here on the bytes are another protocol's",
        SWITCHED + POISON,
        ends=True,
        request=UPGRADE,
        status=101,
        body=POISON,
        has=(b"Upgrade: websocket",),
        closes=True,
        kept=False,
    ),
    good(
        "switch-to-h2c-that-only-the-client-asked-for",
        _UNASKED,
        SWITCHED.replace(b"websocket", b"h2c") + POISON,
        request=get(
            b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
        ),
        status=502,
        body=None,
        kept=False,
    ),
    good(
        "continue-unasked",
        "RFC 9110, 15.2: a proxy may drop what its client has not asked for",
        answer(start=b"HTTP/1.1 100 Continue") + OK,
    ),
    good("hints", _INTERIM, answer(start=b"HTTP/1.1 103 Early Hints") + OK, interim=(103,)),
    good("hints-often", _INTERIM, answer(start=b"HTTP/1.1 103 Early Hints") * 5 + OK, interim=(103,) * 5),
    good("interim-of-no-name", _INTERIM, answer(start=b"HTTP/1.1 199 Odd") + OK, interim=(199,)),
    good("hints-with-a-length", _INTERIM, answer(LENGTH, start=b"HTTP/1.1 103 Early Hints") + OK, interim=(103,)),
    bad(
        "hints-with-connection-close",
        "RFC 9112, 9.6: who says close sends no more; llhttp believes it of an interim answer too",
        answer(b"Connection: close", start=b"HTTP/1.1 103 Early Hints") + OK,
    ),
    good(
        "hints-with-a-coding",
        _INTERIM,
        answer(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 103 Early Hints") + OK,
        interim=(103,),
    ),
    bad("hints-of-rtsp", _VERSION, answer(start=b"RTSP/1.0 103 Early Hints") + OK),
    bad("rtsp-behind-hints", _VERSION, answer(start=b"HTTP/1.1 103 Early Hints") + started(b"RTSP/1.0 200 OK")),
    bad("continue-with-a-body", _INTERIM, answer(LENGTH, start=b"HTTP/1.1 100 Continue", body=TOKEN) + OK),
    bad("continue-and-no-more", _INTERIM, answer(start=b"HTTP/1.1 100 Continue"), ends=True),
    bad("continue-endless", "golb's own bound on heads", answer(start=b"HTTP/1.1 100 Continue") * 5000),
]

CASES = [*LINES, *INTERIM]

"""Answers out of bytes: what an endpoint may send, and what of it goes on to the client. No I/O.

httptools (llhttp, strict) refuses what is malformed; what it lets through but a proxy must not pass on is refused here.
A parser lives as long as its connection, since making one costs as much as parsing an answer. A body of known length
passes it by, and so does all of a usual answer, one whose head comes in one piece and holds nothing that a parser would have
to decide: its lines are read by `golb.header_lines`, which takes two thirds of the time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from golb.errors import UpstreamError
from golb.header_lines import UnusualError, read_lines
from golb.headers import (
    HOP_BY_HOP,
    LINE_STARTS,
    X_FINAL_HOST,
    X_FORWARDED_FOR,
    Headers,
    by_name,
    connection_options,
    droppable,
    proper_trailers,
)
from golb.memo import Memo

if TYPE_CHECKING:
    from golb.header_lines import Line

MAX_HEAD_BYTES: Final = 65536
MAX_HEADERS: Final = 200
_TOO_LONG: Final = f"the answer's head or trailers are longer than {MAX_HEAD_BYTES} bytes"

# Answers that end with their head (RFC 9112, 6.3).
_BODILESS: Final = frozenset({204, 304})
_SWITCHING_PROTOCOLS: Final = 101
_UPGRADE_REQUIRED: Final = 426
# llhttp lets 100 to 103 end with their heads, whatever those say; of any other 1xx that has a framing it reads a body.
_LAST_INTERIM_WITHOUT_BODY: Final = 103

_FRAMING: Final = (b"content-length", b"transfer-encoding")
# llhttp takes any number of zeros in front of 64 bits; a client may not.
_LENGTH_DIGITS: Final = 20
# Headers that need more than being passed on, by their name in lower case.
_SPECIAL: Final = HOP_BY_HOP | {b"content-length", X_FINAL_HOST, X_FORWARDED_FOR}
_PLAIN_NAMES: Final = by_name(lambda name: None if name.lower() in _SPECIAL else name.lower())
# What nearly every `Connection` says: nothing that names a header.
_USUAL_CONNECTIONS: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})

# Those of the special ones that a usual answer may have.
_LOOKED_AT: Final = frozenset({b"connection", b"content-length", X_FINAL_HOST, X_FORWARDED_FOR})
_LINES: Final = read_lines(_LOOKED_AT, unusual=_SPECIAL - _LOOKED_AT, start_of=LINE_STARTS.__getitem__)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t -~\x80-\xff]*\r")
_STATUS_LINE_BYTES: Final = 128


def _read_status_line(line: bytes) -> int:
    """Return the status; raises UnusualError if it says something of the body, or the line is not as usual."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None or int(match[1]) in _BODILESS:
        raise UnusualError
    return int(match[1])


_STATUSES: Final = Memo(_read_status_line, lambda line: len(line) <= _STATUS_LINE_BYTES)

# For the many answers that have none of these; never added to.
_NONE: Final[Headers] = []
_NO_LINES: Final[list[Line]] = []


class Answer:
    """One answer, as far as it has come."""

    __slots__ = (
        "body",
        "bytes_left",
        "chunked",
        "complete",
        "final_hosts",
        "forwarded_for",
        "head_request",
        "interim",
        "leftover",
        "lines",
        "parsed",
        "special",
        "status",
        "trailers",
        "until_close",
        "upgraded",
    )

    def __init__(self) -> None:
        self.head_request = False
        """It has no body, whatever its head says."""
        self.status = 0
        """Of the final answer, once its head has come; 101 included."""
        self.lines: list[Line] = _NO_LINES
        """Of a usual answer: those that may go on, that of its length the last."""
        self.parsed: Headers = _NONE
        """Of any other: its headers that may go on, as `headers` has them."""
        self.special: Headers = _NONE
        """Those of them that need a closer look, until the head is complete."""
        self.final_hosts: Headers = _NONE
        """Its X-Final-Host lines, if another load balancer has answered."""
        self.forwarded_for: Headers = _NONE
        """Its X-Forwarded-For lines, likewise."""
        self.interim: list[tuple[int, Headers]] | None = None
        """1xx answers that have come before it and have not been taken; never 101."""
        self.chunked = False
        """It comes in chunks, so trailers may follow."""
        self.upgraded = False
        """It is a proper 101."""
        self.until_close = False
        """It ends with the connection."""
        self.bytes_left: int | None = None
        """Of the body, that have not come, if its length is known."""
        self.body: list[bytes] = []
        """What has come of the body and has not been taken."""
        self.complete = False
        """All of it has come."""
        self.trailers: Headers = _NONE
        """As they may go on, once it is complete; names in lower case."""
        self.leftover = b""
        """Behind the head of a 101: the first bytes of the other protocol."""

    @property
    def headers(self) -> Headers:
        """Those that may go on, names in lower case; `content-length` among them."""
        return [line.header for line in self.lines] if self.lines else self.parsed

    def take_body(self) -> bytes:
        """Return what has come of the body."""
        body = self.body
        if len(body) == 1:
            return body.pop()
        self.body = []
        return b"".join(body)


NO_ANSWER: Final = Answer()
"""To no request; never written to."""


class AnswerReader:
    """Turns the bytes of one connection into answers, one for each `begin`."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.reusable = True
        """The connection may carry another request after this answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._parser_is_lost = False
        self._is_parsing = False
        """The answer under way has begun to go by the parser."""
        self._was_usual = True
        """The answer before had a known length, so this one is likely to be usual."""
        self._head_bytes = 0
        self._body_came = False
        self._data = b""
        """What is being parsed, from the head under way on."""
        self._refusal: UpstreamError | None = None
        """What a callback has raised; httptools raises an error of its own for it."""
        self._head_begun = bytearray()
        """What has come of that head before."""

    def begin(self, *, head_request: bool) -> Answer:
        """Make ready for the answer to a new request."""
        if self._parser_is_lost:
            self._parser = httptools.HttpResponseParser(self)
            self._parser_is_lost = False
        self._is_parsing = False
        self._head_bytes = 0
        self._body_came = False
        self.answer = answer = Answer()
        answer.head_request = head_request
        return answer

    def end(self) -> None:
        """Let go of an answer that has been used, until there is another `begin`."""
        self.answer = NO_ANSWER

    def feed(self, data: bytes) -> None:
        """Take bytes in.

        Raises:
            UpstreamError: they are no answer, or none that may be passed on.
        """
        answer = self.answer
        if not self._is_parsing:
            if answer.bytes_left is not None:
                self._take_rest(answer, data)
                return
            if self._was_usual and not answer.head_request and self._read_usual(answer, data):
                return
            self._is_parsing = True
            answer.parsed, answer.special = [], []
        self._data = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            answer.leftover = data[upgrade.args[0] :]
        except httptools.HttpParserError as exc:
            self.reusable = False
            refusal, self._refusal = self._refusal, None
            if refusal is not None:
                raise refusal from None
            if not answer.complete:
                raise UpstreamError(f"the answer is malformed: {exc}") from exc
        if not answer.complete:
            if not answer.status:
                self._head_begun += self._data
            # Between and behind the chunks of a body, their extensions and the trailers are as good as a head.
            self._head_bytes = 0 if self._body_came else self._head_bytes + len(data)
            self._body_came = False
            if self._head_bytes > MAX_HEAD_BYTES:
                raise UpstreamError(_TOO_LONG)
        self._data = b""

    def take_body(self, data: bytes) -> None:
        """Take bytes of a body that needs no parsing: at most `bytes_left` of the answer, or any `until_close`."""
        self.answer.body.append(data)
        self.pass_body(len(data))

    def pass_body(self, count: int) -> None:
        """Count bytes of such a body that go another way."""
        answer = self.answer
        if answer.bytes_left is not None:
            answer.bytes_left -= count
            answer.complete = answer.bytes_left == 0
        if self._is_parsing:
            self._parser_is_lost = True  # it waits for what has passed it by

    def _read_usual(self, answer: Answer, data: bytes) -> bool:
        """Read a usual answer's head, and what has come behind it; false, with nothing done: the parser has to."""
        head, end, body = data.partition(b"\n\r\n")
        if not end:
            return False
        lines = head.split(b"\n")
        if len(lines) - 1 > MAX_HEADERS:
            return False
        going_on: list[Line] = []
        final_hosts, forwarded_for = _NONE, _NONE
        length: Line | None = None
        reusable = True
        try:
            status = _STATUSES.get(lines[0]) or _STATUSES[lines[0]]
            for place in range(1, len(lines)):
                line = _LINES.get(lines[place]) or _LINES[lines[place]]
                name = line.name
                if not name:
                    going_on.append(line)
                elif name == b"content-length":
                    if length is not None:
                        return False
                    length = line
                elif name == b"connection":
                    reusable = reusable and line.value == b"keep-alive"
                elif name == X_FINAL_HOST:
                    final_hosts = [*final_hosts, line.header]
                else:
                    forwarded_for = [*forwarded_for, line.header]
        except UnusualError:
            return False
        if length is None:
            return False
        left = length.length - len(body)
        if left < 0:
            return False
        going_on.append(length)
        answer.lines, answer.final_hosts, answer.forwarded_for = going_on, final_hosts, forwarded_for
        if body:
            answer.body.append(body)
        answer.bytes_left = left
        answer.complete = left == 0
        answer.status = status
        self.reusable = reusable
        return True

    def _take_rest(self, answer: Answer, data: bytes) -> None:
        """Take what follows the head of a usual answer."""
        assert answer.bytes_left is not None  # noqa: S101 - the caller has looked
        if len(data) > answer.bytes_left:
            self.reusable = False  # bytes that belong to no answer
            data = data[: answer.bytes_left]
        if data:
            self.take_body(data)

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.answer.complete:  # the first byte of an answer that nobody asked for
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        answer = self.answer
        if answer.status:
            if not answer.complete:
                answer.trailers = answer.trailers or []
                answer.trailers.append((name.lower(), value))
                if len(answer.trailers) > MAX_HEADERS:
                    self._refusal = UpstreamError(f"the answer has more than {MAX_HEADERS} trailers")
                    raise self._refusal
            return
        lowered = _PLAIN_NAMES[name]
        if lowered is None:
            answer.special.append((name.lower(), value))
        else:
            answer.parsed.append((lowered, value))

    def on_headers_complete(self) -> None:
        try:
            self._take_headers()
        except UpstreamError as exc:
            self._refusal = exc
            raise

    def _take_headers(self) -> None:
        """Take note of what the head says, or refuse it."""
        answer = self.answer
        if answer.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200 and status != _SWITCHING_PROTOCOLS:
            if status < 100:
                raise UpstreamError(f"the answer's status is {status:03}")
            self._take_head()
            _check_interim(status, answer.parsed, answer.special)
            answer.interim = answer.interim or []
            answer.interim.append((status, answer.parsed))
            answer.parsed, answer.special = [], []
            return
        # Nearly all answers come with their head in one piece. To ask httptools for the version takes long.
        if self._head_bytes or self._data[:9] != b"HTTP/1.1 ":
            self._take_head()
            self._check_version(answer, parser.get_http_version())
        if self._head_bytes:  # only a head that takes several reads can be too long
            size = sum(len(name) + len(value) + 4 for name, value in answer.parsed + answer.special)
            if size > MAX_HEAD_BYTES:
                raise UpstreamError(_TOO_LONG)
            self._head_bytes = 0
        self._read_special(answer, status)
        self.reusable = parser.should_keep_alive()
        answer.upgraded = status == _SWITCHING_PROTOCOLS and parser.should_upgrade()
        answer.status = status
        self._was_usual = answer.bytes_left is not None

    def on_body(self, data: bytes) -> None:
        answer = self.answer
        if answer.complete:
            self.reusable = False  # bytes that belong to no answer
            return
        answer.body.append(data)
        self._body_came = True
        if answer.bytes_left is not None:
            answer.bytes_left -= len(data)

    def on_message_complete(self) -> None:
        answer = self.answer
        if not answer.status:
            return
        answer.complete = True
        if answer.trailers:
            if not self._parser.should_keep_alive():  # llhttp heeds a Connection among them too
                self.reusable = False
            answer.trailers = proper_trailers(answer.trailers)

    def _take_head(self) -> None:
        """Look at how a head that is complete begins, which llhttp does not tell: it takes RTSP and ICE for HTTP too."""
        head, _, rest = (self._head_begun + self._data).lstrip(b"\r\n").partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/"):
            raise UpstreamError("the answer is not HTTP")
        self._head_begun.clear()
        self._data = bytes(rest)

    def _check_version(self, answer: Answer, version: str) -> None:
        if version not in ("1.1", "1.0"):
            raise UpstreamError(f"the answer is HTTP/{version}")
        if version == "1.0" and any(name == b"transfer-encoding" for name, _ in answer.special):
            raise UpstreamError("the answer's Transfer-Encoding is not chunked")

    def _read_special(self, answer: Answer, status: int) -> None:
        """Take from the head what tells how the body is framed, and what must not go on as it is."""
        headers = answer.parsed
        if len(headers) + len(answer.special) > MAX_HEADERS:
            raise UpstreamError(f"the answer has more than {MAX_HEADERS} headers")
        length: int | None = None
        connection: list[bytes] = []
        for name, value in answer.special:
            if name == b"content-length":
                if len(value) > _LENGTH_DIGITS:
                    raise UpstreamError(f"the answer's Content-Length has more than {_LENGTH_DIGITS} digits")
                length = int(value)
                headers.append((name, value))
            elif name == b"connection":
                if value not in _USUAL_CONNECTIONS:
                    connection.append(value)
            elif name == b"transfer-encoding":
                if answer.chunked or value.strip(b" \t").lower() != b"chunked":  # RFC 9112, 6.1: once, and nothing else
                    raise UpstreamError("the answer's Transfer-Encoding is not chunked")
                answer.chunked = True
            elif name == X_FINAL_HOST:
                answer.final_hosts = [*answer.final_hosts, (name, value)]
            elif name == X_FORWARDED_FOR:
                answer.forwarded_for = [*answer.forwarded_for, (name, value)]
            elif name == b"upgrade" and status in (_SWITCHING_PROTOCOLS, _UPGRADE_REQUIRED):
                headers.append((name, value))
        if connection:
            dropped = droppable(connection_options(connection))
            answer.parsed = [(name, value) for name, value in headers if name not in dropped]
        if answer.head_request:
            answer.complete = True
            # The parser cannot know that no body follows, and would wait for it.
            self._parser_is_lost = True
        elif not answer.chunked and status not in _BODILESS and status != _SWITCHING_PROTOCOLS:
            answer.bytes_left = length
            answer.until_close = length is None


def _check_interim(status: int, headers: Headers, special: Headers) -> None:
    """Refuse an interim answer whose end llhttp and others may see in different places, or that has too many headers."""
    if len(headers) + len(special) > MAX_HEADERS:
        raise UpstreamError(f"an interim answer has more than {MAX_HEADERS} headers")
    # RFC 9112, 6.3: it ends with its head. Read as a body, what follows would become the begin of the final answer's.
    if status > _LAST_INTERIM_WITHOUT_BODY and any(name in _FRAMING for name, _ in special):
        raise UpstreamError(f"an interim answer, {status}, says that it has a body")

"""Answers that are not as usual out of bytes: what an endpoint may send, and what of it goes on to the client. No I/O.

httptools (llhttp, strict) refuses what is malformed; what it lets through but a proxy must not pass on is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools

from golb.errors import UpstreamError
from golb.headers import (
    HOP_BY_HOP,
    X_FINAL_HOST,
    X_FORWARDED_FOR,
    Headers,
    by_name,
    connection_options,
    droppable,
    proper_trailers,
)
from golb.upstream.answers import MAX_HEAD_BYTES, MAX_HEADERS, NO_ANSWER

if TYPE_CHECKING:
    from golb.upstream.answers import Answer

_TOO_LONG: Final = f"the answer's head or trailers are longer than {MAX_HEAD_BYTES} bytes"

BODILESS: Final = frozenset({204, 304})
"""The status of answers that end with their head (RFC 9112, 6.3)."""
_SWITCHING_PROTOCOLS: Final = 101
_UPGRADE_REQUIRED: Final = 426
# llhttp lets 100 to 103 end with their heads, whatever those say; of any other 1xx that has a framing it reads a body.
_LAST_INTERIM_WITHOUT_BODY: Final = 103

_FRAMING: Final = (b"content-length", b"transfer-encoding")
# llhttp takes any number of zeros in front of 64 bits; a client may not.
_LENGTH_DIGITS: Final = 20
SPECIAL: Final = HOP_BY_HOP | {b"content-length", X_FINAL_HOST, X_FORWARDED_FOR}
"""Headers that need more than being passed on, by their name in lower case."""
_PLAIN_NAMES: Final = by_name(lambda name: None if name.lower() in SPECIAL else name.lower())
# What nearly every `Connection` says: nothing that names a header.
_USUAL_CONNECTIONS: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})


class AnswerParser:
    """Parses one answer after the other of one connection, one for each `begin`."""

    def __init__(self) -> None:
        self._answer = NO_ANSWER
        self.reusable = True
        """The connection may carry another request after this answer."""
        self.is_lost = False
        """Bytes have passed it by, or are not to come: it cannot go on with another answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        """That have come of the head under way before, or of what stands between and behind the chunks of a body."""
        self._body_came = False
        """The bytes that are being parsed hold some of the body."""
        self._data = b""
        """What is being parsed, from the head under way on."""
        self._refusal: UpstreamError | None = None
        """What a callback has raised; httptools raises an error of its own for it."""
        self._head_begun = bytearray()
        """What has come of that head before."""

    def begin(self, answer: Answer) -> None:
        """Make ready for another answer."""
        answer.parsed, answer.special = [], []
        self._answer = answer
        self._head_bytes = 0
        self._body_came = False

    def end(self) -> None:
        """Let go of an answer that has been used, until there is another `begin`."""
        self._answer = NO_ANSWER

    def feed(self, data: bytes) -> None:
        """Take bytes in; raises what `AnswerReader.feed` does."""
        answer = self._answer
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

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._answer.complete:  # the first byte of an answer that nobody asked for
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        answer = self._answer
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
        answer = self._answer
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

    def on_body(self, data: bytes) -> None:
        answer = self._answer
        if answer.complete:
            self.reusable = False  # bytes that belong to no answer
            return
        answer.body.append(data)
        self._body_came = True
        if answer.bytes_left is not None:
            answer.bytes_left -= len(data)

    def on_message_complete(self) -> None:
        answer = self._answer
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
            self.is_lost = True
        elif not answer.chunked and status not in BODILESS and status != _SWITCHING_PROTOCOLS:
            answer.bytes_left = length
            answer.until_close = length is None


def _check_interim(status: int, headers: Headers, special: Headers) -> None:
    """Refuse an interim answer whose end llhttp and others may see in different places, or that has too many headers."""
    if len(headers) + len(special) > MAX_HEADERS:
        raise UpstreamError(f"an interim answer has more than {MAX_HEADERS} headers")
    # RFC 9112, 6.3: it ends with its head. Read as a body, what follows would become the begin of the final answer's.
    if status > _LAST_INTERIM_WITHOUT_BODY and any(name in _FRAMING for name, _ in special):
        raise UpstreamError(f"an interim answer, {status}, says that it has a body")

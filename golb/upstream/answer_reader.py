"""Answers out of bytes, one behind the other on one connection. No I/O.

A usual answer is one whose head comes in one piece and holds nothing that a parser would have to decide. Its lines are read by
`golb.header_lines`, which takes two thirds of the time that parsing takes, and a body of known length needs no parsing either. All
other answers go by a parser. It lives as long as its connection, since making one costs as much as parsing an answer, and is made
only where one is needed: of 1,000 endpoints, what each connection has of its own is in no processor's cache.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from golb.header_lines import UnusualError, read_lines
from golb.headers import LINE_STARTS, X_FINAL_HOST, X_FORWARDED_FOR
from golb.memo import Memo
from golb.upstream.answer_parser import BODILESS, SPECIAL, AnswerParser
from golb.upstream.answers import MAX_HEADERS, NO_ANSWER, Answer

if TYPE_CHECKING:
    from golb.header_lines import Line
    from golb.headers import Headers

# Those of the special ones that a usual answer may have.
_LOOKED_AT: Final = frozenset({b"connection", b"content-length", X_FINAL_HOST, X_FORWARDED_FOR})
_LINES: Final = read_lines(_LOOKED_AT, unusual=SPECIAL - _LOOKED_AT, start_of=LINE_STARTS.__getitem__)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t -~\x80-\xff]*\r")
_STATUS_LINE_BYTES: Final = 128


def _read_status_line(line: bytes) -> int:
    """Return the status; raises UnusualError if it says something of the body, or the line is not as usual."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None or int(match[1]) in BODILESS:
        raise UnusualError
    return int(match[1])


_STATUSES: Final = Memo(_read_status_line, lambda line: len(line) <= _STATUS_LINE_BYTES)

# For the many answers that have none; never added to.
_NONE: Final[Headers] = []


class AnswerReader:
    """Turns the bytes of one connection into answers, one for each `begin`."""

    __slots__ = ("_is_parsing", "_parser", "_was_usual", "answer", "reusable")

    def __init__(self) -> None:
        self.answer = Answer()
        self._parser: AnswerParser | None = None
        """From the first answer on that needs one."""
        self.reusable = True
        """The connection may carry another request after this answer."""
        self._is_parsing = False
        """The answer under way has begun to go by the parser."""
        self._was_usual = True
        """The answer before had a known length, so this one is likely to be usual."""

    def begin(self, *, head_request: bool) -> Answer:
        """Make ready for the answer to a new request."""
        self._is_parsing = False
        self.answer = answer = Answer()
        answer.head_request = head_request
        return answer

    def end(self) -> None:
        """Let go of an answer that has been used, until there is another `begin`."""
        self.answer = NO_ANSWER
        if self._is_parsing and self._parser is not None:
            self._parser.end()

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
            self._begin_parsing(answer)
        parser = self._parser
        assert parser is not None  # noqa: S101 - it has just been made, if there was none
        parser.feed(data)
        self.reusable = parser.reusable
        if answer.status:
            self._was_usual = answer.bytes_left is not None

    def _begin_parsing(self, answer: Answer) -> None:
        parser = self._parser
        if parser is None or parser.is_lost:
            parser = self._parser = AnswerParser()
        parser.begin(answer)
        self._is_parsing = True

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
        if self._is_parsing and self._parser is not None:
            self._parser.is_lost = True  # it waits for what has passed it by

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

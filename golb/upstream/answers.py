"""One answer of an endpoint, as far as it has come, and what it may have at most. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from golb.header_lines import Line
    from golb.headers import Headers

MAX_HEAD_BYTES: Final = 65536
"""Of a head; likewise of trailers."""
MAX_HEADERS: Final = 200
"""In a head, an interim one's included; likewise in trailers."""

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

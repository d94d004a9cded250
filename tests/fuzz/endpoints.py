"""Endpoints without sockets: one reads by another parser what golb sends, and answers as its script says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz.peers import RequestView
from fuzz.stack import ENDPOINT
from fuzz.streams import End, ScriptedStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.peers import Message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Endpoint(ScriptedStream):
    """One connection of golb's to an endpoint.

    Args:
        answer: in pieces, what it says to each request.
        end: what comes behind the answer.
        early: it answers when a request begins, not when all of it has come.
    """

    def __init__(self, answer: Sequence[bytes], end: End = End.SILENCE, *, early: bool = False) -> None:
        super().__init__([], End.SILENCE)
        self.view = RequestView()
        self._answer = answer
        self._after = end
        self._early = early
        self._answered = 0

    def take(self, data: bytes) -> None:
        self.view.feed(data)
        requests = self.view.requests
        due = sum(1 for request in requests if self._early or request.complete)
        while self._answered < due:
            self._answered += 1
            self.say(self._answer)
            self.end_with(self._after)

    def check(self) -> list[Message]:
        """Return the requests that came; each is one, whichever way it is looked at."""
        assert self.view.fault is None, f"an endpoint cannot read {bytes(self.sent)!r}: {self.view.fault}"
        assert self.closed, "a connection to an endpoint was left open"
        requests = self.view.requests
        for request in requests:
            assert request.values(b"host") == [ENDPOINT.authority.encode()]
            assert request.values(b"x-final-host") == [ENDPOINT.authority.encode()]
            assert len(request.values(b"x-forwarded-for")) == 1
            lengths, codings = request.values(b"content-length"), request.values(b"transfer-encoding")
            assert len(lengths) + len(codings) <= 1
            assert codings in ([], [b"chunked"])
            for _, value in request.headers:
                assert not set(value) & set(b"\r\n\0")
        return requests


class EchoEndpoint(Endpoint):
    """Answers each request in the plainest way."""

    def __init__(self) -> None:
        super().__init__([OK])

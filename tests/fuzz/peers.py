"""The other end's view of what golb writes, by h11: a parser that is not golb's own, and one that many peers use.

It is more lenient than golb here and there (it takes bare line feeds, say). What golb passes on must mean the same to it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import h11
from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# h11 bounds a head by itself; golb's bounds are to be met first.
_MAX_HEAD_BYTES = 1 << 20
# h11 takes 20 digits of a chunk's size; RFC 9112, 7.1 allows any number of zeros in front, and llhttp takes them.
_LONG_CHUNK_SIZE = re.compile(rb"\n0[0-9A-Fa-f]{20}")


@define
class Message:
    """A request or an answer, as far as it has come."""

    start: bytes
    """The method, or the status."""
    target: bytes
    headers: Headers
    """Names in lower case."""
    body: bytes = b""
    complete: bool = False
    trailers: Headers = field(factory=list)

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found == name]


class RequestView:
    """An endpoint's: takes what it is sent, as it comes, and answers nothing by itself."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.fault: str | None = None
        """Why what came cannot be read on."""
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        if self.fault is not None or not data:  # to h11 no bytes are the end
            return
        try:
            self._connection.receive_data(data)
            while not isinstance(event := self._connection.next_event(), type):
                if isinstance(event, h11.Request):
                    self.requests.append(Message(event.method, event.target, list(event.headers)))
                elif isinstance(event, h11.Data):
                    self.requests[-1].body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.requests[-1].complete = True
                    self.requests[-1].trailers = list(event.headers)
                    self._answer()
            if event is h11.PAUSED:
                self.fault = "behind the last request"
        except h11.RemoteProtocolError as exc:
            self.fault = str(exc)

    def _answer(self) -> None:
        connection = self._connection
        connection.send(h11.Response(status_code=404, headers=[(b"content-length", b"0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()


@frozen
class Asked:
    """A request, as far as the answer's framing depends on it."""

    method: bytes
    upgrade: bool = False


@define
class ResponseView:
    """A client's: all that it got, for the requests that it sent."""

    answers: list[Message] = field(factory=list)
    """Final ones."""
    interim: list[Message] = field(factory=list)
    fault: str | None = None
    tunnelled: bytes | None = None
    """What followed a 101."""
    rest: bytes = b""
    """What followed the last answer, or what is at fault."""


def read_responses(data: bytes, asked: Iterable[Asked], *, ended: bool) -> ResponseView:
    """Read what a client got.

    Args:
        data: all of it.
        asked: the requests, in order.
        ended: the end of the connection was an orderly one.
    """
    view = ResponseView()
    for request in asked:
        if not data:
            break
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        headers = [(b"host", b"a"), *([(b"upgrade", b"x"), (b"connection", b"upgrade")] if request.upgrade else [])]
        connection.send(h11.Request(method=request.method, target=b"/", headers=headers))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        try:
            is_over = _read_answer(connection, view)
        except h11.RemoteProtocolError as exc:
            view.fault = str(exc)
            view.rest = connection.trailing_data[0]
            return view
        if not is_over and ended:
            connection.receive_data(b"")
            with suppress(h11.RemoteProtocolError):  # the end cuts it, and the client can tell
                _read_answer(connection, view)
        data = connection.trailing_data[0]
        if connection.their_state is h11.SWITCHED_PROTOCOL:
            view.tunnelled = data
            return view
        if not is_over:
            return view
    view.rest = data
    return view


def stops_at_zeros(fault: str | None, data: bytes) -> bool:
    """Tell whether a chunk's size is all that h11 finds wrong in `data`, and it has more zeros than h11 takes."""
    return (fault or "").startswith("illegal chunk header") and _LONG_CHUNK_SIZE.search(data) is not None


def _read_answer(connection: h11.Connection, view: ResponseView) -> bool:
    """Read on in an answer; true if it has come to its end."""
    while not isinstance(event := connection.next_event(), type):
        if isinstance(event, h11.InformationalResponse):
            view.interim.append(_message(event))
        elif isinstance(event, h11.Response):
            view.answers.append(_message(event))
        elif isinstance(event, h11.Data):
            view.answers[-1].body += event.data
        elif isinstance(event, h11.EndOfMessage):
            view.answers[-1].complete = True
            view.answers[-1].trailers = list(event.headers)
            return True
        else:  # the connection has ended
            break
    return False


def _message(event: h11.Response | h11.InformationalResponse) -> Message:
    return Message(b"%d" % event.status_code, b"", list(event.headers))

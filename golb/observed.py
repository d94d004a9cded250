"""Keeps account of calls: an ASGI application around the handler, which tells observers of each call that has ended.

It stands there only if somebody wants to know: otherwise the server calls the handler itself, and nothing costs anything.
What passes is counted here; what only the handler knows it notes in `scope["golb.notes"]`, a `CallNotes`.
"""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter, time
from typing import TYPE_CHECKING

from golb.calls import TRACEPARENT, CallNotes, CallRecord, RequestIds, value_of
from golb.errors import GolbError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golb.asgi import Application, Event, Receive, ReceiveInto, Scope, Send
    from golb.calls import Observer, Tracer
    from golb.pipes import Pipe


class Observed:
    """The application, observed.

    Args:
        application: answers the calls.
        node: this node's name.
        observers: told of each call when it has ended, in this order.
        tracer: makes spans of the calls, if there is one.
    """

    def __init__(
        self, application: Application, node: str, observers: Sequence[Observer], tracer: Tracer | None = None
    ) -> None:
        self._application = application
        self.runs_in_fibers: bool = getattr(application, "runs_in_fibers", False)
        self._node = node
        self._observers = observers
        self._tracer = tracer
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer a request, and tell of it."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        trace = None if self._tracer is None else self._tracer.begin(scope["method"], scope["headers"])
        notes = CallNotes(trace)
        passing = _Passing(receive, send, scope.get("golb.receive_into"))
        scope["golb.notes"] = notes
        if passing.receive_into is not None:
            scope["golb.receive_into"] = passing.count_received_into
        began_s, began_by_counter_s = time(), perf_counter()
        try:
            await self._application(scope, passing.count_received, passing.count_sent)
        except BaseException as exc:  # a call that is cancelled is told of too
            notes.error = str(exc) or type(exc).__name__
            if isinstance(exc, Exception) and not isinstance(exc, GolbError) and not passing.status:
                passing.status = HTTPStatus.INTERNAL_SERVER_ERROR  # the server's answer to a defect
            raise
        finally:
            duration_s = perf_counter() - began_by_counter_s
            record = self._record(scope, notes, passing, began_s, began_by_counter_s, duration_s)
            if trace is not None:
                trace.end(record)
            for observer in self._observers:
                observer(record)

    def _record(
        self,
        scope: Scope,
        notes: CallNotes,
        passing: _Passing,
        began_s: float,
        began_by_counter_s: float,
        duration_s: float,
    ) -> CallRecord:
        headers, client = scope["headers"], scope["client"]
        return CallRecord(
            function=notes.function.decode("utf-8", "replace"),
            endpoint="" if notes.endpoint is None else notes.endpoint.authority,
            node=self._node,
            client=client[0] if client else "",
            method=scope["method"],
            target=_target(scope).decode("latin-1"),
            status=passing.status,
            bytes_in=passing.bytes_in,
            bytes_out=passing.bytes_out,
            began_s=began_s,
            duration_s=duration_s,
            first_byte_s=passing.answered_s - began_by_counter_s if passing.answered_s else None,
            own_s=notes.own_s,
            retries=notes.retries,
            request_id=self._request_ids.of(headers),
            traceparent=value_of(TRACEPARENT, headers),
            error=notes.error,
            path=notes.path.decode("latin-1"),
            http_version=scope["http_version"],
        )


class _Passing:
    """What passes between the application and the client of one call."""

    __slots__ = ("_receive", "_send", "answered_s", "bytes_in", "bytes_out", "receive_into", "status")

    def __init__(self, receive: Receive, send: Send, receive_into: ReceiveInto | None) -> None:
        self._receive = receive
        self._send = send
        self.receive_into = receive_into
        self.status = 0
        self.answered_s = 0.0
        self.bytes_in = 0
        self.bytes_out = 0

    async def count_received(self) -> Event:
        event = await self._receive()
        self.bytes_in += len(event.get("body", b""))
        return event

    async def count_received_into(self, pipe: Pipe) -> int:
        assert self.receive_into is not None  # noqa: S101 - otherwise the scope has none
        count = await self.receive_into(pipe)
        self.bytes_in += count
        return count

    async def count_sent(self, event: Event) -> None:
        kind = event["type"]
        if kind == "http.response.body":
            length = event["golb.pipe"].held if "golb.pipe" in event else len(event.get("body", b""))
            await self._send(event)
            self.bytes_out += length
        elif kind == "http.response.start":
            await self._send(event)
            self.status = event["status"]
            self.answered_s = perf_counter()
        else:
            await self._send(event)


def _target(scope: Scope) -> bytes:
    target: bytes | None = scope.get("golb.target")
    if target is not None:
        return target
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path

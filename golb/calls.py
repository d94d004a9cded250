"""What is known of a call, for those who keep account of calls: the access log, and traces. No I/O.

While it goes on the handler writes `CallNotes`; when it has ended, there is a `CallRecord`. `golb.observed` makes both.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from golb.errors import UpstreamError
    from golb.headers import Headers
    from golb.weights import Endpoint

X_REQUEST_ID: Final = b"x-request-id"
TRACEPARENT: Final = b"traceparent"

# What clients send may be long, and records wait in memory. UUIDs have 36 characters, ULIDs 26, traceparents 55.
_MAX_ID_CHARACTERS: Final = 128


@define
class CallRecord:
    """One call, from its head to the end of its answer. Text that came from outside stands in it as it came."""

    function: str
    """Empty: the URL calls none."""
    endpoint: str
    """`host:port` of the one that answered, or failed last; empty: none was asked."""
    node: str
    client: str
    """The peer's address, without its port."""
    method: str
    target: str
    """Path and query, byte for byte."""
    status: int
    """Of the answer; 0: there was none, since the client, or its request's body, did not come to its end."""
    bytes_in: int
    """Of the request's body, as far as it was read."""
    bytes_out: int
    """Of the answer's body, as far as it was sent."""
    began_s: float
    """Unix seconds: when the request's head was there."""
    duration_s: float
    """From then to the end of the answer."""
    first_byte_s: float | None
    """From then to the begin of the answer; None: there was none."""
    own_s: float | None
    """Golb's own share of the duration; None where it is not measured."""
    retries: int
    """Endpoints that were asked again, after others had failed."""
    request_id: str
    """As `RequestIds.of` has it."""
    traceparent: str | None
    """As it was received."""
    error: str | None
    """Why the call failed; None: it did not."""
    path: str
    """The chain of X-Forwarded-For as the endpoint got it: the nodes so far, this one, and who called each; empty: none was
    asked."""
    http_version: str = "1.1"


if TYPE_CHECKING:
    Observer = Callable[[CallRecord], None]
    """Called at the end of each call. It must return at once, and raises nothing."""


class Trace(Protocol):
    """The spans of one call; see `golb.tracing`."""

    def ask(self, endpoint: Endpoint, target: bytes, lines: list[bytes]) -> None:
        """Begin the span of a call to an endpoint; `lines`, of the head it gets, tell it the span."""

    def fail(self, exc: UpstreamError) -> None:
        """End that span: the endpoint has failed."""

    def end(self, record: CallRecord) -> None:
        """End all that has not ended."""


class Tracer(Protocol):
    """Makes the spans of all calls."""

    def begin(self, method: str, headers: Headers) -> Trace:
        """Begin with a call."""


class CallNotes:
    """What only the handler knows of a call, under `golb.notes` in the scope; not there if nobody keeps account."""

    __slots__ = ("endpoint", "error", "function", "own_s", "path", "retries", "trace")

    def __init__(self, trace: Trace | None) -> None:
        self.trace = trace
        self.function = b""
        """As it stands in the URL."""
        self.endpoint: Endpoint | None = None
        """The one that was asked last."""
        self.retries = 0
        self.path = b""
        self.own_s: float | None = None
        self.error: str | None = None
        """Why golb answered in the endpoint's place."""

    def ask(self, endpoint: Endpoint, target: bytes, path: bytes, lines: list[bytes]) -> None:
        """Take note of an endpoint that is about to be asked.

        Args:
            endpoint: which one.
            target: as it gets it.
            path: the value of X-Forwarded-For for it.
            lines: of the head for it, as `RequestHeaders` has them; where calls are traced, its `traceparent` is replaced.
        """
        if self.endpoint is not None:
            self.retries += 1
        self.endpoint = endpoint
        self.path = path
        if self.trace is not None:
            self.trace.ask(endpoint, target, lines)

    def fail(self, exc: UpstreamError) -> None:
        """Take note that it has failed."""
        if self.trace is not None:
            self.trace.fail(exc)


class RequestIds:
    """Names for calls: the client's own, or one that no other call has, whichever golb made it."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)

    def of(self, headers: Iterable[Any]) -> str:
        """Return the value of X-Request-Id, at most 128 characters of it, else a new name; header names in lower case."""
        return value_of(X_REQUEST_ID, headers) or f"{self._prefix}-{next(self._numbers)}"


def value_of(name: bytes, headers: Iterable[Any]) -> str | None:
    """Return the first value of a header, at most 128 characters of it; all names in lower case."""
    for found, value in headers:
        if found == name:
            text: str = value[:_MAX_ID_CHARACTERS].decode("latin-1")
            return text
    return None

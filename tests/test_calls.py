"""The names of calls, and the notes that a handler takes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golb.calls import CallNotes, RequestIds, value_of
from golb.errors import UpstreamError
from golb.weights import Endpoint

if TYPE_CHECKING:
    from golb.calls import CallRecord

ONE, OTHER = Endpoint("10.42.0.5", 8080), Endpoint("10.42.0.6", 8080)


class SpyTrace:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def ask(self, endpoint: Endpoint, target: bytes, lines: list[bytes]) -> None:
        self.told.append(("ask", endpoint, target))
        lines += [b"\r\nTraceparent: ", b"x"]

    def fail(self, exc: UpstreamError) -> None:
        self.told.append(("fail", exc))

    def end(self, record: CallRecord) -> None:
        self.told.append(("end", record))


def test_a_call_keeps_the_name_that_its_client_gave_it() -> None:
    assert RequestIds().of([(b"host", b"golb"), (b"x-request-id", b"order-7")]) == "order-7"


def test_a_name_that_is_very_long_is_cut() -> None:
    assert RequestIds().of([(b"x-request-id", b"x" * 32_000)]) == "x" * 128


def test_calls_without_a_name_get_one_that_no_other_call_has() -> None:
    names = {ids.of(headers) for ids in (RequestIds(), RequestIds()) for headers in ([], [(b"x-request-id", b"")])}
    assert len(names) == 4


def test_a_headers_first_value_is_found_whatever_its_bytes() -> None:
    headers = [(b"a", b"1"), (b"traceparent", b"\xff"), (b"traceparent", b"2")]
    assert value_of(b"traceparent", headers) == "\xff"
    assert value_of(b"b", headers) is None


def test_each_endpoint_that_is_asked_after_the_first_is_a_retry() -> None:
    notes = CallNotes(None)
    assert (notes.endpoint, notes.retries) == (None, 0)
    notes.ask(ONE, b"/", b"eb-a, 10.0.0.7", [])
    assert (notes.endpoint, notes.retries, notes.path) == (ONE, 0, b"eb-a, 10.0.0.7")
    notes.fail(UpstreamError("reset"))
    notes.ask(OTHER, b"/", b"eb-a, 10.0.0.7", [])
    assert (notes.endpoint, notes.retries) == (OTHER, 1)


def test_a_trace_is_told_of_each_endpoint_and_of_each_failure() -> None:
    trace, lines, failure = SpyTrace(), [b"\r\nHost: ", b"golb"], UpstreamError("reset")
    notes = CallNotes(trace)
    notes.ask(ONE, b"/x", b"", lines)
    notes.fail(failure)
    assert trace.told == [("ask", ONE, b"/x"), ("fail", failure)]
    assert lines[2:] == [b"\r\nTraceparent: ", b"x"]

"""What is measured of each function, and of each endpoint of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golb.admin.families import Family, HistogramFamily, Report, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _one(member: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        yield (), report[member]

    return rows


def _count(member: str) -> Callable[[Report], Iterator[Row]]:
    """Return the row of a counter, once it has counted."""

    def rows(report: Report) -> Iterator[Row]:
        if report[member]:
            yield (), report[member]

    return rows


def _counts(member: str) -> Callable[[Report], Iterator[Row]]:
    """Return the rows of several counters, each under its name, once it has counted."""

    def rows(report: Report) -> Iterator[Row]:
        for name, count in report[member].items():
            if count:
                yield (name,), count

    return rows


def _while_called(member: str) -> Callable[[Report], Iterator[Row]]:
    """Return the row of a gauge that is of no interest before the first call."""

    def rows(report: Report) -> Iterator[Row]:
        counts = (*report["responses"].values(), *report["refused"].values(), report["broken"], report["gone"])
        if report["in_flight"] or report["waiting"] or any(counts):
            yield (), int(report[member])

    return rows


def _updated(report: Report) -> Iterator[Row]:
    if report["updated_s"] is not None:
        yield (), report["updated_s"]


def _bytes(report: Report) -> Iterator[Row]:
    for direction, member in (("in", "bytes_in"), ("out", "bytes_out")):
        if report[member]:
            yield (direction,), report[member]


def _resting(report: Report) -> Iterator[Row]:
    yield (), int(report["state"] == "resting")


FUNCTION_FAMILIES = (
    Family(
        "counter",
        "golb_requests",
        "Answers to calls that went to an endpoint, golb's own 502 and 504 among them, by status class.",
        _counts("responses"),
        ("code",),
    ),
    Family(
        "counter",
        "golb_requests_refused",
        "Calls that golb answered itself, without an endpoint: no_endpoint and overloaded by 503, loop by 508.",
        _counts("refused"),
        ("reason",),
    ),
    Family("counter", "golb_requests_broken", "Answers that broke off.", _count("broken")),
    Family("counter", "golb_requests_gone", "Calls whose client went away first.", _count("gone")),
    HistogramFamily(
        "golb_request_duration_seconds",
        "From a request's head to its answer's end.",
        "duration",
    ),
    HistogramFamily(
        "golb_request_first_byte_seconds",
        "From a request's head to its answer's head.",
        "first_byte",
    ),
    HistogramFamily(
        "golb_request_own_seconds",
        "What golb itself has taken of a call.",
        "own",
    ),
    Family("gauge", "golb_in_flight", "Calls under way.", _while_called("in_flight")),
    Family("gauge", "golb_waiting", "Calls that wait for a place or an endpoint.", _while_called("waiting")),
    Family(
        "gauge",
        "golb_panicking",
        "Whether so much of the function's weight rests that rests are cut short.",
        _while_called("panicking"),
    ),
    Family(
        "gauge",
        "golb_weights_updated_timestamp_seconds",
        "When the weights in force were taken.",
        _updated,
    ),
)

ENDPOINT_FAMILIES = (
    Family("gauge", "golb_weight", "The configured weight.", _one("weight")),
    Family(
        "gauge",
        "golb_weight_share",
        "The configured share of the function's calls, of 1; golb_endpoint_calls_total has the observed one.",
        _one("share"),
    ),
    Family("counter", "golb_endpoint_calls", "Calls sent to it.", _count("calls")),
    Family(
        "counter",
        "golb_endpoint_responses",
        "Its answers that reached clients, by status class.",
        _counts("responses"),
        ("code",),
    ),
    Family(
        "counter",
        "golb_endpoint_failures",
        "Calls that it has failed.",
        _count("failures"),
    ),
    Family(
        "counter",
        "golb_endpoint_retries",
        "Calls sent to it after another endpoint had failed them.",
        _count("retries"),
    ),
    Family(
        "counter",
        "golb_endpoint_bytes",
        "Bytes of bodies, in: of requests to it, out: of answers from it.",
        _bytes,
        ("direction",),
    ),
    Family("gauge", "golb_endpoint_in_flight", "Calls under way to it.", _one("in_flight")),
    Family("gauge", "golb_endpoint_resting", "Whether it rests since it failed.", _resting),
)

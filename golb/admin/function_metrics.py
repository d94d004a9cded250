"""What is measured of each function, and of each endpoint of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golb.admin.families import Family, HistogramFamily, Report, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FUNCTION = ("function",)
_ENDPOINT = ("function", "endpoint")


def _responses(report: Report) -> Iterator[Row]:
    for code, count in report["responses"].items():
        if count:
            yield (report["function"], code), count


def _refused(report: Report) -> Iterator[Row]:
    for reason, count in report["refused"].items():
        if count:
            yield (report["function"], reason), count


def _count(member: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        if report[member]:
            yield (report["function"],), report[member]

    return rows


def _while_called(member: str) -> Callable[[Report], Iterator[Row]]:
    """Return the rows of a gauge that is of no interest before the first call."""

    def rows(report: Report) -> Iterator[Row]:
        counts = (*report["responses"].values(), *report["refused"].values(), report["broken"], report["gone"])
        if report["in_flight"] or report["waiting"] or any(counts):
            yield (report["function"],), int(report[member])

    return rows


def _updated(report: Report) -> Iterator[Row]:
    if report["updated_s"] is not None:
        yield (report["function"],), report["updated_s"]


def _of_endpoints(member: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        for endpoint in report["endpoints"]:
            yield (report["function"], endpoint["endpoint"]), endpoint[member]

    return rows


def _counts_of_endpoints(member: str) -> Callable[[Report], Iterator[Row]]:
    def rows(report: Report) -> Iterator[Row]:
        for endpoint in report["endpoints"]:
            if endpoint[member]:
                yield (report["function"], endpoint["endpoint"]), endpoint[member]

    return rows


def _endpoint_responses(report: Report) -> Iterator[Row]:
    for endpoint in report["endpoints"]:
        for code, count in endpoint["responses"].items():
            if count:
                yield (report["function"], endpoint["endpoint"], code), count


def _endpoint_bytes(report: Report) -> Iterator[Row]:
    for endpoint in report["endpoints"]:
        for direction, member in (("in", "bytes_in"), ("out", "bytes_out")):
            if endpoint[member]:
                yield (report["function"], endpoint["endpoint"], direction), endpoint[member]


def _endpoints_resting(report: Report) -> Iterator[Row]:
    for endpoint in report["endpoints"]:
        yield (report["function"], endpoint["endpoint"]), int(endpoint["state"] == "resting")


FUNCTION_FAMILIES = (
    Family(
        "counter",
        "golb_requests",
        "Answers to calls that went to an endpoint, golb's own 502 and 504 among them, by status class.",
        ("function", "code"),
        _responses,
    ),
    Family(
        "counter",
        "golb_requests_refused",
        "Calls that golb answered itself, without an endpoint: no_endpoint and overloaded by 503, loop by 508.",
        ("function", "reason"),
        _refused,
    ),
    Family("counter", "golb_requests_broken", "Answers that broke off.", _FUNCTION, _count("broken")),
    Family("counter", "golb_requests_gone", "Calls whose client went away first.", _FUNCTION, _count("gone")),
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
    Family("gauge", "golb_in_flight", "Calls under way.", _FUNCTION, _while_called("in_flight")),
    Family("gauge", "golb_waiting", "Calls that wait for a place or an endpoint.", _FUNCTION, _while_called("waiting")),
    Family(
        "gauge",
        "golb_panicking",
        "Whether so much of the function's weight rests that rests are cut short.",
        _FUNCTION,
        _while_called("panicking"),
    ),
    Family(
        "gauge",
        "golb_weights_updated_timestamp_seconds",
        "When the weights in force were taken.",
        _FUNCTION,
        _updated,
    ),
)

ENDPOINT_FAMILIES = (
    Family("gauge", "golb_weight", "The configured weight.", _ENDPOINT, _of_endpoints("weight")),
    Family(
        "gauge",
        "golb_weight_share",
        "The configured share of the function's calls, of 1; golb_endpoint_calls_total has the observed one.",
        _ENDPOINT,
        _of_endpoints("share"),
    ),
    Family("counter", "golb_endpoint_calls", "Calls sent to it.", _ENDPOINT, _counts_of_endpoints("calls")),
    Family(
        "counter",
        "golb_endpoint_responses",
        "Its answers that reached clients, by status class.",
        (*_ENDPOINT, "code"),
        _endpoint_responses,
    ),
    Family(
        "counter",
        "golb_endpoint_failures",
        "Calls that it has failed.",
        _ENDPOINT,
        _counts_of_endpoints("failures"),
    ),
    Family(
        "counter",
        "golb_endpoint_retries",
        "Calls sent to it after another endpoint had failed them.",
        _ENDPOINT,
        _counts_of_endpoints("retries"),
    ),
    Family(
        "counter",
        "golb_endpoint_bytes",
        "Bytes of bodies, in: of requests to it, out: of answers from it.",
        (*_ENDPOINT, "direction"),
        _endpoint_bytes,
    ),
    Family("gauge", "golb_endpoint_in_flight", "Calls under way to it.", _ENDPOINT, _of_endpoints("in_flight")),
    Family("gauge", "golb_endpoint_resting", "Whether it rests since it failed.", _ENDPOINT, _endpoints_resting),
)

"""What is counted of calls: by function, by endpoint of a function, and how long they took. No I/O and no clock.

Rule: to count a call costs a microsecond, whoever reads the counts. They only grow, and whoever wants a rate takes the
difference of two readings. What is read is lists and dicts, which another process could send and add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

# Upper bounds, in seconds.
DURATION_BOUNDS_S: Final[tuple[float, ...]] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
OWN_BOUNDS_S: Final[tuple[float, ...]] = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    1.0,
)


class Histogram:
    """How many durations lie between bounds, and their sum."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        """Each up to the bound of its place and above the one before; the last one beyond all."""
        self.sum_s = 0.0

    def count(self, seconds: float) -> None:
        """Count a duration."""
        # Most are short. Compiled, this takes a third of what a call of `bisect` takes.
        place = 0
        for bound_s in self.bounds_s:
            if seconds <= bound_s:
                break
            place += 1
        self.counts[place] += 1
        self.sum_s += seconds

    def report(self) -> dict[str, Any]:
        return {"bounds_s": list(self.bounds_s), "counts": self.counts.copy(), "sum_s": self.sum_s}


class EndpointStats:
    """What was counted of the calls of one function to one endpoint."""

    __slots__ = ("bytes_in", "bytes_out", "calls", "failures", "responses", "retries")

    def __init__(self) -> None:
        self.calls = 0
        """Sent to it, or meant to be."""
        self.retries = 0
        """Of these, those that another endpoint had failed."""
        self.failures = 0
        """Of these, those that it has failed."""
        self.responses = [0] * 10
        """Its answers that reached the client, by the first digit of their status."""
        self.bytes_in = 0
        """Bodies to it."""
        self.bytes_out = 0
        """Bodies from it."""

    def report(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "retries": self.retries,
            "failures": self.failures,
            "responses": by_class(self.responses),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


class FunctionStats:
    """What was counted of the calls of one function."""

    __slots__ = (
        "broken",
        "by_endpoint",
        "duration",
        "first_byte",
        "gone",
        "loops",
        "no_endpoint",
        "overloaded",
        "own",
        "responses",
    )

    def __init__(self) -> None:
        self.responses = [0] * 10
        """Those that went to an endpoint, golb's own 502 and 504 among them, by the first digit of their status."""
        self.duration = Histogram(DURATION_BOUNDS_S)
        """From a request's head to its answer's end."""
        self.first_byte = Histogram(DURATION_BOUNDS_S)
        """From a request's head to its answer's head."""
        self.own = Histogram(OWN_BOUNDS_S)
        """What golb itself has taken: until the request was sent, and to pass an answer on that came in one piece."""
        self.by_endpoint: dict[Hashable, EndpointStats] = {}
        self.broken = 0
        """Answers that broke off."""
        self.gone = 0
        """Clients that went away first."""
        self.no_endpoint = 0
        self.overloaded = 0
        self.loops = 0

    def endpoint(self, endpoint: Hashable) -> EndpointStats:
        """Return the counts of an endpoint, which begin at 0."""
        found = self.by_endpoint.get(endpoint)
        if found is None:
            found = self.by_endpoint[endpoint] = EndpointStats()
        return found

    def keep_only(self, endpoints: Iterable[Any]) -> None:
        """Forget the endpoints that are gone."""
        self.by_endpoint = {one: self.by_endpoint[one] for one in endpoints if one in self.by_endpoint}

    def count(self, status: int, duration_s: float, first_byte_s: float, own_s: float) -> None:
        """Count an answer that an endpoint gave; all in seconds."""
        self.responses[status // 100] += 1
        self.duration.count(duration_s)
        self.first_byte.count(first_byte_s)
        self.own.count(own_s)

    def report(self) -> dict[str, Any]:
        return {
            "responses": by_class(self.responses),
            "refused": {"no_endpoint": self.no_endpoint, "overloaded": self.overloaded, "loop": self.loops},
            "broken": self.broken,
            "gone": self.gone,
            "duration": self.duration.report(),
            "first_byte": self.first_byte.report(),
            "own": self.own.report(),
        }


def by_class(counts: list[int]) -> dict[str, int]:
    """Return counts by status class, from counts by a status's first digit; beyond 599 is as good as 5xx (RFC 9110, 15)."""
    _, of_1xx, of_2xx, of_3xx, of_4xx, *beyond = counts
    return {"1xx": of_1xx, "2xx": of_2xx, "3xx": of_3xx, "4xx": of_4xx, "5xx": sum(beyond)}

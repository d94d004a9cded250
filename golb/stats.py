"""What is counted of calls: by function, by endpoint of a function, and how long they took. No I/O and no clock.

Rule: to count a call costs a microsecond, whoever reads the counts. They only grow, and whoever wants a rate takes the
difference of two readings. What is read is lists and dicts, which another process could send and add up.
"""

from __future__ import annotations

from typing import Any, Final

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


# What is counted of a function's calls stands in one list. Each place of the three histograms is a row, and the rows go down
# from the responses, the shortest durations last, so that what most calls count lies together; the responses are at the end, so
# that what is no status has no place.
_DURATION: Final = 0
_FIRST_BYTE: Final = 1
_OWN: Final = 2
_ROW: Final = 3
_RESPONSES: Final = _ROW * (len(DURATION_BOUNDS_S) + 1)
_SHORTEST: Final = _RESPONSES - _ROW
# The counts of all functions that have not been called, of which there may be 100,000; never added to.
_NOTHING: Final = [0] * (_RESPONSES + 10)

# Of many functions nothing is in the processor's cache when one is called. So answers are noted in one number beside the sums,
# and only each fourth call looks at the list, to enter them. Each has three bits for the first digit of its status and four for
# its place in each histogram; what needs more is entered at once. A one stands above the first. Four fill a number that takes no
# memory of its own.
_PLACE_BITS: Final = 4
_MOST_PLACE: Final = (1 << _PLACE_BITS) - 1
_MOST_DIGIT: Final = 7
_ANSWER_BITS: Final = 3 + 3 * _PLACE_BITS
_NOTHING_NOTED: Final = 1
_FULL: Final = 1 << 4 * _ANSWER_BITS


def _place(seconds: float, bounds_s: tuple[float, ...]) -> int:
    """Return which of a histogram's counts a duration adds to: the first whose bound it does not exceed, or the last."""
    # Most are short. Compiled, this takes a third of what a call of `bisect` takes.
    place = 0
    for bound_s in bounds_s:
        if seconds <= bound_s:
            break
        place += 1
    return place


def _report(counts: list[int], bounds_s: tuple[float, ...], sum_s: float) -> dict[str, Any]:
    """Tell how many durations lie up to each bound and above the one before, the last ones beyond all, and their sum."""
    return {"bounds_s": list(bounds_s), "counts": counts, "sum_s": sum_s}


class Histogram:
    """How many durations lie between bounds, and their sum."""

    __slots__ = ("_bounds_s", "_counts", "_sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def count(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[_place(seconds, self._bounds_s)] += 1
        self._sum_s += seconds

    def report(self) -> dict[str, Any]:
        return _report(self._counts.copy(), self._bounds_s, self._sum_s)


class EndpointStats:
    """What was counted of the calls of one function to one endpoint.

    Args:
        endpoint: that one, as the caller has it; not looked at here.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "calls",
        "endpoint",
        "failures",
        "of_1xx",
        "of_2xx",
        "of_3xx",
        "of_4xx",
        "of_5xx",
        "retries",
    )

    def __init__(self, endpoint: Any) -> None:
        # With eleven attributes this takes two lines of the processor's cache; what is looked at for most calls fills the first.
        self.endpoint = endpoint
        self.calls = 0
        """Sent to it, or meant to be."""
        self.of_2xx = 0
        self.bytes_in = 0
        """Bodies to it."""
        self.bytes_out = 0
        """Bodies from it."""
        self.retries = 0
        """Of the calls, those that another endpoint had failed."""
        self.failures = 0
        """Of the calls, those that it has failed."""
        self.of_1xx = self.of_3xx = self.of_4xx = self.of_5xx = 0
        """With `of_2xx`: its answers that reached the client, by their status; beyond 599 is as good as 5xx (RFC 9110, 15)."""

    def count(self, status: int) -> None:
        """Count an answer."""
        if status < 200:
            self.of_1xx += 1
        elif status < 300:
            self.of_2xx += 1
        elif status < 400:
            self.of_3xx += 1
        elif status < 500:
            self.of_4xx += 1
        else:
            self.of_5xx += 1

    def report(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "retries": self.retries,
            "failures": self.failures,
            "responses": {
                "1xx": self.of_1xx,
                "2xx": self.of_2xx,
                "3xx": self.of_3xx,
                "4xx": self.of_4xx,
                "5xx": self.of_5xx,
            },
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


class FunctionStats:
    """What was counted of the calls of one function."""

    __slots__ = (
        "_counts",
        "_duration_s",
        "_first_byte_s",
        "_noted",
        "_own_s",
        "broken",
        "gone",
        "loops",
        "no_endpoint",
        "overloaded",
    )

    def __init__(self) -> None:
        # What each answer looks at comes first, for the processor's cache.
        self._noted = _NOTHING_NOTED
        """The last answers, three at most, which have not been entered into the counts."""
        self._duration_s = self._first_byte_s = self._own_s = 0.0
        """The sums of the durations, of all answers."""
        self._counts = _NOTHING
        """Of durations, and of responses by the first digit of their status. A list of its own from the first entry on."""
        self.broken = 0
        """Answers that broke off."""
        self.gone = 0
        """Clients that went away first."""
        self.no_endpoint = 0
        self.overloaded = 0
        self.loops = 0

    def count(self, status: int, duration_s: float, first_byte_s: float, own_s: float) -> None:
        """Count the answer to a call that went to an endpoint.

        Args:
            status: of the answer, golb's own 502 and 504 among them.
            duration_s: from the request's head to the answer's end, in seconds.
            first_byte_s: from the request's head to the answer's head, in seconds.
            own_s: what golb itself has taken, in seconds: until the request was sent, and to pass an answer on that came in one piece.

        Raises:
            IndexError: the status has more than three digits; nothing is counted.
        """
        digit = status // 100
        duration = _place(duration_s, DURATION_BOUNDS_S)
        first_byte = _place(first_byte_s, DURATION_BOUNDS_S)
        own = _place(own_s, OWN_BOUNDS_S)
        if digit > _MOST_DIGIT or duration > _MOST_PLACE or first_byte > _MOST_PLACE:
            self._enter(digit, duration, first_byte, own)
        else:
            places = (duration << _PLACE_BITS | first_byte) << _PLACE_BITS | own
            self._noted = self._noted << _ANSWER_BITS | digit << 3 * _PLACE_BITS | places
            if self._noted >= _FULL:
                self._enter_noted()
        self._duration_s += duration_s
        self._first_byte_s += first_byte_s
        self._own_s += own_s

    def _enter_noted(self) -> None:
        """Enter the answers that have been noted."""
        noted = self._noted
        while noted > _NOTHING_NOTED:
            digit = noted >> 3 * _PLACE_BITS & _MOST_DIGIT
            self._enter(
                digit, noted >> 2 * _PLACE_BITS & _MOST_PLACE, noted >> _PLACE_BITS & _MOST_PLACE, noted & _MOST_PLACE
            )
            noted >>= _ANSWER_BITS
        self._noted = _NOTHING_NOTED

    def _enter(self, digit: int, duration: int, first_byte: int, own: int) -> None:
        """Enter an answer into the counts: the first digit of its status, and its places in the histograms."""
        counts = self._counts
        if counts is _NOTHING:
            counts = self._counts = _NOTHING.copy()
        counts[_RESPONSES + digit] += 1
        counts[_SHORTEST + _DURATION - _ROW * duration] += 1
        counts[_SHORTEST + _FIRST_BYTE - _ROW * first_byte] += 1
        counts[_SHORTEST + _OWN - _ROW * own] += 1

    def report(self) -> dict[str, Any]:
        self._enter_noted()
        return {
            "responses": _by_class(self._counts[_RESPONSES:]),
            "refused": {"no_endpoint": self.no_endpoint, "overloaded": self.overloaded, "loop": self.loops},
            "broken": self.broken,
            "gone": self.gone,
            "duration": self._histogram(_DURATION, DURATION_BOUNDS_S, self._duration_s),
            "first_byte": self._histogram(_FIRST_BYTE, DURATION_BOUNDS_S, self._first_byte_s),
            "own": self._histogram(_OWN, OWN_BOUNDS_S, self._own_s),
        }

    def _histogram(self, which: int, bounds_s: tuple[float, ...], sum_s: float) -> dict[str, Any]:
        places = self._counts[_SHORTEST + which :: -_ROW]
        return _report(places[: len(bounds_s) + 1], bounds_s, sum_s)


def _by_class(counts: list[int]) -> dict[str, int]:
    """Return counts by status class, from counts by a status's first digit; beyond 599 is as good as 5xx (RFC 9110, 15)."""
    _, of_1xx, of_2xx, of_3xx, of_4xx, *beyond = counts
    return {"1xx": of_1xx, "2xx": of_2xx, "3xx": of_3xx, "4xx": of_4xx, "5xx": sum(beyond)}

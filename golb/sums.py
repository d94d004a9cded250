"""What several worker processes tell, as if one process told it; golb/handlers/reports.py has the form. No I/O and no clock.

Rule: counters only grow, though a worker that is replaced begins at 0 and one that hangs tells nothing: whatever a worker
has told last stays part of the sum. As in one process, the counts of a function go when it is deleted, and those of an
endpoint when it leaves its function.

Counts are added up as tuples, in a fixed order: one for a function, and one for each of its endpoints.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Report = dict[str, Any]
Counts = tuple[float, ...]
Parts = dict[str, Counts]
"""The counts of a function under `_WHOLE`, and those of its endpoints under their names."""

_WHOLE = ""
_NOTHING: Parts = {}
_HISTOGRAMS = ("duration", "first_byte", "own")
_TOTAL_COUNTERS = ("unknown_function", "no_function_call", "rests_begun")
_TOTAL_GAUGES = ("in_flight", "waiting", "held")
_TRY_COUNTERS = ("begun", "exhausted")
_CONNECTION_COUNTERS = ("accepted", "delayed", "closed_for_room")
_CONNECTION_GAUGES = ("limit", "open")
# No function has a name with a slash.
_TOTALS, _CONNECTIONS = "/totals", "/connections"


def sum_reports(reports: Sequence[Report], more: Parts = _NOTHING) -> Report:
    """Return what workers (1 at least) tell of one function, summed.

    Args:
        reports: theirs. What is configured is as the first one has it, the revision is the one that all have reached.
        more: counts of workers that do not tell; those of endpoints that nobody knows any more are left out.
    """
    first = reports[0]
    updated_s = [report["updated_s"] for report in reports if report["updated_s"] is not None]
    counts = _added([*map(_function_counts, reports), *_part(more, _WHOLE)])
    return {
        **first,
        "revision": min(report["revision"] for report in reports),
        "updated_s": max(updated_s, default=None),
        "in_flight": sum(report["in_flight"] for report in reports),
        "waiting": sum(report["waiting"] for report in reports),
        "panicking": any(report["panicking"] for report in reports),
        **_function_counters(first, counts),
        "endpoints": _endpoints([report["endpoints"] for report in reports], more),
    }


def sum_totals(totals: Sequence[Report], more: Parts = _NOTHING) -> Report:
    """Return what workers tell of all functions together, summed; empty where none of them counts.

    Functions are the same ones in all; of the endpoints at rest, which are mostly the same ones, as many count as rest in one.
    """
    told = [one for one in totals if one]
    if not told:
        return {}
    counts = iter(_added([*map(_total_counts, told), *_part(more, _WHOLE)]))
    tries = dict(zip(_TRY_COUNTERS, counts, strict=False))
    return {
        "functions": max(one["functions"] for one in told),
        **{name: sum(one[name] for one in told) for name in _TOTAL_GAUGES},
        "second_tries": {"in_use": sum(one["second_tries"]["in_use"] for one in told), **tries},
        "resting": max(one["resting"] for one in told),
        **dict(zip(_TOTAL_COUNTERS, counts, strict=True)),
    }


def sum_connections(connections: Sequence[dict[str, int]], more: Parts = _NOTHING) -> dict[str, int]:
    """Return what workers tell of their clients, summed."""
    none = (0,) * len(_CONNECTION_COUNTERS)
    counts = _added([none, *map(_connection_counts, connections), *_part(more, _WHOLE)])
    gauges = {name: sum(one[name] for one in connections) for name in _CONNECTION_GAUGES}
    return {**gauges, **dict(zip(_CONNECTION_COUNTERS, map(int, counts), strict=True))}


class Remembered:
    """Sums that do not go back: it keeps the counts that each worker has told last, and those of workers that are gone.

    A worker is a number, that of its place: tell by `forget` that its process is gone before a new one there tells anything.
    What is kept are tuples of counts, only of functions and endpoints that were called: some 600 bytes for each function
    and worker, and 200 for each endpoint.
    """

    def __init__(self) -> None:
        self._last: dict[int, dict[str, Parts]] = {}
        self._gone: dict[str, Parts] = {}

    def sum_reports(self, by_worker: Mapping[int, Report]) -> Report:
        """Return the sum of what workers (1 at least) tell of one function that is known; see `sum_reports`."""
        reports = [{**report, "endpoints": list(report["endpoints"])} for report in by_worker.values()]
        told = {worker: _function_parts(report) for worker, report in zip(by_worker, reports, strict=True)}
        known = {endpoint["endpoint"] for report in reports for endpoint in report["endpoints"]}
        return sum_reports(reports, self._learn(reports[0]["function"], told, known))

    def sum_totals(self, by_worker: Mapping[int, Report]) -> Report:
        """Return the sum of what workers tell of all functions together; see `sum_totals`."""
        told = {worker: {_WHOLE: _total_counts(totals)} for worker, totals in by_worker.items() if totals}
        return sum_totals(list(by_worker.values()), self._learn(_TOTALS, told))

    def sum_connections(self, by_worker: Mapping[int, dict[str, int]]) -> dict[str, int]:
        """Return the sum of what workers tell of their clients; see `sum_connections`."""
        told = {worker: {_WHOLE: _connection_counts(one)} for worker, one in by_worker.items()}
        return sum_connections(list(by_worker.values()), self._learn(_CONNECTIONS, told))

    def forget(self, worker: int) -> None:
        """Take note that the process of a worker is gone: what it has told last counts on, and nothing that it may still tell."""
        for subject, parts in self._last.pop(worker, {}).items():
            self._gone[subject] = _merged([self._gone.get(subject, _NOTHING), parts])

    def drop(self, function: str) -> None:
        """Take note that a function is deleted. What a worker may still tell of it is not to be summed."""
        self._gone.pop(function, None)
        for subjects in self._last.values():
            subjects.pop(function, None)

    def _learn(self, subject: str, told: Mapping[int, Parts], known: Iterable[str] = ()) -> Parts:
        """Keep what is told; return what counts beside it, of parts that are known."""
        for worker, parts in told.items():
            subjects = self._last.setdefault(worker, {})
            counted = {name: counts for name, counts in parts.items() if any(counts)}
            if counted:
                subjects[subject] = counted
            else:
                subjects.pop(subject, None)
        if subject in self._gone:
            kept = {_WHOLE, *known}
            self._gone[subject] = {name: counts for name, counts in self._gone[subject].items() if name in kept}
        silent = [subjects.get(subject, _NOTHING) for worker, subjects in self._last.items() if worker not in told]
        return _merged([self._gone.get(subject, _NOTHING), *silent])


def _endpoints(lists: Sequence[Iterable[Report]], more: Parts) -> Iterator[Report]:
    """Yield the sum of each endpoint, in the order of the first list; those that only others have come behind."""
    by_name = [{endpoint["endpoint"]: endpoint for endpoint in endpoints} for endpoints in lists]
    for name in dict.fromkeys(name for endpoints in by_name for name in endpoints):
        yield _endpoint([endpoints[name] for endpoints in by_name if name in endpoints], _part(more, name))


def _endpoint(reports: Sequence[Report], more: Sequence[Counts]) -> Report:
    first = reports[0]
    counts = iter(_added([*map(_endpoint_counts, reports), *more]))
    rests = [report["rest"] for report in reports if report["rest"] is not None]
    return {
        **first,
        "state": _state([report["state"] for report in reports]),
        "responses": dict(zip(first["responses"], counts, strict=False)),
        **dict(zip(_ENDPOINT_COUNTERS, counts, strict=True)),
        "in_flight": sum(report["in_flight"] for report in reports),
        "rest": max(rests, key=lambda rest: rest["for_s"], default=None),
    }


def _state(states: Sequence[str]) -> str:
    if states[0] == "draining":
        return "draining"
    return "resting" if all(state == "resting" for state in states) else "serving"


# Counts, and what they stand for: each two of these have the same order.

_ENDPOINT_COUNTERS = ("calls", "retries", "failures", "bytes_in", "bytes_out")


def _endpoint_counts(report: Report) -> Counts:
    return (*report["responses"].values(), *(report[name] for name in _ENDPOINT_COUNTERS))


def _function_counts(report: Report) -> Counts:
    histograms = [report[name] for name in _HISTOGRAMS]
    return (
        *report["responses"].values(),
        *report["refused"].values(),
        report["broken"],
        report["gone"],
        *(count for histogram in histograms for count in (*histogram["counts"], histogram["sum_s"])),
    )


def _function_counters(like: Report, counts: Counts) -> Report:
    left = iter(counts)
    # The names end first, so that `left` stands behind the last one.
    return {
        "responses": dict(zip(like["responses"], left, strict=False)),
        "refused": dict(zip(like["refused"], left, strict=False)),
        "broken": next(left),
        "gone": next(left),
        **{name: _histogram(like[name]["bounds_s"], left) for name in _HISTOGRAMS},
    }


def _histogram(bounds_s: Sequence[float], left: Iterator[float]) -> Report:
    return {"bounds_s": bounds_s, "counts": [next(left) for _ in range(len(bounds_s) + 1)], "sum_s": next(left)}


def _total_counts(totals: Report) -> Counts:
    return (*(totals["second_tries"][name] for name in _TRY_COUNTERS), *(totals[name] for name in _TOTAL_COUNTERS))


def _connection_counts(connections: Mapping[str, int]) -> Counts:
    return tuple(connections[name] for name in _CONNECTION_COUNTERS)


def _function_parts(report: Report) -> Parts:
    parts = {endpoint["endpoint"]: _endpoint_counts(endpoint) for endpoint in report["endpoints"] if endpoint["calls"]}
    return {_WHOLE: _function_counts(report), **parts}


def _part(parts: Parts, name: str) -> list[Counts]:
    return [parts[name]] if name in parts else []


def _added(all_counts: Sequence[Counts]) -> Counts:
    added = all_counts[0] if all_counts else ()
    for counts in all_counts[1:]:
        if len(counts) != len(added):
            raise ValueError(f"{len(counts)} counts beside {len(added)}: workers tell of different things")
        added = tuple(map(add, added, counts))
    return added


def _merged(all_parts: Sequence[Parts]) -> Parts:
    """Add parts of the same name up."""
    merged: Parts = {}
    for parts in all_parts:
        for name, counts in parts.items():
            merged[name] = _added([merged[name], counts]) if name in merged else counts
    return merged

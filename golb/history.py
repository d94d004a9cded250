"""What weights were in force lately, function by function; bounded over all functions. No I/O and no clock.

Weights that have been replaced are kept as plain numbers beside the endpoints, which stay the same for long. A thousand of
them come in a second: as objects they take two and a half times the memory, and Python stops for tens of milliseconds every few
seconds to look for cycles among them. Tuples of numbers it looks at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

from golb.weights import Weights, are_same_endpoints

if TYPE_CHECKING:
    from golb.limits import Limits
    from golb.weights import Endpoint, WeightUpdate

# Endpoints of all weights that are kept, some 30 bytes each; older ones go first.
MAX_ENDPOINTS = 200_000
# Of one function: ten minutes of a change each second.
_MAX_CHANGES = 600


@frozen
class Change:
    """Weights that came into force."""

    at_s: float
    """Unix time in seconds."""
    revision: int
    weights: Weights


@frozen
class _Era:
    """Changes that follow one another and differ in nothing but the weights of the same endpoints."""

    endpoints: tuple[Endpoint, ...]
    limits: Limits
    changes: list[tuple[float, ...]] = Factory(list)
    """Time, revision and weights of each, in this order."""

    def holds(self, weights: Weights) -> bool:
        return are_same_endpoints(self.endpoints, weights.by_endpoint) and self.limits == weights.limits

    def all_changes(self) -> list[Change]:
        return [
            Change(at_s, int(revision), Weights(dict(zip(self.endpoints, numbers, strict=True)), self.limits))
            for at_s, revision, *numbers in self.changes
        ]


@define
class _Record:
    """The changes of one function. Most have one, which is in force."""

    last: Change
    eras: list[_Era] | None = None
    """Those before it, oldest first; none is empty."""
    count: int = 1

    def add(self, change: Change) -> None:
        at_s, revision, weights = self.last.at_s, self.last.revision, self.last.weights
        if self.eras is None:
            self.eras = []
        if not self.eras or not self.eras[-1].holds(weights):
            self.eras.append(_Era(tuple(weights.by_endpoint), weights.limits))
        self.eras[-1].changes.append((at_s, revision, *weights.by_endpoint.values()))
        self.last = change
        self.count += 1

    def drop_first(self) -> int:
        """Forget the oldest of several changes, and return its size."""
        assert self.eras  # noqa: S101 - there are several
        era = self.eras[0]
        del era.changes[0]
        if not era.changes:
            del self.eras[0]
        self.count -= 1
        return _size(len(era.endpoints))

    def all_changes(self) -> list[Change]:
        return [*(change for era in self.eras or () for change in era.all_changes()), self.last]

    def size(self) -> int:
        return sum(len(era.changes) * _size(len(era.endpoints)) for era in self.eras or ()) + _size(
            len(self.last.weights.by_endpoint)
        )


class WeightHistory:
    """The last changes of all functions."""

    def __init__(self, max_endpoints: int = MAX_ENDPOINTS) -> None:
        self._max_endpoints = max_endpoints
        self._endpoints = 0
        self._by_function: dict[str, _Record] = {}
        # Of 100,000 functions a list of their names takes some milliseconds, and they come and go far less often than weights.
        self._functions: list[str] | None = None
        # In the order of changes; a function stands here once for each of its changes, and perhaps for some that are gone.
        self._order: deque[str] = deque()

    def add(self, update: WeightUpdate, at_s: float) -> None:
        """Keep an update; a function that is gone loses its history."""
        function = update.function
        record = self._by_function.get(function)
        if update.weights is None:
            if record is not None:
                del self._by_function[function]
                self._endpoints -= record.size()
                self._functions = None
            return
        change = Change(at_s, update.revision, update.weights)
        if record is None:
            record = self._by_function[function] = _Record(change)
            self._functions = None
        else:
            record.add(change)
        self._endpoints += _size(len(update.weights.by_endpoint))
        self._order.append(function)
        if record.count > _MAX_CHANGES:
            self._endpoints -= record.drop_first()
        while self._order and (self._endpoints > self._max_endpoints or len(self._order) > self._max_endpoints):
            oldest = self._by_function.get(self._order.popleft())
            if oldest is not None and oldest.count > 1:  # the last one is in force
                self._endpoints -= oldest.drop_first()

    def of(self, function: str) -> list[Change]:
        """Return a function's changes, oldest first; the last one is in force."""
        record = self._by_function.get(function)
        return record.all_changes() if record is not None else []

    def functions(self) -> list[str]:
        """Return the names of all functions that are known, the newest last; the list is for reading only."""
        if self._functions is None:
            self._functions = list(self._by_function)
        return self._functions

    def last(self, function: str) -> Change | None:
        """Return the change that is in force; None: the function is not known."""
        record = self._by_function.get(function)
        return record.last if record is not None else None


def _size(endpoints: int) -> int:
    return endpoints + 1

"""What weights were in force lately, function by function; bounded over all functions. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from golb.weights import Weights, WeightUpdate

# Endpoints of all weights that are kept, some 100 bytes each; older ones go first.
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


class WeightHistory:
    """The last changes of all functions."""

    def __init__(self, max_endpoints: int = MAX_ENDPOINTS) -> None:
        self._max_endpoints = max_endpoints
        self._endpoints = 0
        # Most functions have few changes, and a list takes a tenth of a deque's memory.
        self._by_function: dict[str, list[Change]] = {}
        # Of 100,000 functions a list of their names takes some milliseconds, and they come and go far less often than weights.
        self._functions: list[str] | None = None
        # In the order of changes; a function stands here once for each of its changes, and perhaps for some that are gone.
        self._order: deque[str] = deque()

    def add(self, update: WeightUpdate, at_s: float) -> None:
        """Keep an update; a function that is gone loses its history."""
        function = update.function
        if update.weights is None:
            for change in self._by_function.pop(function, ()):
                self._endpoints -= _size(change)
                self._functions = None
            return
        changes = self._by_function.get(function)
        if changes is None:
            changes = self._by_function[function] = []
            self._functions = None
        changes.append(Change(at_s, update.revision, update.weights))
        self._endpoints += _size(changes[-1])
        self._order.append(function)
        if len(changes) > _MAX_CHANGES:
            self._drop_first(function)
        while self._order and (self._endpoints > self._max_endpoints or len(self._order) > self._max_endpoints):
            oldest = self._order.popleft()
            if len(self._by_function.get(oldest, ())) > 1:  # the last one is in force
                self._drop_first(oldest)

    def of(self, function: str) -> list[Change]:
        """Return a function's changes, oldest first; the last one is in force."""
        return list(self._by_function.get(function, ()))

    def functions(self) -> list[str]:
        """Return the names of all functions that are known, the newest last; the list is for reading only."""
        if self._functions is None:
            self._functions = list(self._by_function)
        return self._functions

    def last(self, function: str) -> Change | None:
        """Return the change that is in force; None: the function is not known."""
        changes = self._by_function.get(function)
        return changes[-1] if changes else None

    def _drop_first(self, function: str) -> None:
        self._endpoints -= _size(self._by_function[function].pop(0))


def _size(change: Change) -> int:
    return len(change.weights.by_endpoint) + 1

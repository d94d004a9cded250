"""Weight updates as what JSON can carry, and back. No I/O."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from golb.limits import NO_LIMITS, Limits
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row = list[Any]
"""The function, its revision, and, unless it is gone, its endpoints as [host, port, weight] each and its limits."""

# Rows of one message. To read so many, and to make their schedules anew, takes a worker some milliseconds, with
# turns for others in between; whoever asks it meanwhile whether it is alive waits no longer.
_ENDPOINTS_AT_ONCE = 500


def encode(update: WeightUpdate) -> Row:
    """Return the row of an update."""
    weights = update.weights
    if weights is None:
        return [update.function, update.revision]
    endpoints = [[endpoint.host, endpoint.port, weight] for endpoint, weight in weights.by_endpoint.items()]
    limits = weights.limits
    if limits is NO_LIMITS:
        return [update.function, update.revision, endpoints]
    return [update.function, update.revision, endpoints, [limits.max_inflight, limits.queue, limits.timeout_s]]


def decode(row: Row) -> WeightUpdate:
    """Return the update of a row."""
    function, revision, *weights = row
    if not weights:
        return WeightUpdate(function, None, revision)
    endpoints, *limits = weights
    by_endpoint = {_endpoint(host, port): weight for host, port, weight in endpoints}
    return WeightUpdate(function, Weights(by_endpoint, Limits(*limits[0]) if limits else NO_LIMITS), revision)


def in_messages(updates: Iterable[WeightUpdate]) -> Iterator[tuple[list[Row], bool]]:
    """Yield the rows of all updates, as many at once as are worth a message, each time with whether these are the last.

    No updates at all are one message without rows.
    """
    rows: list[Row] = []
    room = _ENDPOINTS_AT_ONCE
    for update in updates:
        if room <= 0:
            yield rows, False
            rows, room = [], _ENDPOINTS_AT_ONCE
        rows.append(encode(update))
        room -= 1 + (len(update.weights.by_endpoint) if update.weights is not None else 0)
    yield rows, True


# The same endpoints come again every second, and stand in many functions.
@lru_cache(maxsize=65536)
def _endpoint(host: str, port: int) -> Endpoint:
    return Endpoint(host, port)

"""The endpoints that a request may use, and whose turn it is: a schedule over those that do not rest.

Rule: the shares of those in service are exact, as if the others had a weight of 0. What is known of each endpoint is
`golb.health`'s; here it only decides who is asked. No I/O and no clock.

Where more than a part of an endpoint set (by weight) rests, the others could not carry the load, or it is golb that is
cut off: then rests are cut to twice the first, and each of them is tried again and again. If it answers it has its share at
once; if it hangs, no more than one request hangs there. Where none is left in service all are used as if none rested.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from golb.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from random import Random

    from golb.health import Health, RestingEndpoints

# A rest that is over waits so long, in seconds, for a request that can be sent again if it fails there.
_PATIENCE_S: Final = 1.0
# For the many sets of which none rests, so that it is at hand; never added to.
_NOBODY: Final[list[Any]] = []


class Endpointlike(Protocol):
    """What the caller makes of an endpoint."""

    @property
    def health(self) -> Health:
        """What is known of it."""


T = TypeVar("T", bound=Endpointlike)


class EndpointSet(Generic[T]):
    """Endpoints with weights.

    Args:
        rests: all endpoints that rest, of whatever set.
        panic_threshold: which part of the weight may rest, 0 to 1.
        random: seeds the phase of the schedule.
    """

    __slots__ = (
        "_changes",
        "_due_s",
        "_rests",
        "_weights",
        "in_service",
        "is_panicking",
        "panic_threshold",
        "resting",
    )

    def __init__(
        self, weights: Mapping[T, int | float], *, rests: RestingEndpoints, panic_threshold: float, random: Random
    ) -> None:
        self._rests = rests
        self.panic_threshold = panic_threshold
        """As above. Set to another one, it holds from the next `update` on."""
        self._weights = weights
        self._due_s = math.inf
        self.in_service: Schedule[T] = Schedule({}, random=random)
        """Who is next of those in service; with no endpoint resting, all there is to ask."""
        self.resting: list[T] = _NOBODY
        """Those with a weight that are not in it."""
        self.is_panicking = False
        """Too many of them rest."""
        self.update(weights)

    def __bool__(self) -> bool:
        """Whether there is any endpoint with a weight."""
        return bool(self.in_service)

    @property
    def weights(self) -> Mapping[T, int | float]:
        """Of all of them, also those that rest."""
        return self._weights

    def update(self, weights: Mapping[T, int | float]) -> None:
        """Take new weights over; each endpoint that stays is owed what it was owed."""
        self._weights = weights
        self._divide()

    def renew(self) -> None:
        """Look anew at which endpoints rest, and when they are to be tried."""
        if self._changes != self._rests.changes:
            self._divide()
        elif self.resting:
            self._due_s = min(map(self._due, self.resting))

    def _divide(self) -> None:
        """Tell those that rest from those in service."""
        self._changes = self._rests.changes
        weights = self._weights
        resting = []
        if self._rests:
            resting = [item for item, weight in weights.items() if weight and item.health.is_resting]
        self._due_s = math.inf
        self.is_panicking = False
        if resting:
            serving = {item: weight for item, weight in weights.items() if weight and not item.health.is_resting}
            at_rest = math.fsum(weights[item] / 2 for item in resting)  # halved: the sum of two doubles may be none
            in_all = at_rest + math.fsum(weight / 2 for weight in serving.values())
            self.is_panicking = at_rest > self.panic_threshold * in_all or not serving
            if serving:
                self.resting = resting
                self._due_s = min(map(self._due, resting))
                self.in_service.update(serving)
                return
        self.resting = _NOBODY
        self.in_service.update(weights)

    def next(self, now_s: float, *, replayable: bool) -> T:
        """Return the endpoint to ask, which may be one that rests and is due to be tried.

        Args:
            now_s: the time, in seconds.
            replayable: the request can be sent again if it fails after it was sent.

        Raises:
            NoEndpoint: every weight is 0, or there is none; answer 503.
        """
        if now_s >= self._due_s:
            patience_s = 0.0 if replayable else _PATIENCE_S
            for item in self.resting:
                if self._due(item) + patience_s <= now_s:
                    self._rests.postpone(item.health, now_s)
                    return item
        return self.in_service.next()

    def other(self, excluded: Collection[T], *, resting: bool) -> T | None:
        """Return the endpoint to ask instead of those that are excluded; None if there is no other.

        Args:
            excluded: those that have failed, or have enough to do.
            resting: where none is left in service, one that rests will do: it may have come back.
        """
        weights = self.in_service.weights
        left = [item for item, weight in weights.items() if weight and item not in excluded]
        if not left:
            return next((item for item in self.resting if item not in excluded), None) if resting else None
        for _ in range(len(weights)):
            item = self.in_service.next()
            if item not in excluded:
                return item
        return left[0]  # the others are too heavy for the schedule to come past them soon

    def _due(self, item: T) -> float:
        health = item.health
        if self.is_panicking and not health.trials:
            return min(health.due_s, health.panic_due_s)
        return health.due_s

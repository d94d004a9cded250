"""What has happened, told to whoever looks on at the admin port: new weights, refusals, endpoints that rest, the drain."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping

    from golb.admin.events import EventFeed
    from golb.admin.sources import Refusal
    from golb.health import Health
    from golb.weights import Weights, WeightUpdate

    Describe = Callable[[Weights | None, Weights], str]

# Of more functions that change at once only the number is told: the feed keeps few events, and could not hold these.
_TOLD_AT_ONCE = 100
# An event that nobody has asked for holds the weights that it will tell of; where they are many, what it tells is shorter.
_TOLD_LATER_ENDPOINTS = 50
# What changes meanwhile is told together. Thousands of weights change in a second, and to wake up for each of them costs a
# fifth of what taking it over does, at which nobody may be looking.
_PAUSE_S = 0.1
_KEPT_AT_ONCE = 1000  # some hundred microseconds


class News:
    """Writes it into the feed.

    Args:
        feed: never waits.
    """

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._weights: dict[str, Weights] = {}

    async def follow(self, batches: AsyncIterable[Mapping[str, WeightUpdate]], describe: Describe) -> None:
        """Tell of weights as they come, by function; ends when they do.

        Args:
            batches: of updates; the first one is the whole table.
            describe: says in one line, of a bounded length, how weights differ from those before (None: the function is new).
        """
        async for batch in batches:
            for update in islice(batch.values(), _TOLD_AT_ONCE):
                tell = partial(_tell, update, self._weights.get(update.function), describe)
                if _endpoints(update.weights) + _endpoints(self._weights.get(update.function)) > _TOLD_LATER_ENDPOINTS:
                    self._feed.publish("weights", tell())
                    await trio.lowlevel.checkpoint()
                else:
                    self._feed.publish("weights", tell)
            if (more := len(batch) - _TOLD_AT_ONCE) > 0:
                self._feed.publish("weights", {"more_functions": more})
            for place, update in enumerate(batch.values()):
                self._keep(update)
                if place % _KEPT_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
            await trio.sleep(_PAUSE_S)

    def tell_refusal(self, refusal: Refusal) -> None:
        """Tell of a put that is refused."""
        self._feed.publish(
            "refused",
            {
                "name": refusal.name,
                "fault": str(refusal.fault),
                "reason": refusal.reason,
                "revision": refusal.revision,
            },
        )

    def tell_health(self, health: Health, rest_s: float) -> None:
        """Tell of an endpoint that begins to rest, for so many seconds, or serves again (0)."""
        self.tell_rest(health.name, rest_s, health.failures, health.cause)

    def tell_rest(self, endpoint: str, rest_s: float, failures: int, cause: str, worker: int | None = None) -> None:
        """Do the same for who has only this to tell, which may be one of several workers."""
        data: dict[str, Any] = {} if worker is None else {"worker": worker}
        state = "resting" if rest_s else "serving"
        data |= {"endpoint": endpoint, "state": state, "rest_s": round(rest_s, 3), "failures": failures}
        self._feed.publish("endpoint", data | {"cause": cause if rest_s else ""})

    def tell_drain(self) -> None:
        """Tell that golb accepts no more."""
        self._feed.publish("draining", {})

    def _keep(self, update: WeightUpdate) -> None:
        if update.weights is None:
            self._weights.pop(update.function, None)
        else:
            self._weights[update.function] = update.weights


def _endpoints(weights: Weights | None) -> int:
    return 0 if weights is None else len(weights.by_endpoint)


def _tell(update: WeightUpdate, before: Weights | None, describe: Describe) -> dict[str, Any]:
    weights = update.weights
    changes = "" if weights is None else describe(before, weights)
    return {"function": update.function, "revision": update.revision, "removed": weights is None, "changes": changes}

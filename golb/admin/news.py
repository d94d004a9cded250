"""What has happened, told to whoever looks on at the admin port: new weights, refusals, endpoints that rest, the drain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping

    from golb.admin.events import EventFeed
    from golb.admin.sources import Refusal
    from golb.health import Health
    from golb.weights import WeightUpdate

# Of more functions that change at once only the number is told: the feed keeps few events, and these would push the others out.
_TOLD_AT_ONCE = 20


class News:
    """Writes it into the feed.

    Args:
        feed: never waits.
    """

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed

    async def follow(self, batches: AsyncIterable[Mapping[str, WeightUpdate]]) -> None:
        """Tell of weights as they come, by function; ends when they do."""
        async for batch in batches:
            self._tell_weights(batch)

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
        state = "resting" if rest_s else "serving"
        data = {"endpoint": health.name, "state": state, "rest_s": round(rest_s, 3), "failures": health.failures}
        self._feed.publish("endpoint", data | {"cause": health.cause if rest_s else ""})

    def tell_drain(self) -> None:
        """Tell that golb accepts no more."""
        self._feed.publish("draining", {})

    def _tell_weights(self, batch: Mapping[str, WeightUpdate]) -> None:
        for update in list(batch.values())[:_TOLD_AT_ONCE]:
            data = {"function": update.function, "revision": update.revision, "removed": update.weights is None}
            self._feed.publish("weights", data)
        more = len(batch) - _TOLD_AT_ONCE
        if more > 0:
            self._feed.publish("weights", {"more_functions": more})

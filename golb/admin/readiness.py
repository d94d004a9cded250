"""Whether golb may be sent calls, and why not: what a load balancer in front of it, or Kubernetes, asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golb.admin.sources import Sources


def reason_not_ready(sources: Sources) -> str | None:
    """Return why golb should get no calls; None if it may. Old weights are no reason: they are served, and better than none."""
    if sources.is_draining():
        return "golb is draining: it finishes what is under way and ends"
    if not sources.is_loaded():
        cause = sources.knowledge.cause
        return "the weights have not been loaded yet" + (f": {cause}" if cause else "")
    return None


def readiness(sources: Sources) -> dict[str, Any]:
    """Return what `/readyz` answers; `openapi.json` says what each member means."""
    knowledge = sources.knowledge
    reason = reason_not_ready(sources)
    return {
        "is_ready": reason is None,
        "reason": reason,
        "source": knowledge.source,
        "revision": knowledge.revision,
        "age_s": age_s(sources),
    }


def age_s(sources: Sources) -> float | None:
    """Return the age of what is known of the weights, in seconds; None where nothing is, as JSON has no infinity."""
    return None if sources.knowledge.source == "none" else round(sources.knowledge.age_s, 3)

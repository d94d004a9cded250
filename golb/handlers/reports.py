"""What the load balancer tells of itself: plain dicts, made when somebody asks.

Rule: a function may have thousands of endpoints, so these are told one by one, for whoever asks to pause in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from golb.handlers.places import Destination, Places
    from golb.history import Change
    from golb.routes import Route


def function_report(route: Route, places: Places, last: Change | None, now_s: float) -> dict[str, Any]:
    """Tell of one function; golb/admin/openapi.json has what each member means.

    Its endpoints can be gone through once, now or later: they are those of now, each as it is when its turn comes.

    Args:
        route: the function.
        places: knows who waits.
        last: its weights in force.
        now_s: the time by which endpoints rest.
    """
    limits = route.limits
    return {
        "function": route.function,
        "revision": last.revision if last else 0,
        "updated_s": last.at_s if last else None,
        "limits": {"max_inflight": limits.max_inflight, "queue": limits.queue, "timeout_s": limits.timeout_s},
        "in_flight": route.in_flight,
        "waiting": places.waiting_for(route.name),
        "panicking": route.every.is_panicking,
        **route.report(),
        "endpoints": _endpoints(route, now_s),
    }


def _endpoints(route: Route, now_s: float) -> Iterator[dict[str, Any]]:
    # New weights replace these mappings and leave them as they are.
    weights, endpoints = route.every.weights, route.endpoints
    total = sum(weights.values())
    return (
        {
            "endpoint": str(endpoint),
            "gateway": member.is_gateway,
            "weight": weights[member],
            "share": weights[member] / total if total else 0.0,
            "state": _state(member.destination, weights[member]),
            **member.report(),
            "in_flight": member.destination.in_flight,
            "rest": _rest(member.destination, now_s),
        }
        for endpoint, member in endpoints.items()
    )


def _state(destination: Destination, weight: float) -> str:
    if not weight:
        return "draining"
    return "resting" if destination.health.is_resting else "serving"


def _rest(destination: Destination, now_s: float) -> dict[str, Any] | None:
    health = destination.health
    if not health.is_resting:
        return None
    return {"for_s": round(max(health.ends_s - now_s, 0.0), 3), "failures": health.failures, "cause": health.cause}

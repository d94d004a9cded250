"""What is measured of golb as a whole: what it knows of the weights, its clients, and what is of no single function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from golb.admin.families import counter, gauge
from golb.admin.readiness import reason_not_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from golb.admin.families import Row
    from golb.admin.sources import Sources


def process_families(sources: Sources, *, functions: int, omitted: int) -> Iterator[Metric]:
    """Yield the families, for so many functions, of which `omitted` have no series of their own."""
    yield gauge(
        "golb_build_info",
        "Always 1; says what this is.",
        [((sources.version, sources.node, sources.zone), 1)],
        *("version", "node", "zone"),
    )
    yield gauge("golb_ready", "Whether calls may come; /readyz says why not.", _one(not reason_not_ready(sources)))
    yield gauge("golb_draining", "Whether golb is about to end.", _one(sources.is_draining()))
    yield gauge("golb_functions", "Functions that are known.", _one(functions))
    yield gauge(
        "golb_functions_omitted", "Functions without series of their own, as there are too many.", _one(omitted)
    )
    yield from _weights(sources)
    yield from _connections(sources)
    yield from _totals(sources.handler.totals())


def _one(value: float) -> list[Row]:
    return [((), value)]


def _weights(sources: Sources) -> Iterator[Metric]:
    knowledge, refused = sources.knowledge, sources.refused
    yield gauge("golb_weights_revision", "Of etcd; the weights served are those at it.", _one(knowledge.revision))
    yield gauge(
        "golb_weights_age_seconds",
        "For how long it has not been sure that these weights are the newest.",
        _one(knowledge.age_s),
    )
    sources_known = ("none", "disk", "file", "etcd")
    yield gauge(
        "golb_weights_source",
        "1 for where the weights served are from.",
        [((source,), int(source == knowledge.source)) for source in sources_known],
        "source",
    )
    if knowledge.connection != "none":
        yield gauge("golb_etcd_connected", "Whether etcd's changes are followed.", _one(knowledge.connection == "open"))
    if refused is not None:
        yield counter(
            "golb_weights_refused",
            "Puts that were refused, by what was wrong with them.",
            [((str(fault),), count) for fault, count in refused.counts.items()],
            "reason",
        )
        yield gauge("golb_weights_refused_keys", "Keys whose newest value is refused.", _one(len(refused)))


def _connections(sources: Sources) -> Iterator[Metric]:
    admission = sources.admission
    yield gauge("golb_connections", "Clients connected.", _one(admission.open))
    yield gauge("golb_connections_limit", "Clients that may be connected at once.", _one(admission.limit))
    yield counter("golb_connections_accepted", "Clients that ever got a place.", _one(admission.accepted))
    yield counter("golb_connections_delayed", "How often a client had to wait for a place.", _one(admission.delayed))
    yield counter(
        "golb_connections_closed_for_room", "Idle connections that gave way.", _one(admission.closed_for_room)
    )


def _totals(totals: dict[str, Any]) -> Iterator[Metric]:
    if not totals:
        return
    yield gauge("golb_requests_in_flight", "Calls under way, of all functions.", _one(totals["in_flight"]))
    yield gauge("golb_requests_waiting", "Calls that wait for a place.", _one(totals["waiting"]))
    yield gauge("golb_requests_held", "Calls that wait for an endpoint to come.", _one(totals["held"]))
    yield counter(
        "golb_requests_unrouted",
        "Requests answered by 404.",
        [(("unknown_function",), totals["unknown_function"]), (("no_function_call",), totals["no_function_call"])],
        "reason",
    )
    tries = totals["second_tries"]
    yield counter("golb_retries", "Calls that another endpoint got after one had failed.", _one(tries["begun"]))
    yield counter("golb_retries_exhausted", "Calls that the retry budget left as failed.", _one(tries["exhausted"]))
    yield gauge("golb_retries_in_flight", "Second tries under way.", _one(tries["in_use"]))
    yield gauge("golb_endpoints_resting", "Endpoints that rest since they failed.", _one(totals["resting"]))
    yield counter("golb_endpoint_rests", "How often an endpoint began to rest.", _one(totals["rests_begun"]))

"""What is measured of golb as a whole: what it knows of the weights, its clients, and what is of no single function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from golb.admin.families import counter, gauge, histogram
from golb.admin.readiness import reason_not_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from golb.admin.families import Row
    from golb.admin.sources import Sources


def process_families(sources: Sources) -> Iterator[Metric]:
    """Yield the families of what this golb is, and of what it knows of the weights."""
    yield gauge(
        "golb_build_info",
        "Always 1; says what this is.",
        [((sources.version, sources.node, sources.zone), 1)],
        *("version", "node", "zone"),
    )
    yield gauge("golb_ready", "Whether calls may come; /readyz says why not.", _one(not reason_not_ready(sources)))
    yield gauge("golb_draining", "Whether golb is about to end.", _one(sources.is_draining()))
    yield from _weights(sources)


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
        yield counter("golb_etcd_connects", "How often they have begun to be followed.", _one(knowledge.connects))
        yield counter("golb_etcd_losses", "How often they were followed, and then no more.", _one(knowledge.losses))
        yield histogram(
            "golb_weights_delay_seconds",
            "From the moment at which etcd's watch has delivered a put until its weights are in force. "
            "What passes before, from the put to its delivery, is not in it, as no value says when it was put.",
            knowledge.delays.report(),
        )
    if refused is not None:
        yield counter(
            "golb_weights_refused",
            "Puts that were refused, by what was wrong with them.",
            [((str(fault),), count) for fault, count in refused.counts.items()],
            "reason",
        )
        yield gauge("golb_weights_refused_keys", "Keys whose newest value is refused.", _one(len(refused)))


def connection_families(connections: dict[str, int]) -> Iterator[Metric]:
    """Yield the families of the clients of the data port."""
    yield gauge("golb_connections", "Clients connected.", _one(connections["open"]))
    yield gauge("golb_connections_limit", "Clients that may be connected at once.", _one(connections["limit"]))
    yield counter("golb_connections_accepted", "Clients that ever got a place.", _one(connections["accepted"]))
    yield counter(
        "golb_connections_delayed", "How often a client had to wait for a place.", _one(connections["delayed"])
    )
    yield counter(
        "golb_connections_closed_for_room", "Idle connections that gave way.", _one(connections["closed_for_room"])
    )


def total_families(totals: dict[str, Any]) -> Iterator[Metric]:
    """Yield the families of all functions together; none where nothing is counted."""
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

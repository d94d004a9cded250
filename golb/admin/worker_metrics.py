"""What is measured of each worker process, where there are several; labels are their numbers, which a new one takes over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric

from golb.admin.families import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from golb.admin.families import Row

Worker = dict[str, Any]


def worker_families(workers: Sequence[Worker]) -> Iterator[Metric]:
    """Yield the families of these workers."""

    def rows(value: Callable[[Worker], float]) -> list[Row]:
        return [((str(worker["worker"]),), value(worker)) for worker in workers]

    yield gauge("golb_worker_up", "Whether it serves.", rows(lambda one: one["state"] == "serving"), "worker")
    yield counter(
        "golb_worker_replaced",
        "How often its process was replaced, as it had died or hung.",
        rows(lambda one: one["replaced"]),
        "worker",
    )
    yield gauge(
        "golb_worker_connections",
        "Clients connected to it.",
        rows(lambda one: one["connections"].get("open", 0)),
        "worker",
    )
    yield gauge(
        "golb_worker_in_flight", "Calls under way in it.", rows(lambda one: one["totals"].get("in_flight", 0)), "worker"
    )


def worker_process_families(workers: Sequence[Worker]) -> list[Metric]:
    """Read what the kernel says of their processes, as `process_*` has it of this one. It reads files, and takes a while."""
    families: dict[str, Metric] = {}
    for worker in workers:
        # Of a process that has just ended it tells nothing.
        for told in ProcessCollector(pid=partial(str, worker["pid"]), registry=None).collect():
            name = told.name.replace("process_", "golb_worker_", 1)
            family = families.setdefault(name, Metric(name, told.documentation, told.type))
            for sample in told.samples:
                sample_name = sample.name.replace("process_", "golb_worker_", 1)
                family.add_sample(sample_name, {"worker": str(worker["worker"])}, sample.value)
    return list(families.values())

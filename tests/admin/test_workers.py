"""What the admin port tells where several processes serve: their sum, and each by itself."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from admin.fakes import NOW_S, FakeHandler, FakeParts, RunningAdmin, called, report, running_admin
from admin.test_metrics import metrics

from golb.admin.worker_metrics import worker_process_families
from golb.sums import sum_reports, sum_totals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from golb.history import Change

CONNECTIONS = {"limit": 100, "open": 4, "accepted": 50, "delayed": 2, "closed_for_room": 1}


class FakeWorkers:
    """Two workers that have called the function `f` once, and three times; the second one has been replaced twice."""

    def __init__(self) -> None:
        self._handlers = [FakeHandler(), FakeHandler()]
        for handler, calls in zip(self._handlers, (1, 3), strict=True):
            handler.add(report("f", "10.42.0.5:8080", stats=called(calls)), report("g", stats=called(calls)))

    def names(self) -> list[str]:
        return self._handlers[0].function_names()

    async def reports(self, names: Sequence[str], /, worker: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        handlers = self._handlers if worker is None else [self._handlers[worker]]
        for name in names:
            if name in self.names():
                yield sum_reports([handler.reports[name] for handler in handlers])

    async def totals(self, worker: int | None = None) -> dict[str, Any]:
        totals = [handler.totals() for handler in self._handlers]
        return sum_totals(totals) if worker is None else totals[worker]

    def changes(self, function: str, /) -> list[Change]:
        return self._handlers[0].weight_changes(function)

    async def tell(self) -> list[dict[str, Any]]:
        """Return what `Sources.workers` does."""
        return [
            {
                "worker": number,
                "pid": os.getpid(),
                "state": state,
                "since_s": NOW_S + number,
                "replaced": 2 * number,
                "connections": CONNECTIONS,
                "totals": await self.totals(number),
            }
            for number, state in enumerate(("serving", "starting"))
        ]


@pytest.fixture
async def admin() -> AsyncIterator[RunningAdmin]:
    workers = FakeWorkers()
    async with running_admin(FakeParts(), functions=workers, workers=workers.tell) as running:
        yield running


async def test_the_status_tells_of_each_worker_and_of_all(admin: RunningAdmin) -> None:
    told = await admin.json("/api/status")
    assert told["workers"] == await FakeWorkers().tell()
    assert told["totals"]["in_flight"] == 10


async def test_without_workers_the_status_has_none() -> None:
    async with running_admin() as admin:
        assert (await admin.json("/api/status"))["workers"] == []


async def test_functions_are_told_as_the_sum_or_as_a_worker_counts_them(admin: RunningAdmin) -> None:
    for query, calls in (("", 4), ("?worker=0", 1), ("?worker=1", 3)):
        one = await admin.json(f"/api/functions/f{query}")
        page = await admin.json(f"/api/functions{query}")
        assert one["responses"]["2xx"] == calls
        assert [each["responses"]["2xx"] for each in page["functions"]] == [calls, calls]
        assert [each["endpoint"] for each in one["endpoints"]] == ["10.42.0.5:8080"]


@pytest.mark.parametrize("path", ["/api/functions", "/api/functions/f"])
async def test_a_worker_that_is_not_there_is_not_found(admin: RunningAdmin, path: str) -> None:
    answer = await admin.client.get(f"{path}?worker=2")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is no worker 2; /api/status tells which there are",
    )
    assert (await admin.client.get(f"{path}?worker=-1")).status_code == 400


async def test_one_process_has_no_worker_0() -> None:
    async with running_admin() as admin:
        assert (await admin.client.get("/api/functions?worker=0")).status_code == 404


async def test_metrics_are_sums_and_tell_of_each_worker(admin: RunningAdmin) -> None:
    found = await metrics(admin)
    assert found["golb_requests_total"] == {("2xx", "f"): 4, ("2xx", "g"): 4}
    assert found["golb_worker_up"] == {("0",): 1, ("1",): 0}
    assert found["golb_worker_replaced_total"] == {("0",): 0, ("1",): 2}
    assert found["golb_worker_connections"] == {("0",): 4, ("1",): 4}
    assert found["golb_worker_in_flight"] == {("0",): 5, ("1",): 5}
    for name in ("golb_worker_cpu_seconds_total", "golb_worker_resident_memory_bytes", "golb_worker_open_fds"):
        assert set(found[name]) == {("0",), ("1",)}
        assert min(found[name].values()) > 0


def test_of_a_worker_whose_process_has_ended_the_kernel_tells_nothing() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    families = worker_process_families([{"worker": 0, "pid": process.pid}])
    assert [sample for family in families for sample in family.samples if "cpu" in sample.name] == []


async def test_one_process_has_no_metrics_of_workers() -> None:
    async with running_admin() as admin:
        found = await metrics(admin)
    assert not any(family.name.startswith("golb_worker") for family in found.families)

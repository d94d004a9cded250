"""The admin port of a golb that runs as several processes: one view of them all, whoever of them dies."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import trio
from admin.test_live import DEADLINE_S, LiveGolb
from support.client import call
from support.pods import run_pods

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKERS = 2


async def test_two_workers_are_told_as_one_golb_and_each_by_itself(tmp_path: Path) -> None:
    async with run_pods(2) as pods:
        weights: dict[str, float] = {pod.ip: 1 for pod in pods}
        with LiveGolb.of_file(tmp_path, workers=WORKERS, hello=weights) as golb, trio.fail_after(DEADLINE_S):
            for _ in range(40):
                assert (await call(golb.port, "/function/hello")).status == 200
            hello = golb.json("/api/functions/hello")
            by_worker = [golb.json(f"/api/functions/hello?worker={number}") for number in range(WORKERS)]
            status = golb.json("/api/status")
            assert hello["responses"]["2xx"] == golb.metric("golb_requests_total", function="hello") == 40
            assert sum(each["responses"]["2xx"] for each in by_worker) == 40
            assert [one["endpoint"] for one in hello["endpoints"]] == list(weights)
            assert sum(one["calls"] for one in hello["endpoints"]) == 40
            assert [worker["state"] for worker in status["workers"]] == ["serving"] * WORKERS
            assert sum(worker["connections"]["accepted"] for worker in status["workers"]) == 40
            assert status["connections"]["accepted"] == 40


async def test_counts_do_not_go_back_when_a_worker_is_killed_and_replaced(tmp_path: Path) -> None:
    async with run_pods(1) as pods:
        with LiveGolb.of_file(tmp_path, workers=WORKERS, hello={pods[0].ip: 1}) as golb, trio.fail_after(DEADLINE_S):
            seen: list[float] = []
            for victim in range(WORKERS):
                for _ in range(20):
                    await call(golb.port, "/function/hello")
                seen.append(golb.metric("golb_requests_total", function="hello"))
                os.kill(golb.json("/api/status")["workers"][victim]["pid"], signal.SIGKILL)
                for worker in workers(golb):
                    seen.append(golb.metric("golb_requests_total", function="hello"))
                    if (worker[victim]["replaced"], worker[victim]["state"]) == (1, "serving"):
                        break
            assert seen == sorted(seen)
            assert golb.metric("golb_requests_total", function="hello") == 40
            assert golb.metric("golb_worker_replaced_total") == WORKERS


def workers(golb: LiveGolb) -> Iterator[list[dict[str, Any]]]:
    """Yield what the status says of the workers, again and again."""
    while True:
        yield golb.json("/api/status")["workers"]

"""Traces of a golb as its users run it: all that there are have been exported when it has ended, and none are loaded unasked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from support.client import Client, call
from support.collector import running_collector
from support.golb_family import GolbFamily, client_ports
from support.golb_process import GolbProcess, free_port
from support.pods import run_pods

if TYPE_CHECKING:
    from pathlib import Path

    from support.pods import Pod


def golb_with(directory: Path, pod: Pod, **variables: str) -> GolbProcess:
    """Make a golb that traces, whose function f has one endpoint."""
    weights = directory / "weights.json"
    weights.write_text(json.dumps({"f": {"ips": [pod.ip], "weights": [1]}}))
    return GolbProcess(weight_updater="file", weights_file=str(weights), tracing="otlp", **variables)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_golb_that_ends_has_exported_the_spans_of_all_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    with trio.fail_after(30), running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
        async with run_pods(1) as (pod,):
            with golb_with(tmp_path, pod, workers=workers) as golb:
                async with AsyncExitStack() as stack:
                    clients = [await stack.enter_async_context(await Client.connect(golb.port)) for _ in range(10)]
                    for client in clients * 2:
                        assert (await client.call("/function/f")).status == 200
                    for worker in GolbFamily(golb.port).workers(golb.pid).values():
                        assert client_ports(worker, golb.port)
                assert golb.stop() == 0
    assert len(collector.of_servers()) == len(collector.of_clients()) == 20
    assert {(one["service.name"], one["service.instance.id"]) for one in collector.resources} == {
        ("edge", "eb-a-controller")
    }


async def test_a_collector_that_is_away_costs_spans_but_no_call_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with trio.fail_after(30):
        async with run_pods(1) as (pod,):
            with golb_with(tmp_path, pod) as golb:
                assert (await call(golb.port, "/function/f")).status == 200
                began_s = time.monotonic()
                assert golb.stop() == 0
                assert time.monotonic() - began_s < 5
                assert golb.log()[-1]["message"] == "stopped"


def test_a_golb_that_does_not_trace_loads_nothing_of_it() -> None:
    program = "import sys, golb.service; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"[]\n"

"""The access log of a whole golb: what it says of calls, and that a log that nobody reads costs lines, never calls."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import trio
from support.client import Client, call
from support.golb_process import GolbProcess
from support.pods import run_pods

if TYPE_CHECKING:
    from pathlib import Path

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEAD = "127.0.0.1:1"
HEAVY = 10**15
# More than a pipe of 64 KiB holds.
CALLS = 500
STATUSES = [200, 200, 502, 503, 404, 404]


def golb_with(directory: Path, values: dict[str, dict[str, int]], **variables: str) -> GolbProcess:
    """Make a golb whose functions have these weights."""
    weights = directory / "weights.json"
    weights.write_text(
        json.dumps(
            {
                function: {"ips": list(by_endpoint), "weights": list(by_endpoint.values())}
                for function, by_endpoint in values.items()
            }
        )
    )
    return GolbProcess(weight_updater="file", weights_file=str(weights), **variables)


def stop(golb: GolbProcess) -> list[dict[str, Any]]:
    """End a golb, and return what it has written on stdout."""
    assert golb.stop() == 0
    return golb.log()


def accesses(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["message"] == "access"]


async def test_each_call_is_a_line_on_stdout_among_those_of_the_log(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with run_pods(1) as pods:
            values = {"f": {pods[0].ip: 1}, "dead": {DEAD: 1}, "none": {}, "half": {DEAD: HEAVY, pods[0].ip: 1}}
            with golb_with(tmp_path, values, access_log="json") as golb:
                asked = [
                    await call(
                        golb.port,
                        "/function/f/x?time=10",
                        "X-Request-Id: order-7",
                        f"traceparent: {TRACEPARENT}",
                        "X-Forwarded-For: 10.0.0.9",
                        method="POST",
                        body=b"x" * 300_000,
                    ),
                    await call(golb.port, "/function/half"),
                    await call(golb.port, "/function/dead"),
                    await call(golb.port, "/function/none"),
                    await call(golb.port, "/function/unknown"),
                    await call(golb.port, "/healthz"),
                ]
                lines = stop(golb)
    first, half, dead, none, unknown, healthz = accesses(lines)
    assert {"serving", "stopped", "call failed"} <= {line["message"] for line in lines}
    assert [line["status"] for line in accesses(lines)] == [answer.status for answer in asked] == STATUSES
    assert [line["bytes_out"] for line in accesses(lines)] == [len(answer.body) for answer in asked]

    assert first["function"] == "f"
    assert first["endpoint"] == pods[0].ip
    assert first["path"] == "10.0.0.9, eb-a-controller, 127.0.0.1"
    assert (first["node"], first["client"], first["method"]) == ("eb-a-controller", "127.0.0.1", "POST")
    assert (first["target"], first["http_version"]) == ("/function/f/x?time=10", "1.1")
    assert (first["bytes_in"], first["retries"], first["error"]) == (300_000, 0, None)
    assert (first["request_id"], first["traceparent"]) == ("order-7", TRACEPARENT)
    assert 0 < first["own_s"] < first["duration_s"] < 10
    assert 0 < first["first_byte_s"] <= first["duration_s"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["timestamp"])

    assert (half["endpoint"], half["retries"], half["error"]) == (pods[0].ip, 1, None)
    assert (dead["function"], dead["endpoint"]) == ("dead", DEAD)
    assert "Connection refused" in dead["error"]
    assert (none["function"], none["endpoint"]) == ("none", "")
    assert "no endpoint with a positive weight" in none["error"]
    assert unknown["function"] == "unknown"
    assert "has no function" in unknown["error"]
    assert (healthz["function"], healthz["target"]) == ("", "/healthz")
    assert len({line["request_id"] for line in accesses(lines)}) == 6


async def test_a_sample_in_the_common_log_format_goes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    variables = {"access_log": "common", "access_log_path": str(path), "access_log_sample": "50%"}
    with trio.fail_after(30):
        async with run_pods(1) as pods:
            with golb_with(tmp_path, {"f": {pods[0].ip: 1}}, **variables) as golb:
                async with await Client.connect(golb.port) as client:
                    for number in range(200):
                        await client.call("/function/f", f"X-Request-Id: order-{number}")
                assert accesses(stop(golb)) == []
    lines = path.read_text().splitlines()
    assert 60 < len(lines) < 140
    form = r'127\.0\.0\.1 - - \[[^]]+ \+0000\] "GET /function/f HTTP/1\.1" 200 \d+ "f" [\d.:]+ \d+\.\d{6} 0 "order-\d+"'
    assert all(re.fullmatch(form, line) for line in lines)


async def test_a_log_that_nobody_reads_delays_neither_calls_nor_the_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with trio.fail_after(30):
            async with run_pods(1) as pods:
                variables = {"access_log": "json", "access_log_path": str(pipe)}
                with golb_with(tmp_path, {"f": {pods[0].ip: 1}}, **variables) as golb:
                    async with await Client.connect(golb.port) as client:
                        for _ in range(CALLS):
                            assert (await client.call("/function/f")).status == 200
                    began_s = time.monotonic()
                    lines = stop(golb)
                    assert time.monotonic() - began_s < 5
        written = os.read(reader, 1 << 20).splitlines()
    finally:
        os.close(reader)
    dropped = sum(line["lines"] for line in lines if line["message"] == "access log lines dropped")
    assert dropped > 0
    assert dropped + len(written) == CALLS
    assert all(json.loads(line)["status"] == 200 for line in written)

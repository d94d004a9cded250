"""The harness itself, for fractions of seconds: what it measures here is worth nothing, that it measures is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import growth as growth_module
from benchmarks.compare import Pace
from benchmarks.cores import read_cores
from benchmarks.growth import grow
from benchmarks.install import find_program
from benchmarks.load import generator
from benchmarks.peers.golb import interpreted_command

ROOT = Path(__file__).parents[2]
MISSING = [program for program in ("wrk", "nginx") if find_program(program) is None]

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"the benchmark needs {' and '.join(MISSING)}, not installed here"
)


def processes_marked(mark: str) -> list[str]:
    """Return the command lines of living processes that inherited a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_golb_and_nginx_are_measured_and_nothing_stays_behind(tmp_path: Path) -> None:
    mark = f"GOLB_BENCH_TEST={tmp_path}"
    name, _, value = mark.partition("=")
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--peers",
        "golb-interpreted,nginx",
        "--scenarios",
        "c16,large-posts",
    ]
    command += [
        "--rounds",
        "1",
        "--seconds",
        "0.5",
        "--warm-up",
        "0.1",
        "--no-growth",
        "--no-workers",
        "--results",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {name: value}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "narrowed.json").read_text())
    assert document["comparison"]["left_out"] == {}
    for scenario in ("c16", "large-posts"):
        for peer in ("golb-interpreted", "nginx"):
            summary = document["comparison"]["summaries"][scenario][peer]
            assert summary["rps"]["low"] > 0
            assert summary["cpu_us"]["low"] > 0
            assert summary["errors"]["high"] == 0, document["remarks"]
    assert "golb-interpreted" in (tmp_path / "narrowed.md").read_text()
    assert processes_marked(mark) == []


def test_how_golb_s_cost_grows_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_module, "golb_command", interpreted_command)  # to compile takes minutes
    monkeypatch.setattr(growth_module, "NODE_ROUNDS", 2)  # long enough for a second of puts
    cores = read_cores()
    said: list[str] = []
    growth = grow(
        # Weights change for half as long again: they are rewritten once a second, so they are within it.
        Pace(rounds=1, seconds=0.7, warm_up_s=0.1),
        cores=cores,
        load=generator(cores.load, tmp_path / "load"),
        directory=tmp_path / "growth",
        say=said.append,
        functions=(1, 20),
        endpoint_counts=(3,),
        copies=1,
        idle_clients=20,
        node_functions=20,
    )
    assert growth.failed == []
    assert [(one.functions, one.endpoints) for one in growth.functions] == [(1, 4), (20, 4)]
    assert [(one.functions, one.endpoints) for one in growth.endpoints] == [(1, 3)]
    assert growth.idle_client_kib is not None
    assert growth.changes is not None
    quiet, elsewhere, changing = growth.changes.rows[:3]
    assert quiet.puts_per_s == 0
    assert elsewhere.puts_per_s > 0
    assert changing.puts_per_s > 0
    assert [one.endpoints for one in growth.nginx_endpoints] == [3]
    assert 0 < quiet.put_to_pick_p50_ms <= quiet.put_to_pick_p99_ms <= quiet.put_to_pick_max_ms
    assert growth.node is not None
    assert len(growth.node.workers_mib) == growth.node.workers == 2
    assert growth.node.puts_per_s > 0

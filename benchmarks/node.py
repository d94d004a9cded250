"""A node at its fullest: several workers, many functions, all weights rewritten every second while it serves."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.changes import CONNECTIONS, PROBE, paced, put_to_pick
from benchmarks.checks import answers
from benchmarks.children import child
from benchmarks.etcd import EtcdWriter, function_key, weights_value
from benchmarks.figures import percentile
from benchmarks.layout import HOST, SMALL_PATH
from benchmarks.procfs import each_cpu_s, each_resident_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.children import Child
    from benchmarks.load import Generator

MIB = 1024 * 1024
FUNCTIONS = 10_000
WORKERS = 2
CALLS_A_SECOND = 500
"""Few: on two cores, which golb, etcd, the writer and the load share, the weights alone keep all busy."""
# A put waits behind those of the others, in etcd and in golb: that is what is measured, however long it takes.
_PICK_TIMEOUT_S = 60.0


@frozen(kw_only=True)
class Node:
    """What was seen of it."""

    functions: int
    workers: int
    puts_per_s: float
    rps: float
    p99_ms: float
    """Of the calls."""
    parent_cpu_share: float
    """Of the core."""
    workers_cpu_share: Sequence[float]
    parent_mib: float
    """Resident memory."""
    workers_mib: Sequence[float]
    put_to_pick_p50_ms: float
    put_to_pick_p99_ms: float
    answer_to_pick_p50_ms: float
    """From etcd's answer to the put."""
    answer_to_pick_p99_ms: float
    samples: int


def measure_node(
    golb: Child,
    port: int,
    zone: str,
    endpoints: Mapping[str, int],
    *,
    functions: int,
    script: str,
    etcd_port: int,
    load: Generator,
    seconds: float,
) -> Node:
    """Rewrite all weights every second, by transactions, while the functions are called now and then.

    Raises:
        LoadFailed: a put was not followed by a pick in time, or the load did not work.
        PeerFailed: golb or the writer has ended.
    """
    first, second = list(endpoints)[:2]
    rewriter = [sys.executable, "-m", "benchmarks.rewriter", str(etcd_port), zone, str(functions), *endpoints]
    with EtcdWriter(etcd_port) as writer, ThreadPoolExecutor(1) as wrk:
        writer.put(function_key(zone, PROBE), weights_value({first: 1, second: 0}))
        golb.wait_until(lambda: answers(port, f"/function/{PROBE}"))
        log = load.directory / "rewriter-of-node.txt"
        with child("rewriter", rewriter, cores=load.cores, log=log) as writing:
            url = f"http://{HOST}:{port}/function/f0{SMALL_PATH}"
            rewritten, cpu, started = _rewritten(log), each_cpu_s(golb.pid), time.monotonic()
            loaded = wrk.submit(load.run, url, script + paced(CALLS_A_SECOND), connections=CONNECTIONS, seconds=seconds)
            picks = put_to_pick(writer, port, zone, (first, second), seconds, timeout_s=_PICK_TIMEOUT_S)
            seen = loaded.result()
            wall_s = time.monotonic() - started
            shares = [after - before for after, before in zip(each_cpu_s(golb.pid), cpu, strict=True)]
            rewritten = _rewritten(log) - rewritten
            writing.check()
    parent_mib, *workers_mib = (count / MIB for count in each_resident_bytes(golb.pid))
    parent_share, *workers_shares = (used / wall_s for used in shares)
    return Node(
        functions=functions,
        workers=len(workers_mib),
        puts_per_s=rewritten / wall_s,
        rps=seen.rps,
        p99_ms=seen.p99_ms,
        parent_cpu_share=parent_share,
        workers_cpu_share=workers_shares,
        parent_mib=parent_mib,
        workers_mib=workers_mib,
        put_to_pick_p50_ms=percentile([pick.from_put_ms for pick in picks], 0.5),
        put_to_pick_p99_ms=percentile([pick.from_put_ms for pick in picks], 0.99),
        answer_to_pick_p50_ms=percentile([pick.from_answer_ms for pick in picks], 0.5),
        answer_to_pick_p99_ms=percentile([pick.from_answer_ms for pick in picks], 0.99),
        samples=len(picks),
    )


def _rewritten(log: Path) -> int:
    """Return how many values have been written."""
    lines = log.read_text().split()
    return int(lines[-1]) if lines else 0

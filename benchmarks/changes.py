"""Weights that change while golb serves: what it costs, whom it delays, and how soon a put decides a pick.

From put to pick: a function of two endpoints gets all its weight moved to the other one; the clock runs from the put's
sending until a call has been answered by the other one. Calls follow one another over one connection, so the figure
contains, beside golb's part, etcd's and up to two calls. etcd's may be much the larger one, since it waits for its disk;
so the time from etcd's answer to the put until that call is told too, and is below 0 where the watch was the faster way.
"""

from __future__ import annotations

import http.client
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.checks import answers
from benchmarks.children import child
from benchmarks.errors import LoadFailed
from benchmarks.etcd import EtcdWriter, function_key, weights_value
from benchmarks.figures import Figure, figure, percentile
from benchmarks.layout import ENDPOINT_HEADER, HOST, SMALL_PATH
from benchmarks.procfs import cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from benchmarks.children import Child
    from benchmarks.compare import Pace
    from benchmarks.load import Generator, Load

PROBE = "probe"
CONNECTIONS = 64
PACED_RPS = 2_000
_PICK_TIMEOUT_S = 5.0
_PAUSE_S = (0.005, 0.025)
_REWRITTEN = "weights rewritten every second"
_SECONDS_FACTOR = 1.5
"""Longer than other rounds, as the weights are rewritten but once a second."""


def paced(rps: float) -> str:
    """Return Lua by which all connections together send so many requests a second.

    wrk waits so long before each request of a connection; the answer's time comes on top, so it is a little less.
    """
    return f"""
delay = function()
  return math.random({int(CONNECTIONS / rps * 500)}, {int(CONNECTIONS / rps * 1500)})
end
"""


@frozen(kw_only=True)
class Change:
    """Calls of the functions under one load, and picks of the probe beside them."""

    title: str
    puts_per_s: float
    """As many as etcd and its writer managed; 0: only the probe's own."""
    rps: Figure
    p50_ms: Figure
    p99_ms: Figure
    errors: Figure
    put_to_pick_p50_ms: float
    put_to_pick_p99_ms: float
    put_to_pick_max_ms: float
    answer_to_pick_p50_ms: float
    """From etcd's answer to the put."""
    answer_to_pick_p99_ms: float
    samples: int
    """Of put to pick, all rounds together."""


@frozen(kw_only=True)
class Changes:
    """Weights that change, the same without, and the same with another zone's changing, of which golb learns nothing."""

    functions: int
    rows: list[Change]
    idle_cpu_share: float
    """Of the core, while nothing happens."""
    puts_cpu_share: float
    """Of the core, while the weights are rewritten and nothing is called."""
    puts_cpu_us: float
    """For each put, in microseconds."""


@frozen
class Pick:
    """How long one put took to decide a pick, in milliseconds."""

    from_put_ms: float
    from_answer_ms: float


@frozen
class _Round:
    load: Load
    picks: list[Pick]
    puts_per_s: float


def measure_changes(
    golb: Child,
    port: int,
    zone: str,
    endpoints: Mapping[str, int],
    *,
    functions: int,
    script: str,
    pace: Pace,
    etcd_port: int,
    load: Generator,
    say: Callable[[str], None],
) -> Changes:
    """Measure with and without rewriting, at a moderate pace and as fast as calls go.

    Raises:
        LoadFailed: a put was not followed by a pick in time, or the load did not work.
        PeerFailed: golb or the writer has ended.
    """
    first, second = list(endpoints)[:2]
    seconds = pace.seconds * _SECONDS_FACTOR

    def rewriting(whose: str) -> AbstractContextManager[Child]:
        command = [sys.executable, "-m", "benchmarks.rewriter", str(etcd_port), whose, str(functions), *endpoints]
        return child("rewriter", command, cores=load.cores, log=load.directory / "rewriter.txt")

    def under_load(kind_script: str) -> _Round:
        with EtcdWriter(etcd_port) as writer, ThreadPoolExecutor(1) as wrk:
            revision, started = writer.revision(), time.monotonic()
            url = f"http://{HOST}:{port}/function/f0{SMALL_PATH}"
            loaded = wrk.submit(load.run, url, kind_script, connections=CONNECTIONS, seconds=seconds)
            picks = put_to_pick(writer, port, zone, (first, second), seconds)
            seen = loaded.result()
            puts = writer.revision() - revision - len(picks)
            return _Round(seen, picks, puts / (time.monotonic() - started))

    with EtcdWriter(etcd_port) as writer:
        writer.put(function_key(zone, PROBE), weights_value({first: 1, second: 0}))
    golb.wait_until(lambda: answers(port, f"/function/{PROBE}"))
    golb.settle()

    idle_share, _ = _cpu_share(golb, etcd_port, seconds)
    loads = {f"about {PACED_RPS:,} requests/s": script + paced(PACED_RPS), "as many requests as it can": script}
    rounds: dict[str, list[_Round]] = {}
    for number in range(pace.rounds):
        for title, kind_script in loads.items():
            step = f"round {number + 1}/{pace.rounds}, {title}"
            seen = {"weights stay": under_load(kind_script)}
            # The writer and etcd take from the load and the endpoints too, wherever they write.
            for what, whose in ((f"another zone's {_REWRITTEN}", f"{zone}-else"), (_REWRITTEN, zone)):
                with rewriting(whose) as writing:
                    seen[what] = under_load(kind_script)
                    writing.check()
                golb.settle()
            for what, one in seen.items():
                rounds.setdefault(f"{title}, {what}", []).append(one)
                say(f"{step}, {what}: {one.puts_per_s:.0f} puts/s, p99 {one.load.p99_ms:.1f} ms")
    with rewriting(zone) as writing:
        puts_share, puts_per_s = _cpu_share(golb, etcd_port, seconds)
        writing.check()
    return Changes(
        functions=functions,
        rows=[_summarize(title, ones) for title, ones in rounds.items()],
        idle_cpu_share=idle_share,
        puts_cpu_share=puts_share,
        puts_cpu_us=(puts_share - idle_share) / puts_per_s * 1e6 if puts_per_s else 0.0,
    )


def _summarize(title: str, rounds: list[_Round]) -> Change:
    picks = [pick for one in rounds for pick in one.picks]
    from_put_ms = [pick.from_put_ms for pick in picks]
    from_answer_ms = [pick.from_answer_ms for pick in picks]
    return Change(
        title=title,
        puts_per_s=figure([one.puts_per_s for one in rounds]).median,
        rps=figure([one.load.rps for one in rounds]),
        p50_ms=figure([one.load.p50_ms for one in rounds]),
        p99_ms=figure([one.load.p99_ms for one in rounds]),
        errors=figure([one.load.errors for one in rounds]),
        put_to_pick_p50_ms=percentile(from_put_ms, 0.5),
        put_to_pick_p99_ms=percentile(from_put_ms, 0.99),
        put_to_pick_max_ms=max(from_put_ms),
        answer_to_pick_p50_ms=percentile(from_answer_ms, 0.5),
        answer_to_pick_p99_ms=percentile(from_answer_ms, 0.99),
        samples=len(picks),
    )


def _cpu_share(golb: Child, etcd_port: int, seconds: float) -> tuple[float, float]:
    """Return the share of the core that golb uses without being called, and the puts in a second meanwhile."""
    with EtcdWriter(etcd_port) as writer:
        revision, cpu, started = writer.revision(), cpu_s(golb.pid), time.monotonic()
        time.sleep(seconds)
        wall_s = time.monotonic() - started
        return (cpu_s(golb.pid) - cpu) / wall_s, (writer.revision() - revision) / wall_s


def put_to_pick(
    writer: EtcdWriter,
    port: int,
    zone: str,
    endpoints: tuple[str, str],
    seconds: float,
    *,
    timeout_s: float = _PICK_TIMEOUT_S,
) -> list[Pick]:
    """Move all the weight to and fro for some seconds; return how long each move took to be seen.

    Raises:
        LoadFailed: one was not seen within `timeout_s`, or the calls that look for it break off.
    """
    picks: list[Pick] = []
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    deadline = time.monotonic() + seconds

    def answered_at() -> float:
        writer.wait()
        return time.monotonic()

    try:
        with ThreadPoolExecutor(1) as waiting:
            here, there = endpoints
            if _who_answers(connection) == there:
                here, there = there, here
            while time.monotonic() < deadline or not picks:
                time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - not a secret
                here, there = there, here
                started = time.monotonic()
                writer.send_put(function_key(zone, PROBE), weights_value({here: 1, there: 0}))
                answered = waiting.submit(answered_at)
                while _who_answers(connection) != here:
                    if time.monotonic() - started > timeout_s:
                        raise LoadFailed(f"a put had decided no pick after {timeout_s:g} s")
                picked = time.monotonic()
                picks.append(Pick((picked - started) * 1e3, (picked - answered.result()) * 1e3))
    except (OSError, http.client.HTTPException) as exc:
        raise LoadFailed(f"the probe's calls break off: {exc!r}") from exc
    finally:
        connection.close()
    return picks


def _who_answers(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", f"/function/{PROBE}{SMALL_PATH}")
    response = connection.getresponse()
    response.read()
    return response.headers[ENDPOINT_HEADER] or ""

"""How golb's cost grows: with functions, with endpoints, with weights that change while it serves, with idle clients.

All golbs run side by side, each with a zone of its own in one etcd, and the rounds go round them, as in the comparison.
Of each size there are two: which memory a process happens to get moves its figure by a tenth and more, for as long as it
lives. nginx in front of as many endpoints shows which part of their cost is the kernel's, for so many connections.
"""

from __future__ import annotations

import http.client
import os
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field, frozen

from benchmarks.changes import Changes, measure_changes
from benchmarks.checks import answers
from benchmarks.children import child
from benchmarks.compare import MIB, Summary, measure, shown, summarize
from benchmarks.endpoints import endpoints, free_addresses, many_addresses
from benchmarks.errors import BenchmarkError, LoadFailed, PeerFailed
from benchmarks.etcd import EtcdWriter, function_key, weights_value
from benchmarks.layout import HOST, PREFIX, SMALL_PATH, WEIGHTS
from benchmarks.load import generator
from benchmarks.node import FUNCTIONS as NODE_FUNCTIONS
from benchmarks.node import WORKERS as NODE_WORKERS
from benchmarks.node import Node, measure_node
from benchmarks.peers import Site
from benchmarks.peers.golb import golb_command, golb_environ
from benchmarks.peers.nginx import Nginx
from benchmarks.procfs import resident_bytes
from demo.etcd import EtcdProcess
from demo.ports import choose_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.children import Child
    from benchmarks.compare import Measurement, Pace
    from benchmarks.cores import Cores
    from benchmarks.load import Generator

T = TypeVar("T")

CONNECTIONS = 64
FUNCTIONS = (1, 1_000, 100_000)
ENDPOINTS = (1, 10, 1_000)
IDLE_CLIENTS = 1_000
COPIES = 2
"""Golbs of each size, whose rounds are put together."""
NODE_ROUNDS = 5
"""As one golb alone is measured, so much longer than others."""
_TABLE_TIMEOUT_S = 120.0
_FIRST_CALLS = 20
_FIRST_CALLS_S = 0.5


@frozen(kw_only=True)
class Size:
    """One golb: how many functions its zone has, and endpoints each of them."""

    functions: int
    endpoints: Mapping[str, int]
    workers: int = 1

    @property
    def zone(self) -> str:
        """Where its weights stand."""
        return f"zone-{self.functions}-{len(self.endpoints)}"

    def script(self) -> str:
        """Return Lua that calls the functions at random."""
        return _calls("", f"math.random(0, {self.functions - 1})")

    def script_in_order(self, first: int) -> str:
        """Return Lua that calls one function after the other."""
        return _calls(f"local called = {first - 1}", "called", f"called = (called + 1) % {self.functions}")


def _calls(begin: str, number: str, each: str = "") -> str:
    target = f'"GET /function/f" .. {number} .. "{SMALL_PATH} HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n"'
    return f"""
{begin}
request = function()
  {each}
  return {target}
end
"""


@frozen(kw_only=True)
class Grown:
    """A proxy of a size."""

    functions: int
    endpoints: int
    load: Summary
    rest_mib: float
    """Resident memory when it is ready, before any load: the largest of all copies."""
    start_s: float
    """From the start of the process until it answers the last of its functions; of the first copy, as later ones start beside it."""


@define
class Growth:
    """The second table."""

    functions: list[Grown] = field(factory=list)
    endpoints: list[Grown] = field(factory=list)
    nginx_endpoints: list[Grown] = field(factory=list)
    """nginx in front of as many."""
    changes: Changes | None = None
    node: Node | None = None
    idle_client_kib: float | None = None
    """Resident memory for each of the idle connections, in KiB; each has made one call."""
    failed: list[str] = field(factory=list)
    """What could not be measured, and why."""


@define
class _Running:
    size: Size
    process: Child
    port: int
    start_s: float
    rest_mib: float
    script: str
    """Of the load."""
    path: str = f"/function/f0{SMALL_PATH}"
    rounds: list[Measurement] = field(factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{self.path}"


def _grown(size: Size, running: Sequence[_Running], rounds: int) -> list[Grown]:
    """Put the copies of a size together; nothing, if one of them has not gone all its rounds."""
    copies = [one for one in running if one.size is size]
    if not copies or any(len(one.rounds) != rounds for one in copies):
        return []
    return [
        Grown(
            functions=size.functions,
            endpoints=len(size.endpoints),
            load=summarize([measured for one in copies for measured in one.rounds]),
            rest_mib=max(one.rest_mib for one in copies),
            start_s=copies[0].start_s,
        )
    ]


def grow(
    pace: Pace,
    *,
    cores: Cores,
    load: Generator,
    directory: Path,
    say: Callable[[str], None],
    functions: Sequence[int] = FUNCTIONS,
    endpoint_counts: Sequence[int] = ENDPOINTS,
    copies: int = COPIES,
    idle_clients: int = IDLE_CLIENTS,
    node_functions: int = NODE_FUNCTIONS,
) -> Growth:
    """Measure golb at all sizes; the weights that change are those of the second number of functions."""
    result = Growth()
    four = dict(zip(free_addresses(len(WEIGHTS)), WEIGHTS, strict=True))
    (port,) = choose_ports([None])
    many = many_addresses(max(endpoint_counts), port)
    by_functions = [Size(functions=count, endpoints=four) for count in functions]
    by_endpoints = [Size(functions=1, endpoints=dict.fromkeys(many[:count], 1)) for count in endpoint_counts]
    directory.mkdir(exist_ok=True)
    with (
        endpoints([*four, *many], directory / "endpoints", cores.load),
        EtcdProcess(data_dir=directory / "etcd", log=directory / "etcd.log") as etcd,
    ):
        with ExitStack() as stack:
            running: list[_Running] = []
            nginxes: list[_Running] = []
            for copy in range(copies):
                for size in by_functions + by_endpoints:
                    start = partial(_start, size, etcd.port, cores, directory, stack)
                    _attempt_start(size, result, say, running, start)
                for size in by_endpoints:
                    own_directory = directory / f"nginx-{len(size.endpoints)}-{copy}"
                    start = partial(_start_nginx, size, cores, own_directory, stack)
                    _attempt_start(size, result, say, nginxes, start)
            result.idle_client_kib = _attempt(
                "idle clients", result, say, lambda: _idle_client_kib(running[0], idle_clients)
            )
            for one in running:
                _attempt("first calls", result, say, partial(_call_each, one, load))
            _load([*running, *nginxes], pace, load, cores.proxy, result, say)
        result.functions = [one for size in by_functions for one in _grown(size, running, pace.rounds)]
        result.endpoints = [one for size in by_endpoints for one in _grown(size, running, pace.rounds)]
        result.nginx_endpoints = [one for size in by_endpoints for one in _grown(size, nginxes, pace.rounds)]
        # Alone, as the others, a dozen, would take a tenth of the core for doing nothing.
        result.changes = _attempt(
            "changing weights",
            result,
            say,
            lambda: _measure_changes(by_functions[1], etcd.port, pace, cores, load, directory, say),
        )
        everywhere = cores.without_borders()
        result.node = _attempt(
            "a node with workers",
            result,
            say,
            lambda: _measure_node(
                node_functions, four, etcd.port, pace, everywhere, generator(everywhere.load, load.directory), directory
            ),
        )
    return result


def _measure_changes(
    size: Size,
    etcd_port: int,
    pace: Pace,
    cores: Cores,
    load: Generator,
    directory: Path,
    say: Callable[[str], None],
) -> Changes:
    with ExitStack() as stack:
        golb = _start(size, etcd_port, cores, directory, stack)
        _call_each(golb, load)
        return measure_changes(
            golb.process,
            golb.port,
            size.zone,
            size.endpoints,
            functions=size.functions,
            script=golb.script,
            pace=pace,
            etcd_port=etcd_port,
            load=load,
            say=say,
        )


def _measure_node(
    functions: int,
    endpoints: Mapping[str, int],
    etcd_port: int,
    pace: Pace,
    cores: Cores,
    load: Generator,
    directory: Path,
) -> Node:
    size = Size(functions=functions, endpoints=endpoints, workers=NODE_WORKERS)
    with ExitStack() as stack:
        golb = _start(size, etcd_port, cores, directory, stack)
        return measure_node(
            golb.process,
            golb.port,
            size.zone,
            endpoints,
            functions=functions,
            script=size.script(),
            etcd_port=etcd_port,
            load=load,
            seconds=pace.seconds * NODE_ROUNDS,
        )


def _shown(size: Size) -> str:
    functions, endpoint_count = size.functions, len(size.endpoints)
    return (
        f"{functions:,} function{'s' if functions != 1 else ''} of "
        f"{endpoint_count:,} endpoint{'s' if endpoint_count != 1 else ''}"
    )


def _start(size: Size, etcd_port: int, cores: Cores, directory: Path, stack: ExitStack) -> _Running:
    value = weights_value(size.endpoints)
    with EtcdWriter(etcd_port) as writer:
        writer.put_all((function_key(size.zone, f"f{number}"), value) for number in range(size.functions))
    (port,) = choose_ports([None])
    environ = {name: value for name, value in os.environ.items() if not name.lower().startswith("eb_go_lb_")}
    started = time.monotonic()
    process = stack.enter_context(
        child(
            f"golb with {_shown(size)}",
            golb_command(),
            cores=cores.proxies,
            log=directory / f"{size.zone}.log",
            environ=environ | golb_environ(port, etcd_port, size.zone) | {"eb_go_lb_workers": str(size.workers)},
        )
    )
    # etcd lists keys in the order of their bytes, and golb takes them over in that order.
    last = max(f"f{number}" for number in range(size.functions))
    process.wait_until(lambda: answers(port, f"/function/{last}"), _TABLE_TIMEOUT_S)
    start_s = time.monotonic() - started
    process.settle()
    return _Running(size, process, port, start_s, resident_bytes(process.pid) / MIB, size.script())


def _start_nginx(size: Size, cores: Cores, directory: Path, stack: ExitStack) -> _Running:
    directory.mkdir()
    (port,) = choose_ports([None])
    nginx = Nginx()
    if (missing := nginx.missing()) is not None:
        raise PeerFailed(missing)
    started = time.monotonic()
    process = stack.enter_context(
        nginx.serve(
            Site(
                directory=directory,
                port=port,
                endpoints=size.endpoints,
                proxy_cores=cores.proxies,
                load_cores=sorted(cores.load),
            )
        )
    )
    start_s = time.monotonic() - started
    return _Running(size, process, port, start_s, resident_bytes(process.pid) / MIB, "", f"{PREFIX}{SMALL_PATH}")


def _call_each(one: _Running, load: Generator) -> None:
    """Call each function, most of them once: what a first call makes is not every call's."""
    called = 0
    while called < one.size.functions:
        script = one.size.script_in_order(called % one.size.functions)
        seen = load.run(one.url, script, connections=CONNECTIONS, seconds=_FIRST_CALLS_S)
        one.process.check()
        if seen.requests == 0 or seen.errors:
            raise LoadFailed(f"of {seen.requests} first calls {seen.errors} failed")
        called += seen.requests


def _attempt_start(
    size: Size, result: Growth, say: Callable[[str], None], running: list[_Running], start: Callable[[], _Running]
) -> None:
    started = _attempt(_shown(size), result, say, start)
    if started is not None:
        running.append(started)
        say(f"{_shown(size)}: {started.rest_mib:.0f} MiB, ready after {started.start_s:.1f} s")


def _attempt(what: str, result: Growth, say: Callable[[str], None], measure_it: Callable[[], T]) -> T | None:
    try:
        return measure_it()
    except (BenchmarkError, OSError, http.client.HTTPException) as exc:
        result.failed.append(f"{what}: {exc}")
        say(result.failed[-1])
        return None


def _load(
    running: Sequence[_Running],
    pace: Pace,
    load: Generator,
    core: int,
    result: Growth,
    say: Callable[[str], None],
) -> None:
    for number in range(pace.rounds):
        for one in running:
            step = f"round {number + 1}/{pace.rounds}, {one.process.name}"
            try:
                seen = measure(
                    one.process,
                    one.url,
                    one.script,
                    connections=CONNECTIONS,
                    pace=pace,
                    load=load,
                    core=core,
                )
            except BenchmarkError as exc:
                result.failed.append(f"{step}: {exc}")
                say(result.failed[-1])
            else:
                one.rounds.append(seen)
                say(f"{step}: {shown(seen)}")


def _idle_client_kib(golb: _Running, clients: int) -> float:
    """Return what golb holds for each of many connections that have made a call and stay open."""
    path = f"/function/f0{SMALL_PATH}"
    with ExitStack() as stack:
        connections: list[http.client.HTTPConnection] = []

        def call() -> None:
            connections.append(http.client.HTTPConnection(HOST, golb.port, timeout=10))
            stack.callback(connections[-1].close)
            connections[-1].request("GET", path)
            connections[-1].getresponse().read()

        for _ in range(_FIRST_CALLS):  # what the first calls take is not each connection's
            call()
        golb.process.settle()
        before = resident_bytes(golb.process.pid)
        for _ in range(clients):
            call()
        golb.process.settle()
        return (resident_bytes(golb.process.pid) - before) / clients / 1024

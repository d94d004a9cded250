"""The comparison: all peers run side by side, and each scenario goes round all of them before the next one begins.

So what disturbs the machine for a while disturbs all of them, and shows in the spread. A peer that fails is left out
from then on, saying why; it does not end the run.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from benchmarks.checks import check_work
from benchmarks.endpoints import endpoints, free_addresses
from benchmarks.errors import LoadFailed, PeerFailed
from benchmarks.figures import Figure, figure
from benchmarks.layout import HOST, WEIGHTS
from benchmarks.peers import Peer, Site
from benchmarks.procfs import core_s, cpu_s, resident_bytes
from demo.errors import PartFailed
from demo.ports import choose_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from benchmarks.children import Child
    from benchmarks.cores import Cores
    from benchmarks.load import Generator
    from benchmarks.scenarios import Scenario

MIB = 1024 * 1024


@frozen(kw_only=True)
class Measurement:
    """One scenario, one peer, one round."""

    cpu_us: float
    """CPU time of the proxy for each request, in microseconds."""
    rps: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    """Just after the load."""
    errors: float
    errors_by_kind: dict[str, int]
    others_share: float
    """The share of the time for which something else kept the proxy's core busy."""


@frozen
class Summary:
    """One scenario, one peer, all rounds; the fields of `Measurement`, each over the rounds."""

    cpu_us: Figure
    rps: Figure
    p50_ms: Figure
    p99_ms: Figure
    rss_mib: Figure
    errors: Figure
    errors_by_kind: dict[str, int]
    """In all rounds together."""
    others_share: Figure

    @property
    def noisy(self) -> bool:
        """Whether the main figure, or how many requests there were, differs too much between the rounds."""
        return self.cpu_us.noisy or self.rps.noisy


@define
class Comparison:
    """What came out."""

    versions: dict[str, str] = field(factory=dict)
    """By peer."""
    rest_mib: dict[str, float] = field(factory=dict)
    """Resident memory before any load but a few calls, by peer."""
    left_out: dict[str, str] = field(factory=dict)
    """Why, by peer."""
    summaries: dict[str, dict[str, Summary]] = field(factory=dict)
    """By scenario's key and peer."""


@frozen(kw_only=True)
class Pace:
    """How often and how long."""

    rounds: int
    seconds: float
    """Measured in each round."""
    warm_up_s: float


def measure(
    process: Child, url: str, script: str, *, connections: int, pace: Pace, load: Generator, core: int
) -> Measurement:
    """Load one proxy for one round.

    Raises:
        LoadFailed: no request was answered.
        PeerFailed: it has ended.
    """
    load.run(url, script, connections=connections, seconds=pace.warm_up_s)
    process.settle()
    started, cpu_before, core_before = time.monotonic(), cpu_s(process.pid), core_s(core)
    seen = load.run(url, script, connections=connections, seconds=pace.seconds)
    cpu, core_busy, wall_s = cpu_s(process.pid) - cpu_before, core_s(core) - core_before, time.monotonic() - started
    rss_mib = resident_bytes(process.pid) / MIB
    process.settle()  # a slow one has requests left whose clients have gone, and would take the next one's core for seconds
    process.check()
    if seen.requests == 0:
        raise LoadFailed("no request was answered")
    return Measurement(
        cpu_us=cpu / seen.requests * 1e6,
        rps=seen.rps,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        rss_mib=rss_mib,
        errors=seen.errors,
        errors_by_kind={kind: count for kind, count in seen.errors_by_kind.items() if count},
        others_share=max(0.0, core_busy - cpu) / wall_s,
    )


def summarize(rounds: Sequence[Measurement]) -> Summary:
    """Put the rounds of one peer in one scenario together."""
    return Summary(
        cpu_us=figure([one.cpu_us for one in rounds]),
        rps=figure([one.rps for one in rounds]),
        p50_ms=figure([one.p50_ms for one in rounds]),
        p99_ms=figure([one.p99_ms for one in rounds]),
        rss_mib=figure([one.rss_mib for one in rounds]),
        errors=figure([one.errors for one in rounds]),
        errors_by_kind=dict(sum((Counter(one.errors_by_kind) for one in rounds), Counter())),
        others_share=figure([one.others_share for one in rounds]),
    )


def compare(
    peers: Sequence[Peer],
    scenarios: Sequence[Scenario],
    pace: Pace,
    *,
    cores: Cores,
    load: Generator,
    directory: Path,
    say: Callable[[str], None],
) -> Comparison:
    """Measure all the peers in all the scenarios."""
    result = Comparison()
    weights = dict(zip(free_addresses(len(WEIGHTS)), WEIGHTS, strict=True))
    with endpoints(list(weights), directory / "endpoints", cores.load), ExitStack() as stack:
        running: dict[str, tuple[Child, int]] = {}
        for peer in peers:
            try:
                running[peer.name] = stack.enter_context(_checked(peer, weights, cores, directory, result))
            except (PeerFailed, PartFailed) as exc:
                result.left_out[peer.name] = str(exc)
                say(f"{peer.name} is left out: {exc}")
        measured = _rounds(running, scenarios, pace, load, cores.proxy, result.left_out, say)
    for scenario in scenarios:
        by_peer = {name: rounds for (key, name), rounds in measured.items() if key == scenario.key}
        result.summaries[scenario.key] = {
            name: summarize(by_peer[name])
            for name in running
            # Whoever failed half-way has fewer rounds than the others, and no place among them.
            if len(by_peer.get(name, ())) == pace.rounds
        }
    return result


@contextmanager
def _checked(
    peer: Peer, weights: dict[str, int], cores: Cores, directory: Path, result: Comparison
) -> Iterator[tuple[Child, int]]:
    """Run a peer that has shown to do the work."""
    if (missing := peer.missing()) is not None:
        raise PeerFailed(missing)
    own_directory = directory / peer.name
    own_directory.mkdir()
    (port,) = choose_ports([None])
    site = Site(
        directory=own_directory, port=port, endpoints=weights, proxy_cores=cores.proxies, load_cores=sorted(cores.load)
    )
    with peer.serve(site) as process:
        check_work(peer.name, port, weights)
        result.versions[peer.name] = peer.version()
        result.rest_mib[peer.name] = resident_bytes(process.pid) / MIB
        yield process, port


def _rounds(
    running: dict[str, tuple[Child, int]],
    scenarios: Sequence[Scenario],
    pace: Pace,
    load: Generator,
    core: int,
    left_out: dict[str, str],
    say: Callable[[str], None],
) -> dict[tuple[str, str], list[Measurement]]:
    measured: dict[tuple[str, str], list[Measurement]] = {}
    for number in range(pace.rounds):
        for scenario in scenarios:
            for name in _rotated(list(running), number):
                if name in left_out:
                    continue
                process, port = running[name]
                step = f"round {number + 1}/{pace.rounds}, {scenario.title}, {name}"
                try:
                    one = measure(
                        process,
                        f"http://{HOST}:{port}{scenario.target}",
                        scenario.script,
                        connections=scenario.connections,
                        pace=pace,
                        load=load,
                        core=core,
                    )
                except PeerFailed as exc:
                    left_out[name] = str(exc)
                    say(f"{step}: {exc}")
                except LoadFailed as exc:
                    left_out[f"{name}, {scenario.title}"] = str(exc)
                    say(f"{step}: {exc}")
                else:
                    measured.setdefault((scenario.key, name), []).append(one)
                    say(f"{step}: {shown(one)}")
    return measured


def shown(one: Measurement) -> str:
    """Return what to tell whoever waits for the end."""
    errors = ", ".join(f"{count} {kind} errors" for kind, count in one.errors_by_kind.items()) or "no errors"
    return f"{one.cpu_us:,.1f} µs, {one.rps:,.0f} requests/s, {errors}"


def _rotated(names: Sequence[str], by: int) -> Collection[str]:
    """Let another peer be the first in each round: what comes after a heavy one may find the machine warmer."""
    by %= max(1, len(names))
    return [*names[by:], *names[:by]]

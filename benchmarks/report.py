"""The results as Markdown: every scenario, every peer, every figure; whoever is best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scenarios import WORKERS_SCENARIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.changes import Changes
    from benchmarks.figures import Figure
    from benchmarks.growth import Grown, Growth
    from benchmarks.node import Node
    from benchmarks.results import Results

NOISY_MARK = " ⚠"
OURS = "golb"
_NONE = "-"

_WHICH = """\
`golb` is compiled by mypyc, as the image has it; `golb-interpreted` is the same source without that. How golb's cost grows, and what a
second worker costs, is measured of the compiled one.
"""

_METHOD = """\
## How it was measured

- Each peer does the same work: four endpoints with weights 5, 3, 1, 1; `/function/echo` stripped from the path; one
  worker; connections kept open on both sides, with room for 256 idle ones to each endpoint; bodies passed on as they
  come; no access log. Before it is measured, it has to show that it does so. golb runs as its users run it, with all
  defaults, takes its weights from a real etcd, and adds its headers to each request and answer.
- The proxy has one core to itself. Load (wrk, one thread) and endpoints (a static answer of nginx) run on others.
- CPU is utime + stime of all the proxy's processes, from /proc, divided by the requests answered. It is the figure to
  compare by: requests/s also depend on what the load generator and the endpoints leave over, as they share what
  remains of the machine.
- All peers run side by side, and each scenario goes round all of them before the next one begins. Figures are medians
  over the rounds, with the lowest and the highest in brackets. ⚠ marks a spread of more than 25 % of the median.
- p50 and p99 are the client's. Each connection sends its next request when the answer is there, so at full load they
  grow with the number of connections. Memory is resident memory just after the load.
"""


def to_markdown(results: Results, chart: str) -> str:
    """Return the page; `chart` is the file name of the picture."""
    parts = [
        "# golb beside other proxies\n",
        _machine(results),
        _WHICH,
        f"![CPU time of the proxy for each request, in every scenario]({chart})\n",
        _overview(results),
        _ratios(results),
        *_scenarios(results),
        _memory(results),
        _workers(results),
        *([_growth(results.growth)] if results.growth is not None else []),
        _remarks(results.remarks()),
        _METHOD,
    ]
    return "\n".join(part for part in parts if part)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _number(value: float) -> str:
    """Three digits, as the rounds do not agree on more; whole numbers above."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def _shown(figure: Figure) -> str:
    """Return the median and the spread."""
    if figure.rounds == 1:
        return _number(figure.median)
    mark = NOISY_MARK if figure.noisy else ""
    return f"{_number(figure.median)}{mark} ({_number(figure.low)} to {_number(figure.high)})"


def _named(peer: str) -> str:
    return f"**{peer}**" if peer == OURS else peer


def _machine(results: Results) -> str:
    machine, pace = results.machine, results.pace
    versions = [f"{name} {version}" for name, version in results.comparison.versions.items()]
    tools = [f"{name} {version}" for name, version in machine.versions.items()]
    return (
        f"{machine.date} UTC. {machine.processor}{', virtual' if machine.virtual else ''}: core {machine.proxy_core} for "
        f"the proxy, {', '.join(map(str, machine.load_cores))} for the rest; {machine.memory_gib:g} GiB; "
        f"{machine.system}; load average before the start {machine.load_average:.2f}.\n"
        f"{pace.rounds} round{'s' if pace.rounds != 1 else ''} of {pace.seconds:g} s each, "
        f"after {pace.warm_up_s:g} s of warm-up.\n\n"
        f"Measured: {'; '.join(versions)}.\nWith: {'; '.join(tools)}.\n"
    )


def _overview(results: Results) -> str:
    rows = []
    for scenario in results.scenarios:
        figures = results.cpu_us(scenario)
        rows.append([scenario.title, *(_median(figures.get(peer)) for peer in results.peers())])
    return "## CPU time of the proxy for each request, µs\n\n" + _table(["", *map(_named, results.peers())], rows)


def _median(figure: Figure | None) -> str:
    return _NONE if figure is None else _number(figure.median) + (NOISY_MARK if figure.noisy else "")


def _ratios(results: Results) -> str:
    others = [peer for peer in results.peers() if peer != OURS]
    if OURS not in results.peers() or not others:
        return ""
    rows = []
    for scenario in results.scenarios:
        figures = results.cpu_us(scenario)
        cells = []
        for peer in others:
            known = OURS in figures and peer in figures and figures[peer].median > 0
            cells.append(f"{figures[OURS].median / figures[peer].median:.2f}" if known else _NONE)
        rows.append([scenario.title, *cells])
    return "golb's figure divided by the other's: above 1, golb needs more.\n\n" + _table(
        ["golb against", *others], rows
    )


def _scenarios(results: Results) -> list[str]:
    header = ["", "CPU µs/request", "requests/s", "p50 ms", "p99 ms", "memory MiB", "errors"]
    sections = []
    for scenario in results.scenarios:
        summaries = results.comparison.summaries.get(scenario.key, {})
        rows = [
            [
                _named(peer),
                *map(_shown, (one.cpu_us, one.rps, one.p50_ms, one.p99_ms)),
                _number(one.rss_mib.median),
                _number(one.errors.high),
            ]
            for peer, one in summaries.items()
        ]
        sections.append(f"## {scenario.title}\n\n" + _table(header, rows))
    return sections


def _memory(results: Results) -> str:
    summaries = results.comparison.summaries.values()
    rows = []
    for peer, rest_mib in results.comparison.rest_mib.items():
        seen = [by_peer[peer].rss_mib.high for by_peer in summaries if peer in by_peer]
        rows.append([_named(peer), _number(rest_mib), _number(max(seen)) if seen else _NONE])
    return "## Resident memory, MiB\n\n" + _table(["", "before the load", "most after any load"], rows)


def _workers(results: Results) -> str:
    if results.workers is None:
        return ""
    header = ["", "workers", "CPU µs/request", "requests/s", "requests for each second of CPU", "memory MiB", "errors"]
    rows = []
    for name, one in results.workers.summaries.get(WORKERS_SCENARIO.key, {}).items():
        peer, _, workers = name.partition("-")
        rows.append(
            [
                _named(peer),
                workers or "1",
                _shown(one.cpu_us),
                _shown(one.rps),
                _number(1e6 / one.cpu_us.median),
                _number(one.rss_mib.median),
                _number(one.errors.high),
            ]
        )
    return (
        f"## Two workers, {WORKERS_SCENARIO.title}\n\n"
        + _table(header, rows)
        + "\nHere proxy, load and endpoints all run on all cores, so that each worker can have one; they are in each other's "
        "way, with one worker as with two. The figures to compare are CPU time, and requests for each second of it.\n"
    )


def _growth(growth: Growth) -> str:
    parts = ["## How golb's cost grows\n"]
    for title, grown in (
        ("Functions in the zone, four endpoints each, called at random over 64 connections", growth.functions),
        ("Endpoints of one function, called over 64 connections", growth.endpoints),
        ("nginx in front of as many, over as many connections to them", growth.nginx_endpoints),
    ):
        if grown:
            parts.append(f"{title}:\n\n" + _grown(grown))
    if growth.changes is not None:
        parts.append(_changes(growth.changes))
    if growth.node is not None:
        parts.append(_node(growth.node))
    if growth.idle_client_kib is not None:
        parts.append(f"Each idle client connection holds {_number(growth.idle_client_kib)} KiB of resident memory.\n")
    return "\n".join(parts)


def _grown(grown: Sequence[Grown]) -> str:
    header = ["functions", "endpoints", "CPU µs/request", "against the first", "requests/s", "p50 ms", "p99 ms"]
    header += ["errors", "memory at rest, MiB", "after the load", "ready after s"]
    first = grown[0].load.cpu_us.median
    rows = []
    for one in grown:
        load = one.load
        against = f"{load.cpu_us.median / first - 1:+.0%}" if first else _NONE
        figures = [_shown(load.cpu_us), against, _shown(load.rps), _shown(load.p50_ms), _shown(load.p99_ms)]
        memory = [_number(load.errors.high), _number(one.rest_mib), _number(load.rss_mib.median), _number(one.start_s)]
        rows.append([f"{one.functions:,}", f"{one.endpoints:,}", *figures, *memory])
    return _table(header, rows)


def _changes(changes: Changes) -> str:
    header = [
        "",
        "puts/s",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "errors",
        "put to pick: p50 ms",
        "p99 ms",
        "max ms",
        "behind etcd's answer: p50 ms",
        "p99 ms",
        "puts",
    ]
    rows = [
        [
            row.title,
            _number(row.puts_per_s),
            *map(_shown, (row.rps, row.p50_ms, row.p99_ms)),
            _number(row.errors.high),
            *map(_number, (row.put_to_pick_p50_ms, row.put_to_pick_p99_ms, row.put_to_pick_max_ms)),
            *map(_number, (row.answer_to_pick_p50_ms, row.answer_to_pick_p99_ms)),
            f"{row.samples:,}",
        ]
        for row in changes.rows
    ]
    return (
        f"Weights of {changes.functions:,} functions rewritten every second, by a put each, while golb serves over 64 "
        "connections:\n\n"
        + _table(header, rows)
        + "\nPut to pick runs from sending a put until a call has been answered by the endpoint that the put names; it "
        "contains etcd's part and up to two calls. Behind etcd's answer to the put it is golb's part and these calls; below 0 the "
        "watch was faster than that answer. The writer, etcd and the load share what the proxy's core leaves "
        "over, so fewer puts than asked for may get through.\n\n"
        f"Rewriting alone, without calls, takes {changes.puts_cpu_share:.1%} of a core, {_number(changes.puts_cpu_us)} µs "
        f"a put; doing nothing takes {changes.idle_cpu_share:.1%}.\n"
    )


def _node(node: Node) -> str:
    rows = [["parent", f"{node.parent_cpu_share:.0%}", _number(node.parent_mib)]]
    rows += [
        [f"worker {index}", f"{share:.0%}", _number(mib)]
        for index, (share, mib) in enumerate(zip(node.workers_cpu_share, node.workers_mib, strict=True))
    ]
    return (
        f"{node.workers} workers, all cores, {node.functions:,} functions whose weights are all rewritten again and again "
        f"({_number(node.puts_per_s)} values a second), and {_number(node.rps)} calls a second:\n\n"
        + _table(["", "of the core", "memory MiB"], rows)
        + f"\nPut to pick: p50 {_number(node.put_to_pick_p50_ms)} ms, p99 {_number(node.put_to_pick_p99_ms)} ms, behind "
        f"etcd's answer {_number(node.answer_to_pick_p50_ms)} and {_number(node.answer_to_pick_p99_ms)} ms, of "
        f"{node.samples:,} puts; the calls' p99 is {_number(node.p99_ms)} ms.\n"
    )


def _remarks(remarks: Sequence[str]) -> str:
    if not remarks:
        return ""
    return "## What to hold against these figures\n\n" + "".join(
        f"- {' '.join(remark.split())}\n" for remark in remarks
    )

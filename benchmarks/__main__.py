"""The command line: `python -m benchmarks` measures everything; options narrow it down.

A narrowed run is for working on golb: it writes its files under another name, so that the published ones always show
all peers and all scenarios.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from benchmarks import compiled
from benchmarks.children import ROOT
from benchmarks.compare import Comparison, Pace, compare
from benchmarks.cores import read_cores
from benchmarks.errors import BenchmarkError
from benchmarks.growth import Growth, grow
from benchmarks.install import install_packages
from benchmarks.load import generator
from benchmarks.machine import read_machine
from benchmarks.peers import COMPILED_PEERS, DEFAULT_PEERS, PEERS, WORKERS_PEERS
from benchmarks.report import to_markdown
from benchmarks.results import Results
from benchmarks.scenarios import SCENARIOS, WORKERS_SCENARIO, small_answers
from benchmarks.svg import Panel, to_svg
from demo.errors import PartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.scenarios import Scenario

T = TypeVar("T")

RESULTS = ROOT / "benchmarks" / "results"
FULL_NAME = "results"
NARROWED_NAME = "narrowed"
MIN_ROUNDS = 3
MAX_ROUNDS = 50
MAX_SECONDS = 60.0
MAX_CONNECTIONS = 4096
_PACKAGES = ("wrk", "nginx", "haproxy")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code: 0, 1 if it could not measure, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        results = run(options)
    except (BenchmarkError, PartFailed) as exc:
        _say(f"nothing is measured: {exc}")
        return 1
    except KeyboardInterrupt:
        _say("ended before it was done; nothing is written")
        return 130
    for path in write(results, options.results, NARROWED_NAME if is_narrowed(options) else FULL_NAME):
        sys.stdout.write(f"{path}\n")
    return 0 if results.peers() or results.growth is not None or results.workers is not None else 1


def run(options: argparse.Namespace) -> Results:
    """Measure what the options say.

    Raises:
        BenchmarkError, PartFailed: nothing could be measured.
    """
    cores = read_cores()
    # Whatever is started from here on runs beside the proxies, unless it is one.
    os.sched_setaffinity(0, cores.load)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    peers = [PEERS[name]() for name in options.peers]
    is_whole = not is_narrowed(options)
    measures_growth = is_whole if options.growth is None else options.growth
    measures_workers = is_whole if options.workers is None else options.workers
    wanted = [package for package in _PACKAGES if package != "haproxy" or package in options.peers]
    if measures_growth or measures_workers or any(type(peer) in COMPILED_PEERS for peer in peers):
        install_packages([*wanted, *compiled.packages()], _say)
        compiled.make(_say)
    else:
        install_packages(wanted, _say)
    machine = read_machine(cores)
    pace = Pace(rounds=options.rounds, seconds=options.seconds, warm_up_s=options.warm_up)
    scenarios = _scenarios(options)
    with tempfile.TemporaryDirectory(prefix="golb-bench-") as name:
        directory = Path(name)
        load = generator(cores.load, directory / "load")
        comparison = Comparison()
        if peers and scenarios:
            (directory / "peers").mkdir()
            comparison = compare(
                peers, scenarios, pace, cores=cores, load=load, directory=directory / "peers", say=_say
            )
        workers = None
        if measures_workers:
            (directory / "workers").mkdir()
            everywhere = cores.without_borders()
            workers = compare(
                [peer() for peer in WORKERS_PEERS],
                [WORKERS_SCENARIO],
                pace,
                cores=everywhere,
                load=generator(everywhere.load, directory / "load"),
                directory=directory / "workers",
                say=_say,
            )
        growth = None
        if measures_growth:
            try:
                growth = grow(pace, cores=cores, load=load, directory=directory / "growth", say=_say)
            except (BenchmarkError, PartFailed) as exc:  # the comparison, if there was one, is worth keeping
                _say(f"how golb's cost grows is not measured: {exc}")
                growth = Growth(failed=[str(exc)])
    return Results(
        machine=machine, pace=pace, scenarios=scenarios, comparison=comparison, growth=growth, workers=workers
    )


def write(results: Results, directory: Path, name: str) -> list[Path]:
    """Write the three files and return where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    pace, machine = results.pace, results.machine
    subtitle = f"{machine.date} UTC, {machine.processor}, one core"
    spread = f"the line goes from the lowest to the highest of {pace.rounds} rounds" if pace.rounds > 1 else "one round"
    panels = [Panel(scenario.title, results.cpu_us(scenario)) for scenario in results.scenarios]
    texts = {
        "json": results.to_json(),
        "svg": to_svg(panels, f"{subtitle}; {spread}; a bar with a cut is longer than shown"),
        "md": to_markdown(results, f"{name}.svg"),
    }
    for suffix, text in texts.items():
        (directory / f"{name}.{suffix}").write_text(text)
    return [directory / f"{name}.{suffix}" for suffix in texts]


def is_narrowed(options: argparse.Namespace) -> bool:
    """Whether something is left out that a reader of the published results would miss."""
    return (
        options.peers != [peer.name for peer in DEFAULT_PEERS]
        or bool(options.connections or options.scenarios)
        or options.growth is False
        or options.workers is False
        or options.rounds < MIN_ROUNDS
    )


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    if options.connections:
        return [small_answers(count) for count in options.connections]
    return [one for one in SCENARIOS if not options.scenarios or one.key in options.scenarios]


def _parser() -> argparse.ArgumentParser:
    keys = ", ".join(one.key for one in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="golb and other proxies, doing the same work on the same core."
    )
    parser.add_argument(
        "--peers",
        type=_list_of(_one_of(*PEERS)),
        default=[peer.name for peer in DEFAULT_PEERS],
        metavar="NAME,...",
        help=f"which proxies: {', '.join(PEERS)}; default: all but the last",
    )
    parser.add_argument(
        "--connections",
        type=_list_of(_number(1, MAX_CONNECTIONS)),
        metavar="N,...",
        help="only 1 KiB answers, over so many connections",
    )
    parser.add_argument(
        "--scenarios",
        type=_list_of(_one_of(*(one.key for one in SCENARIOS))),
        metavar="KEY,...",
        help=f"only these: {keys}",
    )
    parser.add_argument("--rounds", type=_number(1, MAX_ROUNDS), default=MIN_ROUNDS, help="default: %(default)s")
    parser.add_argument("--seconds", type=_seconds, default=2.0, help="measured in each round; default: %(default)s")
    parser.add_argument("--warm-up", type=_seconds, default=0.5, help="seconds before it; default: %(default)s")
    parser.add_argument(
        "--growth",
        action=argparse.BooleanOptionalAction,
        help="how golb's cost grows; default: measured, unless the run is narrowed down",
    )
    parser.add_argument(
        "--workers",
        action=argparse.BooleanOptionalAction,
        help="what a second worker costs; default: measured, unless the run is narrowed down",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIRECTORY", help="default: benchmarks/results"
    )
    return parser


def _list_of(parse: Callable[[str], T]) -> Callable[[str], list[T]]:
    return lambda text: [parse(part.strip()) for part in text.split(",") if part.strip()]


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to {MAX_SECONDS:g}")
    return seconds


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _end(*_: object) -> NoReturn:
    """End as at a Ctrl-C, so that every process is stopped on the way out."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

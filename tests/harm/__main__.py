"""`make harm`: run a scenario, or all of them; print what was promised and what was seen; exit 1 if a promise was broken."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from benchmarks.errors import BenchmarkError
from demo.errors import PartFailed
from demo.etcd import EtcdProcess
from harm import descriptors, failing, flood, idle, replaced, restarts
from harm.arena import TooFewDescriptors
from harm.verdicts import table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from harm.verdicts import Verdict

SCENARIOS = ("failing", "replaced", "flood", "descriptors", "idle", "restarts")
WEIGHTS = ((1, 1, 1), (2, 1, 1))
"""By which `failing` is run, one after the other."""

_BROKEN, _CANNOT_RUN, _INTERRUPTED = 1, 2, 130


@frozen
class Run:
    """One table: a scenario, and what is done in it."""

    title: str
    start: Callable[..., Awaitable[list[Verdict]]]
    """Takes the rest: `etcd`, `say` and `variables`."""


def runs(name: str, scale: float) -> Iterator[Run]:
    """Yield what a scenario consists of."""
    match name:
        case "failing":
            for weights in WEIGHTS:
                options = failing.Options(weights=weights).scaled(scale)
                title = f"failing, weights {':'.join(map(str, weights))}, {options.seconds:g} s and the return"
                yield Run(title, partial(failing.run_failing, options=options))
        case "replaced":
            once = replaced.Options().scaled(scale)
            title = f"replaced, {once.times} times, dead for {once.dead_s:g} s each"
            yield Run(title, partial(replaced.run_replaced, options=once))
        case "flood":
            attack = flood.Options().scaled(scale)
            title = (
                f"flood, {attack.slow:,} slow senders, {attack.stopped:,} stopped readers,"
                f" {attack.flood_rps:,.0f} connections/s for {attack.seconds:g} s"
            )
            yield Run(title, partial(flood.run_flood, options=attack))
        case "descriptors":
            crowd = descriptors.Options().scaled(scale)
            title = f"descriptors, {crowd.clients:,} clients and {crowd.descriptors} open files"
            yield Run(title, partial(descriptors.run_descriptors, options=crowd))
        case "idle":
            silent = idle.Options().scaled(scale)
            title = f"idle, {silent.clients:,} connections for {silent.idle_s:g} s"
            yield Run(title, partial(idle.run_idle, options=silent))
        case "restarts":
            turns = restarts.Options().scaled(scale)
            title = f"restarts, {turns.restarts} by SIGUSR2 in {turns.seconds:g} s, and {turns.kills} kill -9 of workers, where there are several"
            yield Run(title, partial(restarts.run_restarts, options=turns))


def main() -> int:
    arguments = _parser().parse_args()
    variables = dict(arguments.set)
    names = SCENARIOS if arguments.scenario == "all" else (arguments.scenario,)
    code = 0
    try:
        with EtcdProcess() as etcd:
            for run in (run for name in names for run in runs(name, arguments.scale)):
                verdicts = trio.run(partial(run.start, etcd=etcd, say=_write, variables=variables))
                _write(f"\n{table(run.title, verdicts)}\n")
                if not all(verdict.kept for verdict in verdicts):
                    code = _BROKEN
    except* KeyboardInterrupt:
        code = _INTERRUPTED
    except* (BenchmarkError, PartFailed, TooFewDescriptors) as group:
        sys.stderr.write(f"cannot run: {group.exceptions[0]}\n")
        code = _CANNOT_RUN
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make harm", description=__doc__)
    parser.add_argument("scenario", choices=(*SCENARIOS, "all"))
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="of the times in failing, replaced and restarts, of the numbers in the others and in restarts",
    )
    parser.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of golb's, without eb_go_lb_",
    )
    return parser


def _setting(text: str) -> tuple[str, str]:
    name, value = text.split("=", 1)
    return name, value


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

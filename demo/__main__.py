"""golb in two zones on this machine, to try out: `python -m demo`, until Ctrl-C.

One nursery holds the processes, another one around it the example functions, so that what golb still forwards while
the demo ends finds its endpoint alive. Signals are received from the first moment on: what they cancel stops its
process on the way out, whether the demo was up or still starting.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from demo.commands import lines_to_copy
from demo.errors import PartFailed
from demo.functions import start_functions
from demo.layout import ETCD_PORT, ZONES
from demo.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

LAST_LINE = "Ctrl-C ends the demo."


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Run the demo; return its exit code: 0 after a signal, 1 if a part of it did not start."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="golb in two zones, to try out, until Ctrl-C.")
    parser.add_argument(
        "--free-ports",
        action="store_true",
        help=f"listen on free ports, not on {', '.join(str(zone.port) for zone in ZONES)} and {ETCD_PORT}",
    )
    options = parser.parse_args(argv)
    return trio.run(partial(run_demo, environ, free_ports=options.free_ports))


async def run_demo(environ: Mapping[str, str], *, free_ports: bool) -> int:
    """Start everything, print the lines to copy, and stop everything on a signal; return the exit code."""
    failures: list[PartFailed] = []
    with (
        trio.open_signal_receiver(*_stop_signals()) as signals,
        tempfile.TemporaryDirectory(prefix="golb-demo-") as directory,
    ):
        try:
            async with trio.open_nursery() as functions:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                    stage = Stage(environ=environ, directory=Path(directory), say=say)
                    await stage.start(nursery, await start_functions(functions), free_ports=free_ports)
                    _print_what_stands(stage, environ)
                functions.cancel_scope.cancel()
        except* PartFailed as group:
            failures.extend(_leaves(group))
        for failure in failures:  # before the directory with the logs goes
            sys.stderr.write(failure.report())
    say("golb demo: stopped, nothing of it runs any more")
    return 1 if failures else 0


def _stop_signals() -> list[signal.Signals]:
    signals = [signal.SIGINT, signal.SIGTERM]
    # A closed terminal ends the demo too, unless nohup was asked to keep it.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        scope.cancel()
        say(f"\ngolb demo: {signal.Signals(number).name}, stopping")


def _leaves(group: BaseExceptionGroup[PartFailed]) -> Iterator[PartFailed]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc


def _print_what_stands(stage: Stage, environ: Mapping[str, str]) -> None:
    say("")
    say(f"etcd    {stage.etcd_url}")
    for golb in stage.golbs:
        say(
            f"{golb.zone}  http://{golb.address}  golb on node {golb.node}; live page: http://{golb.host}:{golb.admin_port}/"
        )
        for table in stage.tables:
            if table.placement.zone == golb.zone:
                shares = (f"{ip} x {weight}" for ip, weight in zip(table.ips, table.weights, strict=True))
                say(f"          {table.placement.function:<22} {', '.join(shares)}")
    say(f"logs    {stage.directory}")
    say("\nCopy these lines into another terminal, in this directory.")
    for command in lines_to_copy(stage.golbs[0].address, stage.etcd_address, stage.tables, environ):
        say(f"\n# {command.says}\n{command.line}")
    say(f"\n{LAST_LINE}")


def say(text: str) -> None:
    """Print, at once: who reads a pipe waits for these lines."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

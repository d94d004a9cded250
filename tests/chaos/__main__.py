"""`make chaos`: run faults, print the seed, what happened when, and what was survived; exit 1 if a promise was broken."""

from __future__ import annotations

import argparse
import secrets
import sys

import trio

from chaos.faults import FAULTS
from chaos.run import Options, run_chaos


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long faults are begun")
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat its faults")
    parser.add_argument("--faults", help=f"only these, separated by commas, of: {', '.join(FAULTS)}")
    parser.add_argument("--timeout", type=float, default=3.0, help="golb's eb_go_lb_etcd_timeout in seconds")
    parser.add_argument("--tls", action="store_true", help="etcd and golb show each other certificates")
    arguments = parser.parse_args()
    names = tuple(arguments.faults.split(",")) if arguments.faults else tuple(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}")
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    _write(f"seed {seed}")
    options = Options(
        seconds=arguments.seconds, seed=seed, faults=names, timeout_s=arguments.timeout, with_tls=arguments.tls
    )
    report = None
    try:
        report = trio.run(run_chaos, options, _write)
    except* KeyboardInterrupt:
        _write(f"seed {seed}: interrupted")
    if report is None:
        return 130
    _write(f"\n{report.table()}\n")
    _write(
        f"seed {report.seed}: {report.requests} requests and {report.puts} puts in {report.seconds:.0f} s;"
        f" this program itself was late by {report.longest_pause_s:.2f} s at most"
    )
    for when, held in (("before", report.held_before), ("after", report.held_after)):
        if held is not None:
            _write(f"golb {when}: {held.descriptors} descriptors, {held.resident_bytes / (1 << 20):.1f} MiB")
    for broken in report.broken:
        _write(f"BROKEN at {broken.at - report.began:.2f} s: {broken.promise}: {broken.evidence}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())

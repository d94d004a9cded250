"""`golb doctor`, the limits of the machine.

Fact: they are those of who asks. In a pod or a unit of systemd, run the doctor there.
"""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from golb.commands.doctor_report import Check, Verdict

if TYPE_CHECKING:
    from golb.commands.doctor_report import Report
    from golb.commands.doctor_visit import Visit

# A client takes one, and its endpoint another; some hundreds are golb's own.
_DESCRIPTORS_A_CLIENT = 2
_DESCRIPTORS_RESERVED = 512
_FEW_DESCRIPTORS = 4096
_FEW_EPHEMERAL_PORTS = 10_000
# golb asks for 4096, and the kernel cuts that.
_SHORT_BACKLOG = 1024

_NET = Path("/proc/sys/net")


async def check_limits(visit: Visit, net: Path = _NET) -> None:
    """Look at what the system allows golb; `net` is where the kernel shows its settings of the network."""
    report, config = visit.report, visit.config
    _check_descriptors(config.max_connections, config.workers, report)
    try:
        _check_ports(config.listen_port, net / "ipv4", report)
        _check_backlog(net / "core", report)
    except OSError as exc:
        report.skip(Check.LIMITS, f"{exc.filename} cannot be read: {exc.strerror}")
    if not report.has(Check.LIMITS, Verdict.WARNING, Verdict.SKIPPED):
        report.ok(Check.LIMITS, "descriptors, ports to connect from and the backlog suffice")


def _check_descriptors(max_connections: int, workers: int, report: Report) -> None:
    # golb raises the soft limit by itself. The limit is each process's, and each worker has its share of the connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    of_one = math.ceil(max_connections / workers)
    needed = of_one * _DESCRIPTORS_A_CLIENT + _DESCRIPTORS_RESERVED if max_connections else _FEW_DESCRIPTORS
    if most != resource.RLIM_INFINITY and most < needed:
        asked = f"eb_go_lb_max_connections={max_connections} takes" if max_connections else "a busy node takes"
        asked = f"of {workers} workers each has its share: {asked}" if workers > 1 else asked
        report.warn(
            Check.LIMITS,
            f"{most:,} file descriptors at most; {asked} {needed:,}",
            "raise the hard limit: LimitNOFILE= (systemd), ulimit -Hn, or the container runtime's",
        )


def _check_ports(listen_port: int, settings: Path, report: Report) -> None:
    low, high = map(int, (settings / "ip_local_port_range").read_text().split())
    if high - low < _FEW_EPHEMERAL_PORTS:
        report.warn(
            Check.LIMITS,
            f"ports {low} to {high} to connect from: {high - low + 1:,} connections at once to each endpoint",
            "sysctl net.ipv4.ip_local_port_range='16384 65535'",
        )
    reserved = (settings / "ip_local_reserved_ports").read_text().strip()
    if low <= listen_port <= high and not _contains(reserved, listen_port):
        report.warn(
            Check.LIMITS,
            f"port {listen_port} may be taken by any connection of this machine while golb does not listen",
            f"sysctl net.ipv4.ip_local_reserved_ports={listen_port}, or eb_go_lb_listen_port below {low}",
        )


def _check_backlog(settings: Path, report: Report) -> None:
    backlog = int((settings / "somaxconn").read_text())
    if backlog < _SHORT_BACKLOG:
        report.warn(
            Check.LIMITS,
            f"{backlog} clients may wait to be accepted; golb asks for 4096",
            "sysctl net.core.somaxconn=4096",
        )


def _contains(ranges: str, port: int) -> bool:
    """Tell whether a port is among some, which are written as `8080,9000-9010`."""
    for each in filter(None, ranges.split(",")):
        first, _, last = each.partition("-")
        if int(first) <= port <= int(last or first):
            return True
    return False

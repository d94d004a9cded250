"""CPU time and memory of a process and its descendants, read from /proc.

utime and stime are scaled by the kernel to the time that the scheduler counted (kernel/sched/cputime.c,
cputime_adjust), so their sum is exact up to one tick, 10 ms as a rule: 0.5 % of two seconds.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@frozen
class ProcessStat:
    """What the benchmark needs of /proc/<pid>/stat."""

    pid: int
    parent: int
    cpu_ticks: int
    """utime + stime, all threads, those that have ended included."""


def parse_stat(text: str) -> ProcessStat:
    """Read one /proc/<pid>/stat."""
    # The second field is the program's name in parentheses, and may hold spaces and parentheses itself.
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(")")[2].split()
    return ProcessStat(int(pid), int(fields[1]), int(fields[11]) + int(fields[12]))


def family(pid: int, stats: list[ProcessStat]) -> list[ProcessStat]:
    """Return the process and all its descendants."""
    found = [stat for stat in stats if stat.pid == pid]
    for member in found:  # grows while it is walked
        found += [stat for stat in stats if stat.parent == member.pid]
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU time, in seconds, that a process and its living descendants have used."""
    return sum(stat.cpu_ticks for stat in family(pid, _read_stats())) / TICKS_PER_S


def each_cpu_s(pid: int) -> list[float]:
    """Return the same for each of them, the process first."""
    return [stat.cpu_ticks / TICKS_PER_S for stat in family(pid, _read_stats())]


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants; pages that they share count in each of them."""
    return sum(each_resident_bytes(pid))


def each_resident_bytes(pid: int) -> list[int]:
    """Return the same for each of them, the process first."""
    found = []
    for member in family(pid, _read_stats()):
        try:
            found.append(int(Path(f"/proc/{member.pid}/statm").read_text().split()[1]) * _PAGE_BYTES)
        except OSError:  # it has just ended
            continue
    return found


def parse_core_ticks(text: str, core: int) -> int:
    """Return the ticks for which a core has run processes or was taken away by a hypervisor, from /proc/stat.

    Interrupts are left out: the proxy's own packets are among them, and no process is charged for them.
    """
    for line in text.splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, ticks[:8])
            return user + nice + system + steal
    raise ValueError(f"no core {core}")


def core_s(core: int) -> float:
    """Return the time, in seconds, for which a core has been busy with processes, anyone's."""
    return parse_core_ticks(Path("/proc/stat").read_text(), core) / TICKS_PER_S


def _read_stats() -> list[ProcessStat]:
    stats = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - hundreds of Path objects for each look would be felt
        if entry.isdigit():
            try:
                stats.append(parse_stat(Path(f"/proc/{entry}/stat").read_text()))
            except OSError:  # it has just ended
                continue
    return stats

"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Return how many cores this process may use, 1 at least: those that it may run on, but no more than its control group's quota is worth.

    Args:
        cpu_max: where control groups (v2) have the quota, as microseconds of how many.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()
        return max(min(allowed, math.ceil(int(quota) / int(period))), 1)
    except (OSError, ValueError, ZeroDivisionError):  # none is set ("max"), or this is no such system
        return allowed

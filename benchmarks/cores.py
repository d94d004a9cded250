"""Which core the proxy has to itself, and which ones are left for the load and the endpoints.

Rule: a proxy shares its core with nothing that the benchmark starts. Where a core has two hardware threads, the other
one stays empty if it can: what runs there would slow the proxy down, more or less as chance has it.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@frozen
class Cores:
    """Where things run, by the kernel's numbers."""

    proxy: int
    load: frozenset[int]
    """The load generator, the endpoints, etcd and the benchmark itself."""
    everywhere: bool = False
    """The proxy may use all of them, as the load may."""

    @property
    def proxies(self) -> list[int]:
        """Where the proxy may run."""
        return sorted(self.load | {self.proxy}) if self.everywhere else [self.proxy]

    def without_borders(self) -> Cores:
        """Return all cores for everything: two workers of a proxy get one each, and the load what they leave over."""
        return Cores(self.proxy, self.load | {self.proxy}, everywhere=True)

    @property
    def shared(self) -> bool:
        """Whether there is but one core, so that the load takes turns with the proxy: latencies mean little then."""
        return self.proxy in self.load


def choose_cores(available: set[int], siblings: dict[int, set[int]]) -> Cores:
    """Give the proxy the first core, and the load the others, without the proxy's hardware siblings if some remain."""
    proxy = min(available)
    others = available - {proxy}
    return Cores(proxy, frozenset(others - siblings.get(proxy, set()) or others or {proxy}))


def read_cores() -> Cores:
    """Choose among the cores that this process may use."""
    available = os.sched_getaffinity(0)
    return choose_cores(available, {core: _siblings(core) for core in available})


def parse_core_list(text: str) -> set[int]:
    """Read a list as the kernel writes it, such as `0,2-3`."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cores.update(range(int(first), int(last or first) + 1))
    return cores


def _siblings(core: int) -> set[int]:
    try:
        return parse_core_list(Path(_SIBLINGS.format(core)).read_text())
    except OSError:
        return {core}

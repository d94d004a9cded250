"""What the figures were measured on, in a reader's words: nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from benchmarks.install import find_program, first_line
from demo.errors import PartFailed
from demo.etcd import etcd_path

if TYPE_CHECKING:
    from benchmarks.cores import Cores


@frozen(kw_only=True)
class Machine:
    """Where and when."""

    date: str
    """UTC, to the minute."""
    processor: str
    proxy_core: int
    load_cores: list[int]
    memory_gib: float
    system: str
    virtual: bool
    """Whether a hypervisor may take the cores away."""
    load_average: float
    """Over the last minute, before the benchmark began."""
    versions: dict[str, str]
    """Of what measures and what the Python proxies run on."""


def read_machine(cores: Cores) -> Machine:
    """Look at this machine."""
    cpuinfo = _read("/proc/cpuinfo")
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        processor=field_of(cpuinfo, "model name") or platform.machine(),
        proxy_core=cores.proxy,
        load_cores=sorted(cores.load),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        system=f"{_distribution()}, Linux {platform.release()}",
        virtual="hypervisor" in field_of(cpuinfo, "flags").split(),
        load_average=os.getloadavg()[0],
        versions={
            "wrk": _version("wrk"),
            "nginx (endpoints)": _version("nginx"),
            "etcd": _etcd_version(),
            "Python": _python(),
            "Trio": trio.__version__,
        },
    )


def field_of(cpuinfo: str, name: str) -> str:
    """Return the first field of that name in /proc/cpuinfo, "" if there is none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _python() -> str:
    """Return the version, and who has built it: how well that was done makes a tenth of golb's time."""
    builder = "the distribution's" if sys.base_prefix == "/usr" else "not the distribution's"
    return f"{platform.python_version()} ({builder})"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _version(program: str) -> str:
    path = find_program(program)
    if path is None:
        return "not installed"
    line = first_line([path, "-v"])
    # `nginx version: nginx/1.22.1`, `wrk debian/4.1.0-3 [epoll] Copyright ...`
    found = re.search(r"\d+\.\d+\.\d+\S*", line)
    return found[0] if found else line


def _etcd_version() -> str:
    try:
        return first_line([str(etcd_path()), "--version"]).removeprefix("etcd Version: ")
    except PartFailed:
        return "not installed"

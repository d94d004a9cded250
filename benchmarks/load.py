"""The load: wrk, one thread, for any time (wrk itself knows whole seconds only, but ends in order at a SIGINT).

Rule: figures come from a script's `done`, in whole microseconds; what wrk prints for people is rounded to three digits.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from benchmarks.children import child
from benchmarks.errors import LoadFailed, ToolMissing
from benchmarks.install import find_program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_TIMEOUT_S = 10
_START_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 10.0
_PATIENCE_S = 1.0  # between two signals to end
_SPARE_S = 20  # after which wrk ends by itself, should nobody stop it

_DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "measured requests=%d duration_us=%d bytes=%d p50_us=%d p99_us=%d max_us=%d " ..
    "connect=%d read=%d write=%d status=%d timeout=%d\\n",
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""
_FIELD = re.compile(r"(\w+)=(\d+)")
_ERRORS = ("connect", "read", "write", "status", "timeout")


@frozen
class Load:
    """What wrk saw."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    errors_by_kind: dict[str, int]
    """Connections refused (connect) or broken (read, write), answers from 400 on (status) or not in time (timeout)."""

    @property
    def errors(self) -> int:
        """All of them."""
        return sum(self.errors_by_kind.values())

    @property
    def rps(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.duration_s


def parse_load(text: str) -> Load:
    """Read what the script wrote, among what wrk prints.

    Raises:
        LoadFailed: it wrote nothing, which is so when wrk could not even begin.
    """
    line = next((line for line in text.splitlines() if line.startswith("measured ")), None)
    if line is None:
        raise LoadFailed(f"wrk measured nothing: {text.strip()[-500:]}")
    fields = {name: int(number) for name, number in _FIELD.findall(line)}
    return Load(
        requests=fields["requests"],
        duration_s=fields["duration_us"] / 1e6,
        p50_ms=fields["p50_us"] / 1e3,
        p99_ms=fields["p99_us"] / 1e3,
        errors_by_kind={name: fields[name] for name in _ERRORS},
    )


def _wait_for_handler(process: subprocess.Popen[bytes], program: str) -> None:
    """Return once the child has become the program and handles SIGINT: before that it would die of it, or not notice."""
    limit = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < limit:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        if status["Name"].strip() == program and int(status.get("SigCgt", "0"), 16) & 1 << (signal.SIGINT - 1):
            return
        time.sleep(0.005)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """End the program by SIGINT, again and again: one that finds wrk between its handler and its sleep is lost.

    Raises:
        LoadFailed: it goes on all the same.
    """
    limit = time.monotonic() + _END_TIMEOUT_S
    while process.poll() is None and time.monotonic() < limit:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    if process.poll() is None:
        raise LoadFailed("wrk did not end")


@frozen(kw_only=True)
class Generator:
    """A wrk, its cores, and a directory for its scripts."""

    program: str
    cores: Collection[int]
    directory: Path
    _seeds: Iterator[int] = field(factory=count, init=False)

    def run(self, url: str, script: str, *, connections: int, seconds: float) -> Load:
        """Load one URL, blocking; `script` is Lua that makes the requests, empty for plain ones.

        Raises:
            LoadFailed: wrk did not work.
        """
        script_path = self.write_script(script)
        output = self.directory / "wrk.txt"
        output.write_bytes(b"")
        limit_s = int(seconds) + _SPARE_S
        options = f"-t1 -c{connections} -d{limit_s}s --timeout {_TIMEOUT_S}s -s".split()
        with child("wrk", [self.program, *options, str(script_path), url], cores=self.cores, log=output) as wrk:
            _wait_for_handler(wrk.process, Path(self.program).name)
            time.sleep(seconds)
            _interrupt(wrk.process)
        return parse_load(output.read_text(errors="replace"))

    def write_script(self, script: str) -> Path:
        """Write what a run needs, with another seed each time: wrk's own is always the same.

        With that one the warm-up would call the same functions as the run behind it, and all rounds the same part of them.
        """
        path = self.directory / "script.lua"
        path.write_text(f"math.randomseed({next(self._seeds)})\n{script}{_DONE}")
        return path


def generator(cores: Collection[int], directory: Path) -> Generator:
    """Make the generator.

    Raises:
        ToolMissing: there is no wrk.
    """
    program = find_program("wrk")
    if program is None:
        raise ToolMissing("the load comes from wrk: install wrk")
    directory.mkdir(parents=True, exist_ok=True)
    return Generator(program=program, cores=cores, directory=directory)

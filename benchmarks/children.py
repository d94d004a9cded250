"""Processes of the benchmark: started on their cores, watched, and ended by pid, however the benchmark ends.

A child has a session of its own, so a Ctrl-C in the terminal reaches the benchmark alone, which then ends its children
in order. If the benchmark is killed, the kernel ends them (PR_SET_PDEATHSIG); nginx's worker follows its master.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.errors import PeerFailed
from benchmarks.procfs import cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]

STOP_TIMEOUT_S = 5.0
START_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.02
_SETTLE_TIMEOUT_S = 10.0
_SETTLE_LOOK_S = 0.05
_SETTLED_CPU_S = 0.011  # one tick
_LOG_TAIL_LINES = 15

# Runs in the child, which then becomes the program. A preexec_fn would do the same between fork and exec, which
# subprocess warns of; `taskset` could set the cores, but not what happens when the parent dies.
_BECOME = """
import ctypes, os, signal, sys
parent, cores, *command = sys.argv[1:]
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != int(parent):
    sys.exit("the benchmark is gone")
os.sched_setaffinity(0, map(int, cores.split(",")))
os.execvp(command[0], command)
"""


@frozen(eq=False)
class Child:
    """A process that `child` has started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    """What it writes to standard output and error."""

    @property
    def pid(self) -> int:
        """Its process id; also of the program that it became."""
        return self.process.pid

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])

    def check(self) -> None:
        """Raise PeerFailed if it has ended."""
        if (code := self.process.poll()) is not None:
            raise PeerFailed(f"{self.name} ended with code {code}: {self.log_tail() or 'it wrote nothing'}")

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait for something that the process is to do.

        Raises:
            PeerFailed: it ended, or took longer.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            self.check()
            if time.monotonic() >= deadline:
                raise PeerFailed(f"{self.name} was not ready within {timeout_s:g} s: {self.log_tail()}")
            time.sleep(POLL_INTERVAL_S)

    def settle(self) -> None:
        """Wait, not for long, until the process has nothing left to do of what it was given before."""
        deadline = time.monotonic() + _SETTLE_TIMEOUT_S
        before = cpu_s(self.pid)
        while time.monotonic() < deadline:
            time.sleep(_SETTLE_LOOK_S)
            now = cpu_s(self.pid)
            if now - before < _SETTLED_CPU_S:
                return
            before = now


@contextmanager
def child(
    name: str,
    command: Sequence[str],
    *,
    cores: Collection[int],
    log: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """Run a program on some cores while the block lasts. Nothing of it is left after it."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the benchmark's own commands
            [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), ",".join(map(str, sorted(cores))), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield Child(name, process, log)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child and whatever it started: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # The group is this child's session, so it holds nothing but the child's own processes.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

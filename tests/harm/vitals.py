"""What golb holds, as the kernel counts it, and whether it is well."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from attrs import frozen

from harm.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.golb_process import GolbProcess

MIB = 1 << 20
MEMORY_BYTES = 200 * MIB
"""What golb may hold through everything (the issue's figure)."""


def peak_bytes(pid: int) -> int:
    """Return the most resident memory that a process has ever had (VmHWM, proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) * 1024


@frozen
class Turns:
    """What the kernel's scheduler gave a process, or a difference of two such looks."""

    ran_s: float
    waited_s: float
    """For how long it could have run and did not, since others had its core."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Look at a process's main thread (/proc/<pid>/schedstat; Documentation/scheduler/sched-stats.rst)."""
        ran_ns, waited_ns, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
        return cls(ran_ns / 1e9, waited_ns / 1e9)

    def since(self, before: Turns) -> Turns:
        return Turns(self.ran_s - before.ran_s, self.waited_s - before.waited_s)

    def __str__(self) -> str:
        return f"ran for {self.ran_s:.1f} s, and waited {self.waited_s:.1f} s for a core"


@contextmanager
def telling_turns(golb: GolbProcess, say: Callable[[str], None]) -> Iterator[None]:
    """Tell after the block how golb and this process fared in it.

    On a machine that does other work both wait for a core, and latencies are the machine's more than golb's.
    """
    pids = {"golb": golb.pid, "this program": os.getpid()}
    before = {name: Turns.of(pid) for name, pid in pids.items()}
    yield
    for name, pid in pids.items():
        say(f"{name} {Turns.of(pid).since(before[name])}")


def holds_little(golb: GolbProcess, more: str = "") -> Verdict:
    """Judge golb's memory by the most that it has had since it was started; `more` is told too."""
    peak = peak_bytes(golb.pid)
    text = f"{golb.resident_bytes() / MIB:.0f} MiB, {peak / MIB:.0f} MiB at most{more}"
    return Verdict(f"memory stays under {MEMORY_BYTES // MIB} MiB", text, kept=peak < MEMORY_BYTES)


def is_sound(golb: GolbProcess) -> Verdict:
    """Judge whether golb runs, and has met nothing that it calls an error."""
    assert golb.process is not None
    code = golb.process.poll()
    errors = [line["message"] for line in golb.log() if line["level"] == "error" or "exception" in line]
    text = f"{'it runs' if code is None else f'exit code {code}'}; {len(errors)} errors logged {', '.join(errors[:3])}"
    return Verdict("golb goes on", text.strip(), kept=code is None and not errors)

"""golb as the first process of a container, as far as one can be had without an engine: in process ids and a /proc of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import cache
from pathlib import Path

import pytest

from support.golb_family import parent_of
from support.golb_process import GolbProcess

# The container's first process is a child of unshare, which ends with it, by its exit code.
_UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
# For those who are not root: a namespace of users in which they are.
_AS_ANYBODY = ("--user", "--map-current-user")


def in_container(*command: str) -> list[str]:
    """Return what runs a command as the first process; skips the test where the kernel lets nobody do that."""
    if os.geteuid() == 0 and not _refusal():
        return [*_UNSHARE, *command]
    refusal = _refusal(*_AS_ANYBODY)
    if refusal:
        pytest.skip(f"no container can be had here, which takes root or namespaces of users: {refusal}")
    return [*_UNSHARE, *_AS_ANYBODY, *command]


@cache
def _refusal(*options: str) -> str:
    try:
        done = subprocess.run([*_UNSHARE, *options, "true"], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return "unshare, of util-linux, is not on PATH"
    return (done.stderr.strip() or f"unshare ended with {done.returncode}") if done.returncode else ""


class Container(GolbProcess):
    """One golb as the first process of a container; `process` and its exit code are what runs the container."""

    @property
    def first(self) -> int:
        """The process id of the first process, outside."""
        (found,) = children_of(self.pid)
        return found

    def others(self) -> list[int]:
        """Return the process ids, outside, of the first process's children."""
        return children_of(self.first)

    def run(self, script: str) -> str:
        """Run a shell's script inside, as `kubectl exec` does; return what it prints."""
        command = ["nsenter", "--target", str(self.first), "--all", "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End it as an engine does, by a signal to its first process; return its exit code."""
        assert self.process is not None
        os.kill(self.first, signal_number)
        return self.process.wait(timeout=20)

    def _command(self) -> list[str]:
        return in_container(*super()._command())


def children_of(pid: int) -> list[int]:
    """Return the children of a process that have not been reaped."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sorted(each for each in pids if parent_of(each) == pid)

"""All processes of a golb: the one that was started, its workers, and those that have taken its place.

A golb that has taken over is no child of the tests. But all of them have the port in their environment, and nobody else has it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WORKER = "_GOLB_WORKER"
_END_TIMEOUT_S = 10.0
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class GolbFamily:
    """What the kernel knows of them (proc(5)).

    Args:
        port: where they listen.
    """

    def __init__(self, port: int) -> None:
        self._mark = f"eb_go_lb_listen_port={port}"

    def pids(self) -> list[int]:
        """Return those that have not ended."""
        return sorted(self._environs())

    def workers(self, parent: int) -> dict[int, int]:
        """Return the workers of one of them, by their index."""
        found = {}
        for pid, environ in self._environs().items():
            if _WORKER in environ and parent_of(pid) == parent:
                found[int(json.loads(environ[_WORKER])["index"])] = pid
        return dict(sorted(found.items()))

    def kill(self) -> None:
        """End all that are left."""
        deadline = time.monotonic() + _END_TIMEOUT_S
        while pids := self.pids():  # one may just be starting another one
            assert time.monotonic() < deadline, pids
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _environs(self) -> dict[int, Mapping[str, str]]:
        found: dict[int, Mapping[str, str]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):  # it has just ended, or is another user's
                    texts = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                    if self._mark in texts:
                        found[int(entry.name)] = dict(text.split("=", 1) for text in texts if "=" in text)
        return found


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 if it has ended."""
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def state_of(pid: int) -> str:
    """Return the letter of a process's state, such as `T` for stopped; `Z` if it has ended."""
    fields = _fields(pid)
    return fields[0] if fields else "Z"


def client_ports(pid: int, port: int) -> frozenset[int]:
    """Return the clients' ports of the connections to `port` that a process has (/proc/net/tcp)."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found = _SOCKET.fullmatch(str(descriptor.readlink()))
            if found is not None:
                inodes.add(found[1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_, inode = line.split()[:10]
        if inode in inodes and int(local.rpartition(":")[2], 16) == port:
            ports.add(int(remote.rpartition(":")[2], 16))
    return frozenset(ports - {0})


@contextmanager
def whole_family(port: int) -> Iterator[GolbFamily]:
    """Yield the family of those who listen at a port; none of it is left on leaving."""
    family = GolbFamily(port)
    try:
        yield family
    finally:
        family.kill()


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []

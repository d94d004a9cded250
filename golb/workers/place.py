"""What a worker is told when it is started: which one it is, and the descriptors that it inherits."""

from __future__ import annotations

import json
import mmap
import os
import socket
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from golb import __version__
from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "_GOLB_WORKER"
"""The variable that says so; golb's own, so that nobody sets it by hand."""

_CELL_BYTES = 8


@frozen(kw_only=True)
class Place:
    """One worker's; the numbers are those of descriptors, which stay the same in it."""

    index: int
    """0 to `of` - 1."""
    of: int
    """How many workers there are."""
    link: int
    listeners: tuple[int, ...]
    """The listening sockets that it accepts from."""
    inbox: int
    """Where other workers pass accepted connections to it."""
    outboxes: tuple[int, ...]
    """Each worker's, by index."""
    counts: int
    """Memory that all workers share; see `golb.server.spread`."""
    has_colours: bool = False
    """Whether the parent's log has, so that this one's, which is printed beside it, has them too."""
    version: str = __version__
    """golb's, as of the parent."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it inherits."""
        return (self.link, *self.listeners, self.inbox, *self.outboxes, self.counts)

    def variables(self) -> dict[str, str]:
        """Return the variable that tells a process of its place."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Place | None:
        """Return the place that this process is told of; None if it is no worker.

        Raises:
            ConfigError: the parent is another version of golb, which may mean something else by what it says.
        """
        text = environ.get(VARIABLE)
        if not text:
            return None
        members = json.loads(text)
        if members.get("version") != __version__:
            raise ConfigError(
                f"this worker is golb {__version__}, and its parent {members.get('version')}: golb was upgraded while "
                "it ran; SIGUSR2 to the parent lets the new version take its place"
            )
        return cls(**(members | {name: tuple(members[name]) for name in ("listeners", "outboxes")}))


def open_descriptor(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor; it does not block and is not passed on to other programs."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def create_counts(cells: int) -> int:
    """Make memory for so many numbers of 64 bits, all 0, that processes can share, and return its descriptor."""
    descriptor = os.memfd_create("golb-connections")
    os.ftruncate(descriptor, cells * _CELL_BYTES)
    return descriptor


def map_counts(descriptor: int) -> memoryview:
    """Return these numbers; the descriptor is not passed on to other programs."""
    os.set_inheritable(descriptor, False)
    return memoryview(mmap.mmap(descriptor, 0)).cast("q")

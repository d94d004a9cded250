"""What golb tells the supervisor that has started it, in the words of sd_notify(3): systemd's, which others know too."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = structlog.get_logger()

ADDRESS = "NOTIFY_SOCKET"
"""The variable that names the supervisor's socket; a successor has it too."""


class Notices:
    """Tells the supervisor, if there is one that wants to know.

    Args:
        environ: the variables that golb was started with.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get(ADDRESS, "")
        # In the abstract namespace, whose names begin with NUL (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def tell_ready(self) -> None:
        """It serves, by the configuration that has been read last."""
        self._tell("READY=1")

    def tell_reloading(self) -> None:
        """It reads its configuration again; `tell_ready` has to follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tell_stopping(self) -> None:
        """It drains, and ends."""
        self._tell("STOPPING=1")

    def tell_successor(self, pid: int) -> None:
        """Another process of this unit takes over, so the end of this one will not be the end of the unit."""
        self._tell(f"MAINPID={pid}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as exc:
            LOG.warning("supervisor not told", variable=ADDRESS, notice=lines[0], cause=os.strerror(exc.errno or 0))

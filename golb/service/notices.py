"""What golb tells the supervisor that has started it, in the words of sd_notify(3): systemd's, which others know too."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = structlog.get_logger()

ADDRESS = "NOTIFY_SOCKET"
"""The variable that names the supervisor's socket; a successor has it too."""

# A supervisor that waits in vain for this one ends what it has started; at a machine's start it has much to read.
_READY_PATIENCE_S = 30.0
# What comes next waits for these.
_PATIENCE_S = 2.0


class Notices:
    """Tells the supervisor, if there is one that wants to know.

    Args:
        environ: the variables that golb was started with.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get(ADDRESS, "")
        # In the abstract namespace, whose names begin with NUL (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    async def tell_ready(self) -> None:
        """It serves, by the configuration that has been read last."""
        await self._tell(_READY_PATIENCE_S, "READY=1")

    async def tell_reloading(self) -> None:
        """It reads its configuration again; `tell_ready` has to follow."""
        await self._tell(_PATIENCE_S, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    async def tell_stopping(self) -> None:
        """It drains, and ends."""
        await self._tell(_PATIENCE_S, "STOPPING=1")

    async def tell_successor(self, pid: int) -> None:
        """Another process of this unit takes over, so the end of this one will not be the end of the unit."""
        await self._tell(_PATIENCE_S, f"MAINPID={pid}")

    async def _tell(self, patience_s: float, *lines: str) -> None:
        if not self._address:
            return
        try:
            with trio.fail_after(patience_s):
                await _send("\n".join(lines).encode(), self._address)
        except trio.TooSlowError:
            cause = f"it has not read for {patience_s:g} s"
        except OSError as exc:
            cause = exc.strerror or str(exc)
        else:
            return
        LOG.warning("supervisor not told", variable=ADDRESS, notice=lines[0], cause=cause)


async def _send(datagram: bytes, address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(address)  # so that the kernel tells when the other end has room
        while True:
            try:
                sock.send(datagram)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sock)
            else:
                return

"""Which ports the parts of the demo listen on: the ones people know where they are free, others where they are not.

A port that merely was free can be given to somebody else before it is listened on. So each of the others is kept, by
a socket that is bound to it and never listens. Nobody who looks here for a port, in whatever process, gets that one.
Who was given it can listen all the same: Linux lets sockets with SO_REUSEADDR, which every server sets, share a port
as long as only one of them listens (socket(7)). Until then whoever connects is refused, as on any closed port.
"""

from __future__ import annotations

import errno
import os
import random
import socket
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"  # loopback only: a demo should not open a machine to its network
ATTEMPTS = 100

# Below the range that Linux takes the ports of outgoing connections from (net.ipv4.ip_local_port_range): who asks a
# golb that does not listen yet could otherwise be given its port as the own one, and be connected to itself.
OTHER_PORTS = range(10_000, 32_000)

# More than anybody uses at a time, and few beside the usual limit of 1,024 descriptors.
_MOST_KEPT = 200
_kept: deque[int] = deque()


def choose_ports(preferred: Sequence[int | None]) -> list[int]:
    """Return as many different ports as asked for, each the preferred one if nobody listens there; None is no wish.

    A preferred port is free now, not kept: whoever opens it must still be ready to find it taken. The others are kept.

    Raises:
        OSError: nothing is free.
    """
    with ExitStack() as opened:
        # The preferred ones stay open until the last port is chosen, so that no port comes out twice.
        return [keep_port() if port is None else _prefer(port, opened) for port in preferred]


def keep_port() -> int:
    """Return a port that nobody has, on any address, and keep it: for this process, or whoever it tells.

    It is kept until this process ends, or has been given hundreds more.

    Raises:
        OSError: nothing is free.
    """
    for port in random.sample(OTHER_PORTS, ATTEMPTS):
        with socket.socket() as sock:
            try:
                sock.bind(("", port))
            except OSError:
                continue
            # Only now: set before, it would let two of us have the same port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if len(_kept) == _MOST_KEPT:
                os.close(_kept.popleft())
            _kept.append(sock.detach())
            return port
    raise OSError(errno.EADDRINUSE, f"no free port in {ATTEMPTS} attempts")


def is_free(port: int) -> bool:
    """Return whether nobody listens on this port."""
    try:
        _open(port).close()
    except OSError:
        return False
    return True


def _prefer(port: int, opened: ExitStack) -> int:
    try:
        opened.enter_context(_open(port))
    except OSError:
        return keep_port()
    return port


def _open(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without it the connections of an earlier demo, in TIME_WAIT, would make its ports look taken.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock

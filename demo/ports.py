"""Which ports the golbs of the demo listen on: the ones people know where they are free, others where they are not."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"  # loopback only: a demo should not open a machine to its network
ATTEMPTS = 100

# Below the range that Linux takes the ports of outgoing connections from (net.ipv4.ip_local_port_range): who asks a
# golb that does not listen yet could otherwise be given its port as the own one, and be connected to itself.
OTHER_PORTS = range(10_000, 32_000)


def choose_ports(preferred: Sequence[int | None]) -> list[int]:
    """Return as many different ports as asked for, each the preferred one if nobody listens there; None is no wish.

    They are free now, not kept: whoever opens one must still be ready to find it taken.

    Raises:
        OSError: nothing is free.
    """
    with ExitStack() as opened:
        # All sockets stay open until the last port is chosen, so that no port comes out twice.
        sockets = [opened.enter_context(_listen(port)) for port in preferred]
        return [sock.getsockname()[1] for sock in sockets]


def is_free(port: int) -> bool:
    """Return whether nobody listens on this port."""
    try:
        _open(port).close()
    except OSError:
        return False
    return True


def _listen(preferred: int | None) -> socket.socket:
    candidates = random.sample(OTHER_PORTS, ATTEMPTS)
    if preferred is not None:
        candidates.insert(0, preferred)
    for port in candidates[:-1]:
        try:
            return _open(port)
        except OSError:
            continue
    return _open(candidates[-1])


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

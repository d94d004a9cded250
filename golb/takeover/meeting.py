"""Where a new golb finds the running one."""

from __future__ import annotations

import hashlib

INHERITED = "_GOLB_TAKEOVER"
"""The variable that names the descriptor of a channel, for one that the running golb has started itself."""

# The kernel takes 108 bytes (unix(7)), and a host name may have 253.
_MAX_HOST_LENGTH = 80


def meeting_address(host: str, port: int) -> str:
    """Return the address, in the abstract namespace of Unix sockets, of who listens at a place.

    It goes with the process, needs no directory that both can reach, and is the same for all that share the network's
    namespace, which are just those that can pass on a port.
    """
    if len(host) > _MAX_HOST_LENGTH:
        host = hashlib.sha256(host.encode()).hexdigest()
    return f"\0golb/{host}:{port}"

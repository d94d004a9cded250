"""Where sockets listen, as the log shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from golb.config import Config


def shown_addresses(sockets: Iterable[socket.socket]) -> str:
    """Return each address once, `host:port`, with spaces in between."""
    addresses = dict.fromkeys(sock.getsockname()[:2] for sock in sockets)
    return " ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses)


def listen_place(config: Config) -> str:
    """Return where golb listens for calls, as a configuration names it."""
    return f"{config.listen_host}:{config.listen_port}"

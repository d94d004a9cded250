"""Where the server listens: hypercorn's sockets and settings, made from golb's configuration."""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING

import hypercorn

from golb.errors import ListenError

if TYPE_CHECKING:
    from golb.config import Config

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn


def open_sockets(config: Config, *, shares_port: bool = False) -> list[socket.socket]:
    """Bind and listen.

    Args:
        config: says where.
        shares_port: other sockets of this user may listen at the same place, if they allow it too; the kernel
            spreads connections over them (SO_REUSEPORT, socket(7)).

    Raises:
        ListenError: that is not possible; the text says why.
    """
    hypercorn_config = make_hypercorn_config(config)
    if shares_port:
        hypercorn_config.workers = 2  # hypercorn has no other word for it
    try:
        sockets = hypercorn_config.create_sockets()
        opened = [*sockets.secure_sockets, *sockets.insecure_sockets]
        for sock in opened:
            sock.listen(BACKLOG)
            # Accepted sockets inherit it: what is sent as urgent stays in its place among the other bytes (RFC 6093, 4).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    except OSError as exc:
        variable = "listen_port" if exc.errno in (errno.EADDRINUSE, errno.EACCES) else "listen_host"
        what = variable.removeprefix("listen_")
        if _is_of_admin_port(config):
            variable, what = "admin_listen", "host and port"
        raise ListenError(
            f"eb_go_lb_{variable} is {getattr(config, variable)}, but golb cannot listen on "
            f"{_bind_address(config)}: {exc.strerror}; it accepts a {what} that is free on this node"
        ) from exc
    return opened


def make_hypercorn_config(config: Config) -> hypercorn.Config:
    """Return what hypercorn has to know."""
    result = hypercorn.Config()
    result.bind = [_bind_address(config)]
    result.certfile = str(config.tls_cert) if config.tls_cert else None
    result.keyfile = str(config.tls_key) if config.tls_key else None
    if _is_of_admin_port(config):
        # It bounds what it does by its connections, and over HTTP/2 each of them would carry a hundred requests at once.
        result.alpn_protocols = ["http/1.1"]
    # Each header more costs the users' databases.
    result.include_date_header = False
    result.include_server_header = False
    result.errorlog = None
    # HTTP/2: a connection may carry any number of requests, and a body waits for its application by flow control.
    result.keep_alive_max_requests = sys.maxsize
    result.max_app_queue_size = sys.maxsize
    return result


def _is_of_admin_port(config: Config) -> bool:
    """Tell whether this is the data port's configuration, or the one that `golb.admin.admin_config` has made of it."""
    return (config.listen_host, config.listen_port) == (config.admin_listen.host, config.admin_listen.port)


def _bind_address(config: Config) -> str:
    host = f"[{config.listen_host}]" if ":" in config.listen_host else config.listen_host
    return f"{host}:{config.listen_port}"

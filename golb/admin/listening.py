"""How the admin port is served: by a server as the data port's, at its own address and with few places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from golb.admin.app import AdminApplication
from golb.admin.guard import is_loopback

if TYPE_CHECKING:
    from golb.admin.sources import Sources
    from golb.config import Config

# A browser takes six, Prometheus and the probes one each; the events of a page stay open.
MAX_CONNECTIONS = 32

# Whoever does not read, or does not send, holds a place that a probe may need.
_STALL_S = 10.0


def admin_config(config: Config) -> Config:
    """Return the configuration of the server of the admin port, which has to be on.

    TLS is as on the data port, as a token is not to be read on the way. Over it HTTP/1.1 only is spoken.
    """
    address = config.admin_listen
    return evolve(
        config,
        listen_host=address.host,
        listen_port=address.port,
        max_connections=MAX_CONNECTIONS,
        client_idle_timeout=_STALL_S,
        request_header_timeout=_STALL_S,
    )


def admin_application(config: Config, sources: Sources) -> AdminApplication:
    """Return what that server serves."""
    return AdminApplication(
        sources,
        token=config.admin_token,
        local_only=is_loopback(config.admin_listen.host),
        endpoint_label=config.metrics_endpoint_label,
    )

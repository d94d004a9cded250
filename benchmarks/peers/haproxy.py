"""HAProxy, a thread for each worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.install import first_line
from benchmarks.layout import HOST, IDLE_CONNECTIONS, PREFIX
from benchmarks.peers.base import ProgramPeer, weighted

if TYPE_CHECKING:
    from benchmarks.peers.base import Site


class Haproxy(ProgramPeer):
    """HAProxy."""

    name = "haproxy"
    install = "the Debian package haproxy"
    executable = "haproxy"

    def version(self) -> str:
        found = re.search(r"version (\S+)", first_line([self.path(), "-v"]))
        return found[1] if found else "unknown"

    def command(self, site: Site) -> list[str]:
        return [self.path(), "-db", "-f", str(site.directory / "haproxy.cfg")]

    def files(self, site: Site) -> dict[str, str]:
        return {"haproxy.cfg": haproxy_config(site, threads=self.workers)}


def haproxy_config(site: Site, *, threads: int = 1) -> str:
    """Return the configuration."""
    servers = "\n    ".join(
        f"server s{number} {address} weight {weight} pool-max-conn {IDLE_CONNECTIONS} pool-purge-delay 1h"
        for number, address, weight in weighted(site.endpoints)
    )
    # Timeouts that nothing reaches here: HAProxy warns of a configuration without.
    return f"""\
global
    nbthread {threads}
    maxconn 8192

defaults
    mode http
    http-reuse always
    option http-keep-alive
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h

frontend calls
    bind {HOST}:{site.port}
    default_backend functions

backend functions
    balance roundrobin
    http-request replace-path {PREFIX}(/.*) \\1
    {servers}
"""

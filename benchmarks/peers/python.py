"""The proxies in Python that one would write without golb."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

from benchmarks.install import distribution_version
from benchmarks.peers.base import Peer
from benchmarks.python_proxies.turns import to_arguments

if TYPE_CHECKING:
    from benchmarks.peers.base import Site


class PythonPeer(Peer):
    """A module of this package that is a proxy."""

    module: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]

    def missing(self) -> str | None:
        missing = [name for name in self.distributions if distribution_version(name) is None]
        return f"not installed: {', '.join(missing)} ({self.install})" if missing else None

    def program(self) -> str:
        return sys.executable

    def version(self) -> str:
        first, *others = ((name, distribution_version(name)) for name in self.distributions)
        return f"{first[1]} ({', '.join(f'{name} {version}' for name, version in others)})"

    def command(self, site: Site) -> list[str]:
        return [sys.executable, "-m", self.module, *to_arguments(site.port, site.endpoints)]


class Aiohttp(PythonPeer):
    """aiohttp on uvloop."""

    name = "aiohttp"
    install = "the dependency group bench"
    module = "benchmarks.python_proxies.aiohttp_proxy"
    distributions = ("aiohttp", "uvloop")


class HypercornHttpx(PythonPeer):
    """hypercorn and httpx on Trio."""

    name = "hypercorn-httpx"
    install = "golb itself brings both"
    module = "benchmarks.python_proxies.httpx_proxy"
    distributions = ("hypercorn", "httpx", "trio")

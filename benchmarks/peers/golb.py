"""golb as its users run it: all defaults, weights from a real etcd. The one of the image is compiled; the checkout's is not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import golb
from benchmarks import compiled
from benchmarks.etcd import EtcdWriter, function_key, weights_value
from benchmarks.layout import FUNCTION, HOST
from benchmarks.peers.base import Peer
from demo.etcd import EtcdProcess
from demo.ports import choose_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from benchmarks.peers.base import Site

ZONE = "zone-a"


def golb_command() -> list[str]:
    """Return the command that runs golb as its image has it, once `benchmarks.compiled` has made it."""
    # -P as in the image: otherwise Python would import the checkout's, in which children of the benchmark are started.
    return [str(compiled.PYTHON), "-P", "-m", "golb"]


def interpreted_command() -> list[str]:
    """Return the command that runs the checkout's golb."""
    return [sys.executable, "-m", "golb"]


def golb_environ(port: int, etcd_port: int, zone: str = ZONE) -> dict[str, str]:
    """Return the variables; what is not named has its default."""
    return {
        "eb_go_lb_etcd_host": f"{HOST}:{etcd_port}",
        "eb_go_lb_zone": zone,
        "eb_go_lb_node_name": "node-a",
        "eb_go_lb_handler_type": "wrr",
        "eb_go_lb_mode": "prod",
        "eb_go_lb_listen_host": HOST,
        "eb_go_lb_listen_port": str(port),
        # On, as by default, but at a port that several of them do not share.
        "eb_go_lb_admin_listen": f"{HOST}:{choose_ports([None])[0]}",
    }


class Golb(Peer):
    """golb, compiled."""

    name = "golb"
    install = "make bench compiles it"

    def __init__(self) -> None:
        self._etcd_port = 0

    def missing(self) -> str | None:
        return compiled.missing()

    def program(self) -> str:
        return self._command()[0]

    def version(self) -> str:
        return f"{golb.__version__} (compiled)"

    def command(self, site: Site) -> list[str]:
        del site
        return self._command()

    def _command(self) -> list[str]:
        return golb_command()

    def environ(self, site: Site) -> Mapping[str, str]:
        return {**golb_environ(site.port, self._etcd_port), "eb_go_lb_workers": str(self.workers)}

    def prepare(self, site: Site, stack: ExitStack) -> None:
        # etcd runs on the cores of this process, which are those of the load.
        etcd = stack.enter_context(EtcdProcess(data_dir=site.directory / "etcd", log=site.directory / "etcd.log"))
        self._etcd_port = etcd.port
        with EtcdWriter(etcd.port) as writer:
            writer.put(function_key(ZONE, FUNCTION), weights_value(site.endpoints))


class GolbInterpreted(Golb):
    """The checkout's golb, which is not compiled."""

    name = "golb-interpreted"
    install = "pip install golb and the dependency group bench"

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return f"{golb.__version__} (interpreted)"

    def _command(self) -> list[str]:
        return interpreted_command()

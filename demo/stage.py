"""The demo's cast: one etcd, the weights in it, and a golb in each zone with the other one as its gateway."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from attrs import define, field

from demo.commands import etcdctl
from demo.errors import PartFailed, log_tail
from demo.layout import ETCD_PORT, ZONES, Endpoint, Table, tables
from demo.ports import HOST, choose_ports, is_free
from demo.probe import wait_until_truthful
from demo.processes import Golb, run_etcd, run_golb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@define(kw_only=True)
class Stage:
    """What runs, and whether all of it has started."""

    environ: Mapping[str, str]
    directory: Path
    """For logs and etcd's data; the caller removes it."""
    say: Callable[[str], None]
    etcd_url: str = ""
    golbs: list[Golb] = field(factory=list)
    tables: list[Table] = field(factory=list)
    _up: bool = field(default=False, init=False)

    @property
    def etcd_address(self) -> str:
        """`host:port`, as golb and etcdctl take it."""
        return urlsplit(self.etcd_url).netloc

    async def start(self, nursery: trio.Nursery, endpoints: Sequence[Endpoint], *, free_ports: bool) -> None:
        """Start all processes in the nursery; they are up, and tell the truth, when this returns.

        Raises:
            PartFailed: one of them did not start, here or, if it ended too early, out of the nursery.
        """
        self.say("golb demo: starting etcd")
        etcd_port = ETCD_PORT if not free_ports and is_free(ETCD_PORT) else None
        self.etcd_url = await nursery.start(run_etcd, etcd_port, self.directory, self._on_exit)
        wished = [*(zone.port for zone in ZONES), *(zone.admin_port for zone in ZONES)]
        golb_ports = choose_ports([None if free_ports else port for port in wished])
        if not free_ports:
            self._say_what_was_taken([ETCD_PORT, *wished], [urlsplit(self.etcd_url).port, *golb_ports])
        self.golbs = self._cast(golb_ports)
        gateways_by_zone = {golb.zone: golb.gateway for golb in self.golbs}
        self.tables = tables(endpoints, gateways_by_zone)
        self.say("golb demo: putting the weights with etcdctl")
        for table in self.tables:
            await self._put(table)
        for golb in self.golbs:
            self.say(f"golb demo: starting {golb.part}")
            await nursery.start(run_golb, golb, self.environ, self._on_exit)
        for golb in self.golbs:
            await wait_until_truthful(golb, endpoints)
        self._up = True

    def _say_what_was_taken(self, wished: Sequence[int], got: Sequence[int | None]) -> None:
        for wish, port in zip(wished, got, strict=True):
            if wish != port:
                self.say(f"golb demo: port {wish} is taken, using {port} in its place")

    def _cast(self, ports: Sequence[int]) -> list[Golb]:
        (zone_a, zone_b), (port_a, port_b, admin_a, admin_b) = ZONES, ports
        return [
            Golb(
                zone=zone.name,
                node=zone.node,
                host=HOST,
                port=port,
                admin_port=admin_port,
                etcd=self.etcd_address,
                gateway=f"{HOST}:{gateway_port}",
                log=self.directory / f"golb-{zone.name}.log",
            )
            for zone, port, admin_port, gateway_port in (
                (zone_a, port_a, admin_a, port_b),
                (zone_b, port_b, admin_b, port_a),
            )
        ]

    async def _put(self, table: Table) -> None:
        # ETCDCTL_ variables of the user's shell would clash with the options, and etcdctl refuses that.
        environ = {name: value for name, value in self.environ.items() if not name.startswith("ETCDCTL_")}
        command = etcdctl(self.etcd_address, "put", table.key, table.value())
        try:
            done = await trio.run_process(
                command,
                check=False,
                stdout=subprocess.DEVNULL,
                capture_stderr=True,
                env=environ,
                start_new_session=True,
            )
        except OSError as exc:
            raise PartFailed("etcdctl", f"cannot be started: {exc}") from exc
        if done.returncode != 0:
            raise PartFailed("etcdctl", f"could not put {table.key}: {done.stderr.decode(errors='replace').strip()}")

    def _on_exit(self, part: str, how: str, log: Path) -> None:
        """Take note that a process ended by itself: while the demo starts that ends it, later it goes on."""
        if not self._up:
            raise PartFailed(part, f"ended while the demo was starting, {how}", log)
        self.say(f"golb demo: {part} ended by itself, {how}; the rest goes on\n{log_tail(log)}")

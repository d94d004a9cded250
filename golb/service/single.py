"""golb as one process: the source of weights, the traffic and the admin port in one nursery."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from golb import __version__
from golb.admin import MAX_CONNECTIONS, EventFeed, News, OwnFunctions, Sources, own_connections
from golb.errors import ListenError
from golb.service.addresses import listen_place, shown_addresses
from golb.service.admin_port import AdminPort, follow_weights
from golb.service.life import Life
from golb.service.reload import Reloading
from golb.service.source import WeightSource
from golb.service.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.config import Config
    from golb.takeover import Taken

LOG = structlog.get_logger()


async def serve_alone(config: Config, environ: Mapping[str, str], taken: Taken) -> None:
    """Run golb until it is told to stop (see `golb.service.life`), then drain.

    Args:
        config: in force at the start.
        environ: of the process, from which the configuration is read again.
        taken: what another golb has passed, whose place this one takes when it is ready.

    Raises:
        ListenError: the socket cannot be opened.
        ConfigError: a plugin or a TLS file is not what it should be.
    """
    await _Golb(config, environ, taken).run()


class _Golb:
    """The parts, and the order in which they begin and end."""

    def __init__(self, config: Config, environ: Mapping[str, str], taken: Taken) -> None:
        self._config = config
        self._taken = taken
        self._feed = EventFeed()
        self._news = News(self._feed)
        self._source = WeightSource(config, self._news.tell_refusal)
        self._traffic = traffic = Traffic(
            config, self._news.tell_health, other_connections=MAX_CONNECTIONS if config.admin_listen else 0
        )
        place = listen_place(config)
        self._listeners = taken.sockets(place) or traffic.server.open_sockets()
        self._admin_port = AdminPort(
            config, self._sources(), traffic.poller, traffic.deadlines, taken.sockets(str(config.admin_listen))
        )
        self._life = Life(
            config,
            environ,
            drain=self._drain,
            reload=Reloading(config, environ, self._reconfigure).reload,
            sockets=lambda: {place: self._listeners, str(config.admin_listen): self._admin_port.sockets},
        )

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await self._start(nursery)
        except* ListenError as group:
            raise group.exceptions[0] from None
        LOG.info("stopped")

    async def _start(self, nursery: trio.Nursery) -> None:
        config, source, traffic, admin_port = self._config, self._source, self._traffic, self._admin_port
        await nursery.start(self._life.run, nursery.cancel_scope)
        await traffic.start(nursery)
        nursery.start_soon(self._hand_over)
        if config.admin_listen:
            nursery.start_soon(follow_weights, self._news, source.broadcaster)
            nursery.start_soon(admin_port.run)
        await nursery.start(source.run)
        await source.wait_until_worth_serving(traffic.is_loaded, may_hurry=self._taken.settled)
        self._life.begin()
        await self._taken.confirm()
        admin_port.begin()
        nursery.start_soon(self._serve_until_drained, nursery.cancel_scope)
        nursery.start_soon(self._life.offer)
        LOG.info(
            "serving",
            version=__version__,
            node=config.node_name,
            zone=config.zone,
            handler=config.handler_type,
            address=shown_addresses(self._listeners),
        )

    async def _reconfigure(self, config: Config) -> None:
        self._traffic.reconfigure(config)
        self._admin_port.reconfigure(config)

    async def _serve_until_drained(self, service: trio.CancelScope) -> None:
        await self._traffic.server.run(self._listeners)
        service.cancel()

    async def _drain(self, *, for_successor: bool) -> None:
        self._news.tell_drain()
        self._traffic.server.drain()
        if for_successor:
            self._admin_port.close()
        await trio.lowlevel.checkpoint()

    async def _hand_over(self) -> None:
        """Give the handler each update; the first batch is the whole table."""
        taker = self._source.in_force.taker()
        with self._source.broadcaster.subscribe() as batches:
            async for batch in batches:
                taker.take()
                await self._traffic.hand_over(batch.values(), of=len(batch))
                taker.hand_over()
                self._traffic.end_table()

    def _sources(self) -> Sources:
        server, handler = self._traffic.server, self._traffic.handler
        return Sources(
            node=self._config.node_name,
            zone=self._config.zone,
            version=__version__,
            started_s=time.time(),
            functions=OwnFunctions(handler),
            knowledge=self._source.knowledge,
            refused=self._source.refused,
            connections=partial(own_connections, server.admission),
            is_draining=lambda: server.is_draining,
            is_loaded=self._traffic.is_loaded.is_set,
            events=self._feed,
        )

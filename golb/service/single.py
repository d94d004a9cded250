"""golb as one process: the source of weights, the traffic and the admin port in one nursery."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb import __version__
from golb.admin import EventFeed, News, Sources
from golb.service.addresses import shown_addresses
from golb.service.admin_port import follow_weights, serve_admin
from golb.service.source import WeightSource
from golb.service.traffic import Traffic

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from golb.config import Config
    from golb.server import Server

LOG = structlog.get_logger()


async def serve(config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run golb until SIGTERM or SIGINT, then drain; ready once requests are accepted.

    Raises:
        ListenError: the socket cannot be opened.
        ConfigError: a plugin or a TLS file is not what it should be.
    """
    feed = EventFeed()
    news = News(feed)
    source = WeightSource(config, news.tell_refusal)
    traffic = Traffic(config, news.tell_health)
    server = traffic.server
    sockets = server.open_sockets()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signals, signals, server, news, nursery.cancel_scope)
            await traffic.start(nursery)
            nursery.start_soon(_hand_over, source, traffic)
            if config.admin_listen:
                sources = Sources(
                    node=config.node_name,
                    zone=config.zone,
                    version=__version__,
                    started_s=time.time(),
                    handler=traffic.handler,
                    knowledge=source.knowledge,
                    refused=source.refused,
                    admission=server.admission,
                    is_draining=lambda: server.is_draining,
                    is_loaded=traffic.is_loaded.is_set,
                    events=feed,
                    updates=traffic.handler.weight_changes,
                )
                nursery.start_soon(serve_admin, config, sources, traffic.poller, traffic.deadlines)
                nursery.start_soon(follow_weights, news, source.broadcaster)
            await nursery.start(source.run)
            await source.wait_until_worth_serving(traffic.is_loaded)
            nursery.start_soon(_serve_until_drained, server, sockets, nursery.cancel_scope)
            LOG.info(
                "serving",
                version=__version__,
                node=config.node_name,
                zone=config.zone,
                handler=config.handler_type,
                address=shown_addresses(sockets),
            )
            task_status.started()
    LOG.info("stopped")


async def _serve_until_drained(server: Server, sockets: list[socket.socket], service: trio.CancelScope) -> None:
    await server.run(sockets)
    service.cancel()


async def _stop_on_signals(
    signals: AsyncIterator[int], server: Server, news: News, service: trio.CancelScope
) -> NoReturn:
    """Drain at the first signal; at another one, end at once."""
    received = await anext(signals)
    LOG.info("stopping", signal=signal.Signals(received).name)
    news.tell_drain()
    server.drain()
    received = await anext(signals)
    LOG.warning("stopping at once", signal=signal.Signals(received).name)
    service.cancel()
    await trio.sleep_forever()
    raise AssertionError  # not reached


async def _hand_over(source: WeightSource, traffic: Traffic) -> None:
    """Give the handler each update; the first batch is the whole table."""
    taker = source.in_force.taker()
    with source.broadcaster.subscribe() as batches:
        async for batch in batches:
            taker.take()
            await traffic.hand_over(batch.values(), of=len(batch))
            taker.hand_over()
            traffic.end_table()

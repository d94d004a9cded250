"""The root nursery: builds the parts from the configuration, supervises them, and ends them in order."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb import __version__
from golb.deadlines import Deadlines
from golb.handlers import Handler, HandlerContext
from golb.plugins import HANDLERS, WEIGHT_UPDATERS, load_plugin
from golb.poller import Poller
from golb.server import Server
from golb.updaters import Broadcaster, WeightUpdater
from golb.upstream import Upstream

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from golb.config import Config
    from golb.updaters import Batch

LOG = structlog.get_logger()

# How long the server waits for the first table before it opens its sockets all the same.
_FIRST_TABLE_S = 2.0
# So many updates are handed over before other tasks get their turn: about a millisecond.
_UPDATES_AT_ONCE = 50
_RESTART_DELAY_S = 1.0


async def serve(config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run golb until SIGTERM or SIGINT, then drain; ready once requests are accepted.

    Raises:
        ListenError: the socket cannot be opened.
        ConfigError: a plugin or a TLS file is not what it should be.
    """
    poller = Poller()
    deadlines = Deadlines()
    upstream = Upstream(
        poller,
        deadlines,
        connect_timeout_s=config.connect_timeout,
        response_timeout_s=config.response_timeout,
        idle_timeout_s=config.upstream_idle_timeout,
        max_idle=config.upstream_max_idle,
    )
    handler = load_plugin(HANDLERS, config.handler_type, Handler)(HandlerContext(config, upstream))
    updater = load_plugin(WEIGHT_UPDATERS, config.weight_updater, WeightUpdater)(config)
    broadcaster = Broadcaster()
    server = Server(config, handler, poller, deadlines)
    sockets = server.open_sockets()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signals, signals, server, nursery.cancel_scope)
            await nursery.start(poller.run)
            await nursery.start(deadlines.run)
            await nursery.start(upstream.run)
            nursery.start_soon(_keep_updating, updater, broadcaster)
            table_handed_over = trio.Event()
            nursery.start_soon(_hand_over, broadcaster, handler, table_handed_over)
            with trio.move_on_after(_FIRST_TABLE_S):
                await table_handed_over.wait()
            nursery.start_soon(_serve_until_drained, server, sockets, nursery.cancel_scope)
            LOG.info(
                "serving",
                version=__version__,
                node=config.node_name,
                zone=config.zone,
                handler=config.handler_type,
                address=_address(sockets),
            )
            task_status.started()
    LOG.info("stopped")


async def _serve_until_drained(server: Server, sockets: list[socket.socket], service: trio.CancelScope) -> None:
    await server.run(sockets)
    service.cancel()


async def _stop_on_signals(signals: AsyncIterator[int], server: Server, service: trio.CancelScope) -> NoReturn:
    """Drain at the first signal; at another one, end at once."""
    received = await anext(signals)
    LOG.info("stopping", signal=signal.Signals(received).name)
    server.drain()
    received = await anext(signals)
    LOG.warning("stopping at once", signal=signal.Signals(received).name)
    service.cancel()
    await trio.sleep_forever()
    raise AssertionError  # not reached


async def _keep_updating(updater: WeightUpdater, broadcaster: Broadcaster) -> NoReturn:
    """Let the updater feed the broadcaster; a defect of it stops neither the traffic nor the updates to come."""
    while True:
        try:
            await updater.run(broadcaster.publish)
        except Exception:  # the boundary of the updater, which may be another package's
            LOG.exception("weight updater failed, started again", retry_in_s=_RESTART_DELAY_S)
        await trio.sleep(_RESTART_DELAY_S)


async def _hand_over(broadcaster: Broadcaster, handler: Handler, table_handed_over: trio.Event) -> None:
    """Give the handler each update; the first batch is the whole table."""
    with broadcaster.subscribe() as batches:
        async for batch in batches:
            await _hand_over_batch(batch, handler)
            if not table_handed_over.is_set():
                handler.handle_weights_loaded()
                table_handed_over.set()


async def _hand_over_batch(batch: Batch, handler: Handler) -> None:
    for count, update in enumerate(batch.values(), 1):
        try:
            handler.handle_weight_update(update)
        except Exception:  # the boundary of one update: the handler may be another package's
            LOG.exception("weight update failed", function=update.function, revision=update.revision)
        if count % _UPDATES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()


def _address(sockets: list[socket.socket]) -> str:
    addresses = (sock.getsockname()[:2] for sock in sockets)
    return " ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses)

"""The root nursery: builds the parts from the configuration, supervises them, and ends them in order."""

from __future__ import annotations

import gc
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb import __version__
from golb.access_log import AccessLog
from golb.admin import MAX_CONNECTIONS, EventFeed, News, Sources, admin_application, admin_config, is_loopback
from golb.deadlines import Deadlines
from golb.errors import ListenError
from golb.handlers import Handler, HandlerContext
from golb.observed import Observed
from golb.plugins import HANDLERS, WEIGHT_UPDATERS, load_plugin
from golb.poller import Poller
from golb.server import Server
from golb.tracing import load_tracing
from golb.updaters import Acknowledgement, Broadcaster, EtcdWeightUpdater, InForce, SavedTable, WeightUpdater
from golb.upstream import Upstream, close_longest_idle, resting_endpoints

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterable

    from golb.config import Config
    from golb.tracing.spans import Tracing
    from golb.updaters import Batch, Publish
    from golb.weights import WeightUpdate

LOG = structlog.get_logger()

# How long the server waits for the first table before it opens its sockets all the same.
_FIRST_TABLE_S = 2.0
# With a table from disk it need not wait; but an etcd that is well answers within this, and its table is newer.
_NEWER_TABLE_S = 1.0
_LOOK_EVERY_S = 0.01
# So many endpoints, and functions, are handed over before other tasks get their turn: about a millisecond.
_ENDPOINTS_AT_ONCE = 50
# What the handler makes of so many functions stays. For 100,000 of them Python would go through all of it again and again,
# for a second or two each time, to find cycles that nobody refers to any more; what is frozen, which costs nothing, it
# leaves alone. What is not needed any more goes all the same, by its count of references.
_LARGE_BATCH = 1000
_RESTART_DELAY_S = 1.0
_ADMIN_RETRY_S = 5.0


async def serve(config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run golb until SIGTERM or SIGINT, then drain; ready once requests are accepted.

    Raises:
        ListenError: the socket cannot be opened.
        ConfigError: a plugin or a TLS file is not what it should be.
    """
    poller = Poller()
    deadlines = Deadlines()
    feed = EventFeed()
    news = News(feed)
    upstream = Upstream(
        poller,
        deadlines,
        connect_timeout_s=config.connect_timeout,
        response_timeout_s=config.response_timeout,
        idle_timeout_s=config.upstream_idle_timeout,
        max_idle=config.upstream_max_idle,
        resting=resting_endpoints(config, news.tell_health),
        targets=config.target_networks,
    )
    handler = load_plugin(HANDLERS, config.handler_type, Handler)(HandlerContext(config, upstream))
    updater = load_plugin(WEIGHT_UPDATERS, config.weight_updater, WeightUpdater)(config)
    if updater.refused is not None:
        updater.refused.on_refusal = news.tell_refusal
    broadcaster = Broadcaster()
    in_force = InForce(lambda: updater.table.revision if isinstance(updater, EtcdWeightUpdater) else 0)
    publish = _publisher(broadcaster, in_force)
    access_log, tracing = _observers(config)
    observers = [access_log] if access_log is not None else []
    # Only if somebody wants to know does anything stand between the server and the handler.
    application = Observed(handler, config.node_name, observers, tracing) if observers or tracing else handler
    server = Server(
        config,
        application,
        poller,
        deadlines,
        others=MAX_CONNECTIONS if config.admin_listen else 0,
        make_room=partial(close_longest_idle, upstream),
    )
    sockets = server.open_sockets()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signals, signals, server, news, nursery.cancel_scope)
            await nursery.start(poller.run)
            await nursery.start(deadlines.run)
            await nursery.start(upstream.run)
            for observer in (access_log, tracing):
                if observer is not None:
                    await nursery.start(observer.run)
            table_handed_over = trio.Event()
            nursery.start_soon(_hand_over, broadcaster, handler, in_force, table_handed_over)
            if config.admin_listen:
                sources = Sources(
                    node=config.node_name,
                    zone=config.zone,
                    version=__version__,
                    started_s=time.time(),
                    handler=handler,
                    knowledge=updater.knowledge,
                    refused=updater.refused,
                    admission=server.admission,
                    is_draining=lambda: server.is_draining,
                    is_loaded=table_handed_over.is_set,
                    events=feed,
                    updates=handler.weight_changes,
                )
                nursery.start_soon(_serve_admin, config, sources, poller, deadlines)
                nursery.start_soon(_follow_weights, news, broadcaster)
            if isinstance(updater, EtcdWeightUpdater) and config.state_dir is not None:
                saved = SavedTable(
                    config.state_dir, config.zone, updater.table, updater.knowledge, max_age_s=config.state_max_age
                )
                await saved.restore(publish)
                nursery.start_soon(saved.keep)
            nursery.start_soon(_keep_updating, updater, publish)
            if isinstance(updater, EtcdWeightUpdater) and config.ack:
                ack = Acknowledgement(config, updater.table, updater.knowledge, in_force)
                nursery.start_soon(_acknowledge, ack)
            with trio.move_on_after(_FIRST_TABLE_S):
                await table_handed_over.wait()
            with trio.move_on_after(_NEWER_TABLE_S):
                while updater.knowledge.source == "disk" and updater.knowledge.connection != "lost":  # noqa: ASYNC110 - it has no event
                    await trio.sleep(_LOOK_EVERY_S)
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


def _observers(config: Config) -> tuple[AccessLog | None, Tracing | None]:
    access_log = None
    if config.access_log != "off":
        access_log = AccessLog(config.access_log, config.access_log_path, sample_percent=config.access_log_sample)
    return access_log, load_tracing(config.node_name, config.zone) if config.tracing != "off" else None


async def _serve_admin(config: Config, sources: Sources, poller: Poller, deadlines: Deadlines) -> NoReturn:
    """Tell of golb by the admin port; whatever goes wrong there stops nothing else."""
    application = admin_application(config, sources)
    if config.admin_token is None and not is_loopback(config.admin_listen.host):
        LOG.warning("admin port is open to everybody who reaches it", variable="eb_go_lb_admin_token")
    was_told = False
    while True:
        server = Server(admin_config(config), application, poller, deadlines)
        try:
            sockets = server.open_sockets()
            LOG.info("admin port open", address=_address(sockets))
            was_told = False
            await server.run(sockets)
        except ListenError as exc:  # another golb on this machine may have it, and end sooner or later
            if not was_told:
                LOG.warning(
                    "admin port cannot be opened, tried again",
                    variable="eb_go_lb_admin_listen",
                    value=str(config.admin_listen),
                    cause=str(exc.__cause__),
                )
            was_told = True
        except Exception:  # the boundary of what only tells
            LOG.exception("admin port failed, opened again")
        await trio.sleep(_ADMIN_RETRY_S)


def _publisher(broadcaster: Broadcaster, in_force: InForce) -> Publish:
    def publish(updates: Iterable[WeightUpdate]) -> None:
        batch = list(updates)
        if batch:
            in_force.published()
        broadcaster.publish(batch)

    return publish


async def _keep_updating(updater: WeightUpdater, publish: Publish) -> NoReturn:
    """Let the updater publish; a defect of it stops neither the traffic nor the updates to come."""
    while True:
        try:
            await updater.run(publish)
        except Exception:  # the boundary of the updater, which may be another package's
            LOG.exception("weight updater failed, started again", retry_in_s=_RESTART_DELAY_S)
        await trio.sleep(_RESTART_DELAY_S)


async def _acknowledge(ack: Acknowledgement) -> NoReturn:
    """Let it tell; a defect of it stops nothing else."""
    while True:
        try:
            await ack.run()
        except Exception:  # the boundary of a courtesy
            LOG.exception("acknowledgement failed, started again", retry_in_s=_RESTART_DELAY_S)
        await trio.sleep(_RESTART_DELAY_S)


async def _follow_weights(news: News, broadcaster: Broadcaster) -> None:
    with broadcaster.subscribe() as batches:
        await news.follow(batches)


async def _hand_over(
    broadcaster: Broadcaster, handler: Handler, in_force: InForce, table_handed_over: trio.Event
) -> None:
    """Give the handler each update; the first batch is the whole table."""
    with broadcaster.subscribe() as batches:
        async for batch in batches:
            in_force.taken()
            await _hand_over_batch(batch, handler)
            in_force.handed_over()
            if not table_handed_over.is_set():
                handler.handle_weights_loaded()
                table_handed_over.set()


async def _hand_over_batch(batch: Batch, handler: Handler) -> None:
    room = _ENDPOINTS_AT_ONCE
    for update in batch.values():
        try:
            handler.handle_weight_update(update)
        except Exception:  # the boundary of one update: the handler may be another package's
            LOG.exception("weight update failed", function=update.function, revision=update.revision)
        room -= 1 + (len(update.weights.by_endpoint) if update.weights is not None else 0)
        if room <= 0:
            if len(batch) >= _LARGE_BATCH:
                gc.freeze()
            await trio.lowlevel.checkpoint()
            room = _ENDPOINTS_AT_ONCE


def _address(sockets: list[socket.socket]) -> str:
    addresses = (sock.getsockname()[:2] for sock in sockets)
    return " ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses)

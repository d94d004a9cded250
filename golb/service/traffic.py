"""The traffic of a process: the server, the handler behind it, and the connections to endpoints."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from golb.access_log import AccessLog
from golb.deadlines import Deadlines
from golb.errors import ConfigError
from golb.handlers import Handler, HandlerContext
from golb.logs import set_log_level
from golb.observed import Observed
from golb.plugins import HANDLERS, load_plugin
from golb.poller import Poller
from golb.server import Server
from golb.tracing import load_tracing
from golb.upstream import Upstream, close_longest_idle, open_socket, resting_endpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from golb.config import Config
    from golb.health import Health
    from golb.server.spread import Spread
    from golb.tracing.spans import Tracing
    from golb.weights import WeightUpdate

LOG = structlog.get_logger()

# So many endpoints, and functions, are handed over before other tasks get their turn: about a millisecond.
_ENDPOINTS_AT_ONCE = 50
# What the handler makes of so many functions stays. For 100,000 of them Python would go through all of it again and again,
# for a second or two each time, to find cycles that nobody refers to any more; what is frozen, which costs nothing, it
# leaves alone. What is not needed any more goes all the same, by its count of references.
_LARGE_BATCH = 1000


class Traffic:
    """Takes requests and answers them.

    Args:
        config: how.
        on_health: told of each endpoint that begins to rest, for so many seconds, or serves again (0).
        other_connections: how many clients another port of this process may have.
        spread: this process's part in spreading connections over several.

    Raises:
        ConfigError: the handler or a TLS file is not what it should be.
    """

    def __init__(
        self,
        config: Config,
        on_health: Callable[[Health, float], object],
        *,
        other_connections: int = 0,
        spread: Spread | None = None,
    ) -> None:
        self.poller = Poller()
        self.deadlines = Deadlines()
        self._upstream = Upstream(
            partial(open_socket, self.poller, config.target_networks),
            self.deadlines,
            connect_timeout_s=config.connect_timeout,
            response_timeout_s=config.response_timeout,
            idle_timeout_s=config.upstream_idle_timeout,
            max_idle=config.upstream_max_idle,
            resting=resting_endpoints(config, on_health),
        )
        self.handler = _make_handler(config, self._upstream)
        self._access_log: AccessLog | None = None
        if config.access_log != "off":
            self._access_log = AccessLog(
                config.access_log, config.access_log_path, sample_percent=config.access_log_sample
            )
        self._tracing: Tracing | None = None
        if config.tracing != "off":
            self._tracing = load_tracing(config.node_name, config.zone)
        observers = [self._access_log] if self._access_log is not None else []
        # Only if somebody wants to know does anything stand between the server and the handler.
        is_observed = observers or self._tracing
        self.server = Server(
            config,
            Observed(self.handler, config.node_name, observers, self._tracing) if is_observed else self.handler,
            self.poller,
            self.deadlines,
            others=other_connections,
            make_room=partial(close_longest_idle, self._upstream),
            spread=spread,
        )
        self.is_loaded = trio.Event()
        """Set once the handler has the first whole table."""

    async def start(self, nursery: trio.Nursery) -> None:
        """Start all but the server itself; returns when it is ready for requests."""
        await nursery.start(self.poller.run)
        await nursery.start(self.deadlines.run)
        await nursery.start(_run_upstream, self._upstream)
        for observer in (self._access_log, self._tracing):
            if observer is not None:
                await nursery.start(observer.run)

    def reconfigure(self, config: Config) -> None:
        """Take over what may change at run time, of which the configuration says which variables it is; requests under way are not harmed.

        Raises:
            ConfigError: a TLS file is not what it should be; all stays as it was.
        """
        self.server.reconfigure(config)  # first: nothing else refuses
        set_log_level(config.log_level)
        self._upstream.reconfigure(config)
        if self._access_log is not None:
            self._access_log.sample(config.access_log_sample)
        try:
            self.handler.handle_config(config)
        except Exception:  # the boundary of one handler, which may be another package's
            LOG.exception("handler failed to take the configuration over")

    async def hand_over(self, updates: Iterable[WeightUpdate], *, of: int) -> None:
        """Give updates to the handler, a millisecond's worth at once.

        Args:
            updates: of a function each.
            of: how many belong together, these among them.
        """
        room = _ENDPOINTS_AT_ONCE
        for update in updates:
            try:
                self.handler.handle_weight_update(update)
            except Exception:  # the boundary of one update: the handler may be another package's
                LOG.exception("weight update failed", function=update.function, revision=update.revision)
            room -= 1 + (len(update.weights.by_endpoint) if update.weights is not None else 0)
            if room <= 0:
                if of >= _LARGE_BATCH:
                    gc.freeze()
                await trio.lowlevel.checkpoint()
                room = _ENDPOINTS_AT_ONCE

    def end_table(self) -> None:
        """Take note that the first whole table has been handed over."""
        if not self.is_loaded.is_set():
            self.handler.handle_weights_loaded()
            self.is_loaded.set()


async def _run_upstream(upstream: Upstream, *, task_status: trio.TaskStatus[None]) -> None:
    """Begin its task with a coroutine that is not compiled, as its nursery needs it: see golb/mypyc.py."""
    await upstream.run(task_status=task_status)


def _make_handler(config: Config, upstream: Upstream) -> Handler:
    make = load_plugin(HANDLERS, config.handler_type, Handler)
    try:
        return make(HandlerContext(config, upstream))
    except ConfigError:
        raise
    except Exception as exc:  # it may be another package's, and no other try would go better
        LOG.exception("handler cannot be made", handler=config.handler_type)
        raise ConfigError(
            f"eb_go_lb_handler_type is {config.handler_type!r}, but its handler cannot be made: {exc!r}"
        ) from exc

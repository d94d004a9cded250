"""golb's own parts, put together as `golb.service` does it, on a free port of loopback."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import trio
import trio.testing
from attrs import evolve, frozen

from golb.config import Config
from golb.deadlines import Deadlines
from golb.handlers import HandlerContext, WeightedRoundRobinHandler
from golb.poller import Poller
from golb.server import Server
from golb.upstream import Upstream, open_socket, resting_endpoints
from golb.weights import Weights, WeightUpdate, parse_endpoint
from support.wire import connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from golb.asgi import Application
    from support.wire import Wire

FUNCTION = "f"
NODE = "eb-a"
# No test of a server takes as long unless something hangs, on a machine that others keep busy too.
BOUND_S = 30.0
# Far more than a call through golb and its answer take, each of which is a look at all sockets or a few.
_ROUNDS = 20


@frozen
class RunningServer:
    """A server that accepts connections."""

    server: Server
    port: int
    stopped: trio.Event
    """Set once `server.run` has returned."""

    async def connect(self, ssl_context: ssl.SSLContext | None = None) -> Wire:
        return await connect(self.port, ssl_context)


@frozen
class RunningGolb(RunningServer):
    """A server whose application is the load balancer."""

    upstream: Upstream
    handler: WeightedRoundRobinHandler
    poller: Poller

    def put_weights(self, weights: Mapping[str, int], function: str = FUNCTION) -> None:
        """Let the function have these endpoints, `host:port` each."""
        parsed = Weights({parse_endpoint(authority): weight for authority, weight in weights.items()})
        self.handler.handle_weight_update(WeightUpdate(function, parsed, revision=1))


def make_config(**variables: str) -> Config:
    """Make a configuration by the names of variables without their prefix; it listens on a free port of loopback."""
    return _make_config(tuple(variables.items()))


@cache  # looking for plugins takes as long as the rest of many a test
def _make_config(variables: tuple[tuple[str, str], ...]) -> Config:
    all_variables = {"zone": "zone-a", "node_name": NODE, "listen_host": "127.0.0.1", **dict(variables)}
    config = Config.from_environ({f"eb_go_lb_{name}": value for name, value in all_variables.items()})
    return evolve(config, listen_port=0)


@asynccontextmanager
async def running_server(
    application: Application, poller: Poller | None = None, /, **variables: str
) -> AsyncIterator[RunningServer]:
    """Serve an ASGI application; bounds the time of what is done meanwhile.

    Args:
        application: what is served.
        poller: one that runs already, of which there can be but one.
        variables: of the configuration.
    """
    config = make_config(**variables)
    is_first = poller is None
    poller, deadlines = poller or Poller(), Deadlines()
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            if is_first:
                await nursery.start(poller.run)
            await nursery.start(deadlines.run)
            server, port, stopped = await _start_server(nursery, config, application, poller, deadlines)
            yield RunningServer(server, port, stopped)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_golb(*authorities: str, **variables: str) -> AsyncIterator[RunningGolb]:
    """Serve the function `f`, whose endpoints these are, each of weight 1; bounds the time of what is done meanwhile."""
    config = make_config(**variables)
    poller, deadlines = Poller(), Deadlines()
    upstream = Upstream(
        partial(open_socket, poller, config.target_networks),
        deadlines,
        connect_timeout_s=config.connect_timeout,
        response_timeout_s=config.response_timeout,
        idle_timeout_s=config.upstream_idle_timeout,
        max_idle=config.upstream_max_idle,
        resting=resting_endpoints(config),
    )
    handler = WeightedRoundRobinHandler(HandlerContext(config, upstream))
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            await nursery.start(deadlines.run)
            await nursery.start(upstream.run)
            server, port, stopped = await _start_server(nursery, config, handler, poller, deadlines)
            golb = RunningGolb(server, port, stopped, upstream, handler, poller)
            golb.put_weights(dict.fromkeys(authorities, 1))
            handler.handle_weights_loaded()
            try:
                yield golb
            finally:
                golb.put_weights({})  # closes the idle connections
            nursery.cancel_scope.cancel()


async def _start_server(
    nursery: trio.Nursery, config: Config, application: Application, poller: Poller, deadlines: Deadlines
) -> tuple[Server, int, trio.Event]:
    server = Server(config, application, poller, deadlines)
    sockets = server.open_sockets()
    port = sockets[0].getsockname()[1]
    stopped = trio.Event()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        await server.run(sockets, task_status=task_status)
        stopped.set()

    await nursery.start(run)
    return server, port, stopped


async def settle() -> None:
    """Let what has been sent over loopback arrive, and be dealt with, as far as it goes without time.

    Behind the poller's news a task may run, or only a fiber, of which Trio knows nothing: so more than one round.
    """
    for _ in range(_ROUNDS):
        await trio.testing.wait_all_tasks_blocked()

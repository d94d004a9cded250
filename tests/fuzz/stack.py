"""golb without sockets: its own connection, handler and upstream, between a scripted client and scripted endpoints."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, cast

import trio
from structlog.testing import capture_logs
from support.stack import FUNCTION, make_config

from golb.deadlines import Deadlines
from golb.handlers import HandlerContext, WeightedRoundRobinHandler
from golb.server.connection import Connection, Peer
from golb.server.timeouts import Timeouts
from golb.upstream import Upstream, resting_endpoints
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fuzz.streams import ScriptedStream
    from golb.asgi import Application
    from golb.config import Config
    from golb.upstream.connection import EndpointStream

ENDPOINT = Endpoint("10.0.0.1", 8080)
# Two ticks of the clock by which golb keeps its timeouts. The clock jumps, but each tick takes its time to run.
TIMEOUT_S = 0.02
_MAX_LOG_LINES = 1000
_PEER = Peer(("192.0.2.1", 4711), ("192.0.2.2", 80), "http")


@cache
def _config() -> Config:
    return make_config()


def memory_upstream(deadlines: Deadlines, open_stream: Callable[[], ScriptedStream]) -> Upstream:
    """Make what connects to streams that `open_stream` makes."""

    async def connect(_endpoint: Endpoint) -> EndpointStream:
        await trio.lowlevel.checkpoint()
        return cast("EndpointStream", open_stream())

    return Upstream(
        connect,
        deadlines,
        connect_timeout_s=TIMEOUT_S,
        response_timeout_s=TIMEOUT_S,
        idle_timeout_s=0,
        max_idle=2,
        resting=resting_endpoints(_config()),
    )


async def serve(client: ScriptedStream, application: Application, *, is_draining: bool = False) -> None:
    """Serve a client with an ASGI application, until its connection has ended."""
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        await nursery.start(deadlines.run)
        await _serve(client, application, deadlines, is_draining=is_draining)
        nursery.cancel_scope.cancel()


async def serve_by_golb(
    client: ScriptedStream, open_stream: Callable[[], ScriptedStream], *, is_draining: bool = False
) -> None:
    """Serve a client with the load balancer, whose function `f` has one endpoint; then close what is kept to it."""
    deadlines = Deadlines()
    upstream = memory_upstream(deadlines, open_stream)
    handler = WeightedRoundRobinHandler(HandlerContext(_config(), upstream))
    handler.handle_weight_update(WeightUpdate(FUNCTION, Weights({ENDPOINT: 1}), revision=1))
    handler.handle_weights_loaded()
    async with trio.open_nursery() as nursery:
        await nursery.start(deadlines.run)
        await nursery.start(upstream.run)
        await _serve(client, handler, deadlines, is_draining=is_draining)
        handler.handle_weight_update(WeightUpdate(FUNCTION, None, revision=2))
        nursery.cancel_scope.cancel()


async def _serve(
    client: ScriptedStream, application: Application, deadlines: Deadlines, *, is_draining: bool = False
) -> None:
    connection = Connection(
        application,
        client,
        _PEER,
        Timeouts(deadlines, head_s=TIMEOUT_S, idle_s=TIMEOUT_S, stall_s=TIMEOUT_S),
        stop_reading=client.stop_reading,
        abort=lambda reset: client.abort(reset=reset),
        is_draining=lambda: is_draining,
    )
    await connection.run()
    assert client.closed, "the connection has ended and its stream is open"


@contextmanager
def bounded_logs() -> Iterator[None]:
    """Let what is logged meanwhile be few lines, none of them about a defect."""
    with capture_logs() as lines:
        yield
    assert len(lines) <= _MAX_LOG_LINES, f"{len(lines)} lines of log"
    for line in lines:
        assert line["log_level"] not in ("error", "critical"), line

"""Handlers derived from the load balancer, as docs/extending.md invites to; it may be compiled, they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.other_server import ask
from support.stack import make_config

from golb.deadlines import Deadlines
from golb.handlers import HandlerContext, WeightedRoundRobinHandler
from golb.upstream import Upstream, resting_endpoints
from golb.weights import Weights, WeightUpdate, parse_endpoint

if TYPE_CHECKING:
    from golb.asgi import Receive, Scope, Send
    from golb.upstream.connection import EndpointStream
    from golb.weights import Endpoint


class Counting(WeightedRoundRobinHandler):
    """Counts what it is called for."""

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        self.updates: list[str] = []
        self.targets: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.targets.append(scope["raw_path"])
        await super().__call__(scope, receive, send)

    def handle_weight_update(self, update: WeightUpdate) -> None:
        self.updates.append(update.function)
        super().handle_weight_update(update)


async def test_a_handler_derived_from_the_load_balancer_changes_what_it_overrides() -> None:
    upstream = Upstream(
        unreachable,
        Deadlines(),
        connect_timeout_s=1,
        response_timeout_s=1,
        idle_timeout_s=1,
        max_idle=1,
        resting=resting_endpoints(make_config()),
    )
    handler = Counting(HandlerContext(make_config(), upstream))
    handler.handle_weight_update(WeightUpdate("f", Weights({parse_endpoint("10.0.0.1:80"): 1}), revision=1))
    sent = await ask(handler)
    assert (handler.updates, handler.targets) == (["f"], [b"/function/f"])
    assert sent[0]["status"] == 502
    assert handler.totals()["functions"] == 1


async def unreachable(endpoint: Endpoint) -> EndpointStream:
    raise OSError(str(endpoint))

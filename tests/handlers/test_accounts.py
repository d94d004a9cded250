"""What a call leaves behind, however it ends: nothing. Ten thousand of them, in memory."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog.testing
import trio
from attrs import frozen
from support.stack import make_config

from golb.errors import AnswerBroken, ClientGone, GolbError, LocalError, NoConnection, UpstreamError
from golb.handlers import HandlerContext, WeightedRoundRobinHandler
from golb.health import Health, RestingEndpoints, RestPolicy
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.asgi import Event, Scope
    from golb.forwarding import Call

ENDPOINTS = [Endpoint(f"10.42.0.{number}", 80) for number in range(1, 6)]
# How a try may end beside an answer. The last is nobody's plan.
FAILURES: list[Callable[[], BaseException]] = [
    lambda: NoConnection("refused"),
    lambda: UpstreamError("reset"),
    lambda: LocalError("no descriptor"),
    lambda: AnswerBroken("cut off"),
    lambda: ClientGone("left"),
    lambda: RuntimeError("a fault"),
]


@frozen
class FakePool:
    endpoint: Endpoint
    health: Health


class FakeUpstream:
    """Fails as the dice say, and tells of it as `golb.upstream` does."""

    def __init__(self, random: Random, failing: float) -> None:
        self._random = random
        self._failing = failing
        self.resting = RestingEndpoints(RestPolicy(), random=random)
        self.now_s = 0.0

    def open(self, endpoint: Endpoint) -> FakePool:
        return FakePool(endpoint, Health(endpoint.authority))

    def close(self, pool: FakePool) -> None:
        self.resting.forget(pool.health)

    async def forward(self, pool: FakePool, call: Call) -> None:
        self.now_s += 0.01
        trial = pool.health.is_resting
        if trial:
            self.resting.begin_trial(pool.health, self.now_s)
        try:
            await trio.lowlevel.checkpoint()
            if self._random.random() < self._failing:
                failure = self._random.choice(FAILURES)()
                if isinstance(failure, UpstreamError):
                    unsent = isinstance(failure, NoConnection)
                    self.resting.fail(pool.health, self.now_s, "", unsent=unsent, trial=trial)
                raise failure
            if pool.health.failures:
                self.resting.succeed(pool.health, trial=trial)
            await call.send({"type": "http.response.start", "status": 200, "headers": []})
            await call.send({"type": "http.response.body", "body": b""})
        finally:
            if trial:
                self.resting.end_trial(pool.health)


def scope(method: str) -> Scope:
    return {
        "type": "http",
        "method": method,
        "http_version": "1.1",
        "golb.target": b"/function/f",
        "golb.body_ready": True,
        "headers": [],
        "client": ("127.0.0.1", 1),
    }


@pytest.mark.parametrize("failing", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    "variables", [{}, {"max_inflight": "4", "endpoint_max_inflight": "2"}], ids=["free", "bounded"]
)
async def test_whatever_calls_end_by_nothing_of_them_is_left(failing: float, variables: dict[str, str]) -> None:
    random = Random(0)
    upstream = FakeUpstream(random, failing)
    handler = WeightedRoundRobinHandler(HandlerContext(make_config(**variables), cast("Any", upstream)))
    handler.handle_weight_update(WeightUpdate("f", Weights(dict.fromkeys(ENDPOINTS, 1)), 1))
    answered = 0

    async def receive() -> Event:
        await trio.sleep_forever()
        raise AssertionError

    async def send(event: Event) -> None:
        nonlocal answered
        answered += event["type"] == "http.response.start"

    async def call(count: int) -> None:
        for _ in range(count):
            with suppress(GolbError, RuntimeError), trio.CancelScope() as cancelled:
                if random.random() < 0.1:
                    cancelled.cancel()
                await handler(scope(random.choice(["GET", "POST"])), receive, send)

    with structlog.testing.capture_logs():
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(call, 210)
    places = handler._places  # noqa: SLF001 - what must be 0
    route = places.routes.get(b"f")
    assert route is not None
    destinations = [member.destination for member in route.endpoints.values()]
    assert answered > 100
    assert handler.retries.begun > 0
    assert (places.in_flight, route.in_flight, handler.retries.in_use) == (0, 0, 0)
    assert (places.queue.waiting, places.held.waiting) == (0, 0)
    assert [one.in_flight for one in destinations] == [0] * 5
    assert [one.health.trials for one in destinations] == [0] * 5
    handler.handle_weight_update(WeightUpdate("f", None, 2))
    assert len(upstream.resting) == 0

"""A call that several endpoints are asked for: what one of them got or cost is not counted for the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from attrs import define, field, frozen
from support.stack import make_config

from golb.errors import NoConnection, UpstreamError
from golb.handlers import HandlerContext, WeightedRoundRobinHandler
from golb.health import Health, RestingEndpoints, RestPolicy
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    import pytest

    from golb.asgi import Event, Scope
    from golb.forwarding import Call

ENDPOINTS = [Endpoint(f"10.42.0.{number}", 80) for number in range(1, 4)]
LOST_S = 16.0
"""How long an endpoint takes to fail."""
OWN_S = 0.25
"""How long golb takes to pass an answer on."""
SCOPE: Scope = {
    "type": "http",
    "method": "PUT",
    "http_version": "1.1",
    "golb.target": b"/function/f",
    "golb.body_ready": True,
    "headers": [(b"content-length", b"4")],
    "client": ("127.0.0.1", 1),
}


@frozen
class FakePool:
    endpoint: Endpoint
    health: Health


@define
class FakeUpstream:
    """The first endpoint breaks off once it has the request, the second one cannot be reached, the third one answers."""

    now_s: float = 0.0
    asked: list[str] = field(factory=list)
    bodies: list[bytes] = field(factory=list)
    resting: RestingEndpoints = field(factory=lambda: RestingEndpoints(RestPolicy()))

    def open(self, endpoint: Endpoint) -> FakePool:
        return FakePool(endpoint, Health(endpoint.authority))

    async def forward(self, pool: FakePool, call: Call) -> None:
        self.asked.append(str(pool.endpoint))
        if len(self.asked) == 2:
            self.now_s += LOST_S
            raise NoConnection("refused")
        self.bodies.append(call.body)
        call.bytes_in = call.body_bytes
        if len(self.asked) == 1:
            self.now_s += LOST_S
            raise UpstreamError("reset")
        call.status, call.answered_s, call.came_whole = 200, self.now_s, True
        self.now_s += OWN_S
        call.bytes_out = 7


async def test_bytes_and_golbs_own_time_are_those_of_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = FakeUpstream()
    monkeypatch.setattr("golb.handlers.wrr.perf_counter", lambda: upstream.now_s)
    handler = WeightedRoundRobinHandler(HandlerContext(make_config(), cast("Any", upstream)))
    handler.handle_weight_update(WeightUpdate("f", Weights(dict.fromkeys(ENDPOINTS, 1)), 1))

    async def receive() -> Event:
        return {"type": "http.request", "body": b"body", "more_body": False}

    async def send(event: Event) -> None:
        raise AssertionError(event)

    await handler(SCOPE, receive, send)
    report = handler.function_report("f")
    assert report is not None
    by_endpoint = {each["endpoint"]: each for each in report["endpoints"]}
    in_order = [by_endpoint[endpoint] for endpoint in upstream.asked]
    assert upstream.bodies == [b"body", b"body"]
    assert [each["bytes_in"] for each in in_order] == [4, 0, 4]
    assert [each["bytes_out"] for each in in_order] == [0, 0, 7]
    assert [each["failures"] for each in in_order] == [1, 1, 0]
    assert [each["calls"] for each in in_order] == [1, 1, 1]
    assert [each["retries"] for each in in_order] == [0, 1, 1]
    assert report["own"]["sum_s"] == OWN_S
    assert report["first_byte"]["sum_s"] == 2 * LOST_S
    assert report["duration"]["sum_s"] == 2 * LOST_S + OWN_S

"""What the load balancer tells of a function and of all: in memory, with endpoints that fail when the test says so."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio.testing
from attrs import frozen
from support.stack import make_config

from golb.errors import AnswerBroken, ClientGone, LocalError, NoConnection, UpstreamError, UpstreamTimeoutError
from golb.handlers import HandlerContext, WeightedRoundRobinHandler
from golb.health import Health, RestingEndpoints, RestPolicy
from golb.limits import NO_LIMITS, Limits
from golb.weights import MAX_ENDPOINTS, Endpoint, Weights, WeightUpdate, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.asgi import Event
    from golb.forwarding import Call
    from golb.handlers.places import Member

A, B, V6, GATEWAY = "10.42.0.1:8080", "10.42.0.2:80", "[2001:db8::1]:8080", "10.0.3.1:8080"
UNPLAYED = (NoConnection("cannot connect: Connection refused"), LocalError("no descriptor is left"))
PLAYED = (UpstreamError("reset"), UpstreamTimeoutError("late"))


@frozen
class FakePool:
    endpoint: Endpoint
    health: Health


class FakeUpstream:
    """Answers by 200, or fails as it is told."""

    def __init__(self) -> None:
        self.resting = RestingEndpoints(RestPolicy())
        self.now_s = 100.0
        self.failures: dict[str, Exception] = {}
        """By authority, for each call."""

    def open(self, endpoint: Endpoint) -> FakePool:
        return FakePool(endpoint, Health(endpoint.authority))

    def close(self, pool: FakePool) -> None:
        self.resting.forget(pool.health)

    async def forward(self, pool: FakePool, call: Call) -> None:
        await trio.lowlevel.checkpoint()
        failure = self.failures.get(pool.endpoint.authority)
        if failure is not None:
            raise failure
        call.status, call.answered_s = 200, time.perf_counter()
        await call.send({"type": "http.response.start", "status": 200, "headers": []})


class Balancer:
    """The handler, and whoever sends it weights and requests."""

    def __init__(self, **variables: str) -> None:
        self.upstream = FakeUpstream()
        config = make_config(gateways=GATEWAY, **variables)
        self.handler = WeightedRoundRobinHandler(HandlerContext(config, cast("Any", self.upstream)))
        self.revision = 0
        self.is_client_gone = False

    def put(self, weights: Mapping[str, float] | None, limits: Limits = NO_LIMITS, function: str = "f") -> None:
        self.revision += 1
        parsed = None
        if weights is not None:
            by_endpoint: dict[Endpoint, int | float] = {parse_endpoint(one): weight for one, weight in weights.items()}
            parsed = Weights(by_endpoint, limits)
        self.handler.handle_weight_update(WeightUpdate(function, parsed, self.revision))

    async def call(self, *headers: tuple[bytes, bytes], target: bytes = b"/function/f") -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "http_version": "1.1",
            "golb.target": target,
            "golb.body_ready": True,
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> Event:
            return {"type": "http.request", "body": b""}

        async def send(event: Event) -> None:
            if self.is_client_gone:
                raise ClientGone("the client reads no more")

        await self.handler(scope, receive, send)

    def health(self, authority: str, function: bytes = b"f") -> Health:
        route = self.handler._routes.get(function)  # noqa: SLF001 - an endpoint rests here without a real failure
        assert route is not None
        member: Member = route.endpoints[parse_endpoint(authority)]
        return member.health

    def rest(self, authority: str) -> None:
        failure = "cannot connect: Connection refused"
        self.upstream.resting.fail(self.health(authority), self.upstream.now_s, failure, unsent=True, trial=False)

    def report(self, function: str = "f") -> dict[str, Any]:
        """Return a report as whoever reads its JSON sees it; it has to be the same."""
        told = self.handler.function_report(function)
        assert told is not None
        told["endpoints"] = list(told["endpoints"])
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        return told

    def endpoints(self) -> dict[str, dict[str, Any]]:
        return {one["endpoint"]: one for one in self.report()["endpoints"]}


def test_a_function_that_was_never_called_has_a_whole_report() -> None:
    balancer = Balancer()
    before_s = time.time()
    balancer.put({A: 3, GATEWAY: 1})
    told = balancer.report()
    assert set(told) == {
        "function",
        "revision",
        "updated_s",
        "limits",
        "in_flight",
        "waiting",
        "panicking",
        "responses",
        "refused",
        "broken",
        "gone",
        "duration",
        "first_byte",
        "own",
        "endpoints",
    }
    assert (told["function"], told["revision"], told["in_flight"], told["waiting"]) == ("f", 1, 0, 0)
    assert before_s <= told["updated_s"] <= time.time()
    assert told["limits"] == {"max_inflight": None, "queue": None, "timeout_s": None}
    assert told["panicking"] is False
    assert told["endpoints"] == [
        {
            "endpoint": authority,
            "gateway": authority == GATEWAY,
            "weight": weight,
            "share": share,
            "state": "serving",
            "calls": 0,
            "retries": 0,
            "failures": 0,
            "responses": {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0},
            "bytes_in": 0,
            "bytes_out": 0,
            "in_flight": 0,
            "rest": None,
        }
        for authority, weight, share in ((A, 3, 0.75), (GATEWAY, 1, 0.25))
    ]


def test_functions_are_told_by_name_and_none_that_is_gone() -> None:
    balancer = Balancer()
    balancer.put({A: 1})
    balancer.put({B: 1}, function="mobilenet-v2")
    balancer.put({}, function="é")
    assert sorted(balancer.handler.function_names()) == ["f", "mobilenet-v2", "é"]
    assert balancer.report("é")["endpoints"] == []
    balancer.put(None)
    assert sorted(balancer.handler.function_names()) == ["mobilenet-v2", "é"]
    assert balancer.handler.function_report("f") is None
    assert balancer.handler.function_report("unknown") is None


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {A: 0},
        {A: 33.3, B: 66.7},
        {A: 100.0, V6: 0.0},
        {V6: 1, "pod.example:80": 2},
        {A: 10**300, B: 1},
        {A: 1.7e308, B: 5e-324},
    ],
)
def test_any_weights_make_a_report_that_is_json_and_shares_that_sum_to_one(weights: dict[str, float]) -> None:
    balancer = Balancer()
    balancer.put(weights)
    endpoints = balancer.endpoints()
    assert {authority: one["weight"] for authority, one in endpoints.items()} == weights
    total = sum(one["share"] for one in endpoints.values())
    assert total == pytest.approx(1.0 if any(weights.values()) else 0.0)


def test_limits_are_told_as_the_value_has_them() -> None:
    balancer = Balancer()
    balancer.put({A: 1}, Limits(max_inflight=100, queue=0, timeout_s=0.5))
    assert balancer.report()["limits"] == {"max_inflight": 100, "queue": 0, "timeout_s": 0.5}


def test_an_endpoint_serves_or_rests_or_is_drained() -> None:
    balancer = Balancer()
    balancer.put({A: 1, B: 0, V6: 2})
    balancer.rest(A)
    balancer.upstream.now_s += 0.25
    endpoints = balancer.endpoints()
    assert {authority: one["state"] for authority, one in endpoints.items()} == {
        A: "resting",
        B: "draining",
        V6: "serving",
    }
    rest = endpoints[A]["rest"]
    assert 0.5 <= rest["for_s"] <= 0.75  # of a first rest of 1 s, less its jitter
    assert (rest["failures"], rest["cause"]) == (1, "cannot connect: Connection refused")
    assert (endpoints[B]["rest"], endpoints[V6]["rest"]) == (None, None)


def test_a_drained_endpoint_may_rest_as_well_and_a_rest_that_is_over_lasts_no_longer() -> None:
    balancer = Balancer()
    balancer.put({A: 1, B: 0})
    balancer.rest(B)
    balancer.upstream.now_s += 1000
    told = balancer.endpoints()[B]
    assert (told["state"], told["rest"]["for_s"]) == ("draining", 0.0)


async def test_where_too_many_endpoints_rest_a_function_panics() -> None:
    balancer = Balancer()
    balancer.put({A: 3, B: 1})
    balancer.rest(B)
    assert balancer.report()["panicking"] is False
    balancer.rest(A)
    assert balancer.report()["panicking"] is True
    totals = balancer.handler.totals()
    assert (totals["resting"], totals["rests_begun"]) == (2, 2)


def test_the_last_change_of_the_history_is_the_one_in_force() -> None:
    balancer = Balancer()
    for weight in (1, 2, 3):
        balancer.put({A: weight, V6: 0.5})
    told = balancer.report()
    history = balancer.handler.history.of("f")
    assert [change.revision for change in history] == [1, 2, 3]
    assert [list(change.weights.by_endpoint.values()) for change in history] == [[weight, 0.5] for weight in (1, 2, 3)]
    times_s = [change.at_s for change in history]
    assert times_s == sorted(times_s)
    assert (told["revision"], told["updated_s"]) == (3, times_s[-1])


@pytest.mark.parametrize("failure", [*UNPLAYED, *PLAYED], ids=lambda failure: type(failure).__name__)
async def test_a_client_that_goes_before_golbs_own_answer_is_counted_as_gone(failure: Exception) -> None:
    balancer = Balancer(failover="off")
    balancer.put({A: 1})
    balancer.upstream.failures[A] = failure
    balancer.is_client_gone = True
    with pytest.raises(ClientGone):
        await balancer.call()
    told = balancer.report()
    assert (told["gone"], sum(told["responses"].values())) == (1, 0)
    assert told["endpoints"][0]["failures"] == 1
    balancer.is_client_gone = False
    await balancer.call()
    assert balancer.report()["responses"]["5xx"] == 1


async def test_each_end_of_a_call_is_told_once() -> None:
    balancer = Balancer(failover="off")
    balancer.put({A: 1})
    for failure in (None, AnswerBroken("cut off"), ClientGone("left"), UpstreamError("reset")):
        if failure is None:
            await balancer.call()
            continue
        balancer.upstream.failures[A] = failure
        if isinstance(failure, UpstreamError):
            await balancer.call()
        else:
            with pytest.raises(type(failure)):
                await balancer.call()
    told = balancer.report()
    assert (told["responses"]["2xx"], told["responses"]["5xx"], told["broken"], told["gone"]) == (1, 1, 1, 1)
    assert (told["endpoints"][0]["calls"], told["endpoints"][0]["failures"]) == (4, 2)


async def test_what_is_counted_of_an_endpoint_is_that_of_one_function_and_ends_when_it_leaves_that_one() -> None:
    balancer = Balancer()
    balancer.put({A: 1, B: 1})
    balancer.put({A: 1}, function="g")
    for _ in range(4):
        await balancer.call()
    assert {authority: one["calls"] for authority, one in balancer.endpoints().items()} == {A: 2, B: 2}
    assert balancer.report("g")["endpoints"][0]["calls"] == 0
    balancer.put({A: 1})
    balancer.put({A: 3, B: 1})
    assert {authority: one["calls"] for authority, one in balancer.endpoints().items()} == {A: 2, B: 0}
    assert balancer.report()["responses"]["2xx"] == 4


async def test_the_totals_are_json_and_count_what_has_no_function() -> None:
    balancer = Balancer()
    balancer.put({A: 1})
    balancer.handler.handle_weights_loaded()
    await balancer.call(target=b"/function/unknown")
    await balancer.call(target=b"/metrics")
    await balancer.call(target=b"/function/")
    totals = balancer.handler.totals()
    assert json.loads(json.dumps(totals)) == {
        "functions": 1,
        "in_flight": 0,
        "waiting": 0,
        "held": 0,
        "unknown_function": 1,
        "no_function_call": 2,
        "second_tries": {"in_use": 0, "begun": 0, "exhausted": 0},
        "resting": 0,
        "rests_begun": 0,
    }


def test_a_report_of_the_largest_function_is_whole() -> None:
    balancer = Balancer()
    weights = {f"10.{number >> 8}.{number & 255}.1:8080": number % 7 for number in range(MAX_ENDPOINTS)}
    balancer.put(weights)
    told = balancer.report()
    assert len(told["endpoints"]) == MAX_ENDPOINTS
    assert sum(one["share"] for one in told["endpoints"]) == pytest.approx(1.0)
    assert {one["endpoint"]: one["weight"] for one in told["endpoints"]} == weights

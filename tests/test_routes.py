"""Which function a URL calls, what is a gateway, and which endpoints are open."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.errors import NoEndpoint, WeightsError
from golb.health import Health, RestingEndpoints, RestPolicy
from golb.limits import Limits
from golb.routes import Gateways, Routes, split_target
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    from golb.schedule import Schedule

REPEATABLE = settings(derandomize=True, deadline=None)

POD_1, POD_2, GATEWAY = Endpoint("10.42.0.5", 8080), Endpoint("10.42.0.6", 8080), Endpoint("10.0.3.1", 8080)


@pytest.mark.parametrize(
    ("target", "name", "rest"),
    [
        (b"/function/f", b"f", b"/"),
        (b"/function/f/", b"f", b"/"),
        (b"/function/f?a=1", b"f", b"/?a=1"),
        (b"/function/f?", b"f", b"/?"),
        (b"/function/f/?a=1", b"f", b"/?a=1"),
        (b"/function/f/static?time=10", b"f", b"/static?time=10"),
        (b"/function/f//x%2F?y", b"f", b"//x%2F?y"),
        (b"/function/f//", b"f", b"//"),
        (b"/function/f/../g", b"f", b"/../g"),
        (b"/function/f/a/b/c/d", b"f", b"/a/b/c/d"),
        (b"/function/f?url=http://a/b?c", b"f", b"/?url=http://a/b?c"),
        (b"/function/f/x?url=/a", b"f", b"/x?url=/a"),
        (b"/function/f/%e4%00+%20", b"f", b"/%e4%00+%20"),
        (b"/function/f/\xff\xfe?\xff", b"f", b"/\xff\xfe?\xff"),
        (b"/function/f;v=1/x", b"f;v=1", b"/x"),
        (b"/function/request_responder_250", b"request_responder_250", b"/"),
        (b"/function/mobilenet-v2/infer", b"mobilenet-v2", b"/infer"),
        (b"/function/gr%C3%B6%C3%9Fe/x", "größe".encode(), b"/x"),
        (b"/function/a%20b", b"a b", b"/"),
        (b"/function/a+b", b"a+b", b"/"),
        (b"/function/a%2Fb/c", b"a/b", b"/c"),
        (b"/function/f%3Fx", b"f?x", b"/"),
        (b"/function/%", b"%", b"/"),
        (b"/function/..", b"..", b"/"),
    ],
)
def test_a_call_is_split_into_the_function_and_what_it_sees(target: bytes, name: bytes, rest: bytes) -> None:
    assert split_target(target) == (name, rest)


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"/",
        b"*",
        b"/function",
        b"/function/",
        b"/function/?a",
        b"/function//f",
        b"//function/f",
        b"/Function/f",
        b"/functions/f",
        b"/x/function/f",
        b"/function?f",
        b"/%66unction/f",
        b"http://golb/function/f",
    ],
)
def test_any_other_target_calls_no_function(target: bytes) -> None:
    assert split_target(target) is None


@REPEATABLE
@given(st.text(min_size=1).filter(lambda name: not set(name) & set("/?%")), st.binary())
def test_what_follows_the_name_is_kept_byte_for_byte(name: str, tail: bytes) -> None:
    encoded = name.encode("utf-8", "surrogatepass")
    assert split_target(b"/function/" + encoded + b"/" + tail) == (encoded, b"/" + tail)
    assert split_target(b"/function/" + encoded + b"?" + tail) == (encoded, b"/?" + tail)


def test_a_gateway_is_named_by_host_and_port_by_host_or_by_url() -> None:
    gateways = Gateways.parse(" 10.0.3.1:8080\t10.0.4.1 http://10.0.5.1:8081\n[fd00::1]:80 fd00::2 ")
    assert Endpoint("10.0.3.1", 8080) in gateways
    assert Endpoint("10.0.3.1", 8081) not in gateways
    assert Endpoint("10.0.4.1", 1) in gateways
    assert Endpoint("10.0.4.1", 8080) in gateways
    assert Endpoint("10.0.4.10", 8080) not in gateways
    assert Endpoint("10.0.5.1", 8081) in gateways
    assert Endpoint("10.0.5.1", 80) not in gateways
    assert Endpoint("fd00::1", 80) in gateways
    assert Endpoint("fd00::1", 81) not in gateways
    assert Endpoint("fd00::2", 9000) in gateways
    assert Endpoint("10.42.0.5", 8080) not in gateways


def test_the_gateways_are_written_as_they_are_read() -> None:
    gateways = Gateways.parse("http://10.0.5.1:8081 10.0.4.1 [fd00::1]:80 fd00::2")
    assert Gateways.parse(str(gateways)) == gateways
    assert str(Gateways()) == ""


@pytest.mark.parametrize("text", ["10.0.0.1:x", "https://10.0.0.1", "10.0.0.1,10.0.0.2", "a b:0"])
def test_what_names_no_gateway_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"^an entry is "):
        Gateways.parse(text)


class Opened(str):
    """What stands for the connections to an endpoint: a name for each opening, so that a second one would show."""

    __slots__ = ("health", "is_gateway")
    health: Health
    is_gateway: bool


class Connections:
    """Opens and closes them."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.open: set[str] = set()

    def begin(self, endpoint: Endpoint) -> Opened:
        self.opened.append(str(endpoint))
        item = Opened(f"{endpoint} opened {self.opened.count(str(endpoint))}")
        item.health = Health(str(endpoint))
        self.open.add(item)
        return item

    def end(self, item: Opened) -> None:
        self.open.remove(item)  # a second closing would fail


def itself(opened: Opened) -> Opened:
    """Let the connections to an endpoint stand for it in each function."""
    return opened


class Joined:
    """What stands for an endpoint in one function."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.health = opened.health
        self.is_gateway = False


def routes_with(connections: Connections, gateways: str = "10.0.3.1") -> Routes[Opened, Opened]:
    resting = RestingEndpoints(RestPolicy())
    return Routes(Gateways.parse(gateways), connections.begin, connections.end, itself, resting, random=Random(0))


def put(function: str, weights: dict[Endpoint, int | float]) -> WeightUpdate:
    return WeightUpdate(function, Weights(weights), 1)


def delete(function: str) -> WeightUpdate:
    return WeightUpdate(function, None, 1)


def test_a_function_is_found_by_its_name_until_it_is_deleted() -> None:
    connections = Connections()
    routes = routes_with(connections)
    assert routes.get(b"f") is None
    routes.apply(put("f", {POD_1: 1}))
    routes.apply(put("größe", {POD_1: 1}))
    assert len(routes) == 2
    route = routes.get("größe".encode())
    assert route is not None
    assert route.function == "größe"
    routes.apply(delete("größe"))
    assert routes.get("größe".encode()) is None
    assert routes.get(b"f") is not None
    routes.apply(delete("never seen"))
    assert len(routes) == 1


def test_a_forwarded_call_goes_to_no_gateway() -> None:
    connections = Connections()
    routes = routes_with(connections)
    routes.apply(put("f", {POD_1: 1, POD_2: 1, GATEWAY: 2}))
    route = routes.get(b"f")
    assert route is not None
    assert Counter(route.every.in_service.next()[:9] for _ in range(100)) == {
        "10.42.0.5": 25,
        "10.42.0.6": 25,
        "10.0.3.1:": 50,
    }
    assert Counter(route.local.in_service.next()[:9] for _ in range(100)) == {"10.42.0.5": 50, "10.42.0.6": 50}


def test_a_function_with_gateways_only_has_nothing_for_a_forwarded_call() -> None:
    routes = routes_with(Connections())
    routes.apply(put("f", {GATEWAY: 1, POD_1: 0}))
    route = routes.get(b"f")
    assert route is not None
    assert route.every.in_service.next().startswith("10.0.3.1:8080")
    with pytest.raises(NoEndpoint):
        route.local.in_service.next()


def test_a_function_with_an_empty_list_is_known_but_has_no_endpoint() -> None:
    routes = routes_with(Connections())
    routes.apply(put("f", {}))
    route = routes.get(b"f")
    assert route is not None
    with pytest.raises(NoEndpoint):
        route.every.in_service.next()


def test_an_endpoint_is_opened_once_and_closed_when_its_last_function_has_left_it() -> None:
    connections = Connections()
    routes = routes_with(connections)
    routes.apply(put("f", {POD_1: 1, POD_2: 1}))
    routes.apply(put("g", {POD_1: 5}))
    routes.apply(put("f", {POD_1: 2, POD_2: 1}))
    assert connections.opened == [str(POD_1), str(POD_2)]
    routes.apply(put("f", {POD_2: 1}))
    assert connections.open == {f"{POD_1} opened 1", f"{POD_2} opened 1"}
    routes.apply(put("g", {}))
    assert connections.open == {f"{POD_2} opened 1"}
    routes.apply(put("g", {POD_1: 1}))
    assert connections.open == {f"{POD_1} opened 2", f"{POD_2} opened 1"}
    routes.apply(delete("f"))
    routes.apply(delete("g"))
    assert connections.open == set()


def test_what_stands_for_an_endpoint_in_a_function_is_that_ones_own_and_stays_as_long_as_it_is_there() -> None:
    connections = Connections()
    resting = RestingEndpoints(RestPolicy())
    routes = Routes(Gateways(), connections.begin, connections.end, Joined, resting, random=Random(0))
    for function in "fg":
        routes.apply(put(function, {POD_1: 1, POD_2: 1}))
    first, second = routes.get(b"f"), routes.get(b"g")
    assert first is not None
    assert second is not None
    joined: Joined = first.endpoints[POD_1]
    left: Joined = first.endpoints[POD_2]
    assert second.endpoints[POD_1] is not joined
    assert second.endpoints[POD_1].opened is joined.opened
    updates: list[dict[Endpoint, int | float]] = [
        {POD_1: 2, POD_2: 1},
        {GATEWAY: 1, POD_1: 2},
        {POD_1: 0},
        {POD_1: 1, POD_2: 1},
    ]
    for weights in updates:
        routes.apply(put("f", weights))
        assert first.endpoints[POD_1] is joined
        assert list(first.every.weights) == list(first.endpoints.values())
        assert [first.endpoints[endpoint].opened.partition(" ")[0] for endpoint in weights] == list(map(str, weights))
    assert first.endpoints[POD_2] is not left
    assert first.endpoints[POD_2].opened is left.opened  # `g` had it all the time


def test_an_endpoint_of_weight_0_stays_open() -> None:
    connections = Connections()
    routes = routes_with(connections)
    routes.apply(put("f", {POD_1: 1, POD_2: 1}))
    routes.apply(put("f", {POD_1: 1, POD_2: 0}))
    routes.apply(put("f", {POD_1: 1, POD_2: 1}))
    assert connections.opened == [str(POD_1), str(POD_2)]


def test_an_update_keeps_the_cycle_of_its_function_and_touches_no_other() -> None:
    routes, twin = routes_with(Connections()), routes_with(Connections())
    for each in (routes, twin):
        each.apply(put("f", {POD_1: 100, POD_2: 1, GATEWAY: 1}))
        each.apply(put("g", {POD_1: 3, POD_2: 1}))
    for number in range(204):
        routes.apply(put("f", {POD_1: 100, POD_2: 1, GATEWAY: 1}))
        for name in (b"f", b"g"):
            route, other = routes.get(name), twin.get(name)
            assert route is not None
            assert other is not None
            assert route.every.in_service.next() == other.every.in_service.next()
            assert route.local.in_service.next() == other.local.in_service.next()
        # Behind the first picks: all of them draw from one generator.
        routes.apply(put("h", {POD_2: number}))


def test_an_endpoint_that_rests_is_left_out_by_all_its_functions_until_it_serves_again() -> None:
    connections = Connections()
    resting = RestingEndpoints(RestPolicy())
    routes = Routes(Gateways(), connections.begin, connections.end, itself, resting, random=Random(0))
    for function in "fg":
        routes.apply(put(function, {POD_1: 1, POD_2: 1, GATEWAY: 1}))
    first, second = routes.get(b"f"), routes.get(b"g")
    assert first is not None
    assert second is not None
    item = first.endpoints[POD_1]
    resting.fail(item.health, 0.0, "refused", unsent=True, trial=False)
    assert routes.get(b"f") is first
    assert first.every.resting == [item]
    assert second.every.resting == []
    routes.renew(second)
    assert second.every.resting == [item]
    resting.succeed(item.health, trial=True)
    assert routes.get(b"f") is first
    assert first.every.resting == []


def test_an_endpoint_that_its_last_function_leaves_rests_no_more_for_anyone() -> None:
    connections = Connections()
    resting = RestingEndpoints(RestPolicy())

    def close(item: Opened) -> None:
        connections.end(item)
        resting.forget(item.health)

    routes = Routes(Gateways(), connections.begin, close, itself, resting, random=Random(0))
    routes.apply(put("f", {POD_1: 1, POD_2: 1}))
    route = routes.get(b"f")
    assert route is not None
    resting.fail(route.endpoints[POD_1].health, 0.0, "refused", unsent=True, trial=False)
    routes.apply(put("f", {POD_2: 1}))
    routes.apply(put("f", {POD_1: 1, POD_2: 1}))
    assert len(resting) == 0
    assert route.every.resting == []


def test_a_schedule_is_direct_while_no_endpoint_of_it_rests() -> None:
    connections = Connections()
    resting = RestingEndpoints(RestPolicy())
    routes = Routes(Gateways.parse("10.0.3.1"), connections.begin, connections.end, itself, resting, random=Random(0))
    routes.apply(put("f", {POD_1: 1, POD_2: 1, GATEWAY: 1}))
    route = routes.get(b"f")
    assert route is not None

    def direct() -> list[Schedule[Opened] | None]:
        assert routes.get(b"f") is route
        return [route.direct, route.direct_local]

    every, local = route.every.in_service, route.local.in_service
    assert direct() == [every, local]
    gateway = route.endpoints[GATEWAY].health
    resting.fail(gateway, 0.0, "refused", unsent=True, trial=False)
    assert direct() == [None, local]
    resting.fail(route.endpoints[POD_1].health, 0.0, "refused", unsent=True, trial=False)
    assert direct() == [None, None]
    routes.apply(put("f", {POD_1: 1, POD_2: 2, GATEWAY: 1}))
    assert direct() == [None, None]
    resting.succeed(route.endpoints[POD_1].health, trial=True)
    assert direct() == [None, local]
    resting.succeed(gateway, trial=True)
    assert direct() == [every, local]
    routes.reconfigure(Gateways(), panic_threshold=0.5)
    assert direct() == [every, every]


def test_a_functions_limits_are_those_of_its_last_update() -> None:
    routes = routes_with(Connections())
    routes.apply(WeightUpdate("f", Weights({POD_1: 1}, Limits(max_inflight=5)), 1))
    route = routes.get(b"f")
    assert route is not None
    assert (route.limits, route.direct, route.direct_local) == (Limits(max_inflight=5), None, None)
    routes.apply(WeightUpdate("f", Weights({POD_1: 1}, Limits(max_inflight=0, queue=1)), 2))
    assert route.direct is route.direct_local is route.every.in_service
    routes.apply(put("f", {POD_1: 1}))
    assert route.limits == Limits()


def test_other_gateways_divide_the_endpoints_anew_and_keep_what_each_is_owed() -> None:
    routes, twin = routes_with(Connections()), routes_with(Connections())
    for each in (routes, twin):
        each.apply(put("f", {POD_1: 5, POD_2: 3, GATEWAY: 1}))
    route, other = routes.get(b"f"), twin.get(b"f")
    assert route is not None
    assert other is not None

    def pick() -> None:
        assert str(route.every.in_service.next()) == str(other.every.in_service.next())
        assert str(route.local.in_service.next()) == str(other.local.in_service.next())

    for _ in range(4):
        pick()
    before = route.local
    routes.reconfigure(Gateways.parse("10.0.3.1:8080 10.0.9.9"), panic_threshold=0.7)
    assert routes.get(b"f") is route
    assert route.local is before
    for _ in range(9):
        pick()


def test_a_gateway_that_is_none_any_more_and_an_endpoint_that_becomes_one_are_known_as_such() -> None:
    routes = routes_with(Connections(), gateways="")
    for function in "fg":
        routes.apply(put(function, {POD_1: 1, GATEWAY: 1}))
    for gateways, local in (("10.0.3.1", {POD_1}), ("10.42.0.5", {GATEWAY}), ("", {POD_1, GATEWAY})):
        routes.reconfigure(Gateways.parse(gateways), panic_threshold=0.5)
        for name in (b"f", b"g"):
            route = routes.get(name)
            assert route is not None
            assert {endpoint for endpoint, item in route.endpoints.items() if not item.is_gateway} == local
            assert set(route.local.weights) == {route.endpoints[endpoint] for endpoint in local}
            assert (route.local is route.every) is (not gateways)


def test_an_update_goes_by_the_configuration_in_force_although_the_route_has_not_been_used() -> None:
    routes = routes_with(Connections())
    routes.apply(put("f", {POD_1: 1, GATEWAY: 1}))
    routes.reconfigure(Gateways(), panic_threshold=0.9)
    routes.apply(put("f", {POD_1: 1, GATEWAY: 2}))
    route = routes.get(b"f")
    assert route is not None
    assert route.local is route.every
    assert route.every.panic_threshold == 0.9


def test_another_panic_threshold_counts_for_those_who_rest_already() -> None:
    connections = Connections()
    resting = RestingEndpoints(RestPolicy())
    routes = Routes(Gateways(), connections.begin, connections.end, itself, resting, random=Random(0))
    routes.apply(put("f", {POD_1: 1, POD_2: 2}))
    route = routes.get(b"f")
    assert route is not None
    resting.fail(route.endpoints[POD_2].health, 0.0, "refused", unsent=True, trial=False)
    for threshold, is_panicking in ((0.5, True), (0.7, False), (0.6, True)):
        routes.reconfigure(Gateways(), panic_threshold=threshold)
        assert routes.get(b"f") is route
        assert route.every.is_panicking is is_panicking


UPDATES = st.lists(
    st.tuples(
        st.sampled_from("fgh"),
        st.none() | st.dictionaries(st.sampled_from([POD_1, POD_2, GATEWAY]), st.integers(0, 2)),
    ),
    max_size=30,
)


@REPEATABLE
@given(UPDATES)
def test_through_any_updates_just_the_endpoints_in_the_table_are_open(
    updates: list[tuple[str, dict[Endpoint, int | float] | None]],
) -> None:
    connections = Connections()
    routes = routes_with(connections)
    table: dict[str, dict[Endpoint, int | float]] = {}
    for function, weights in updates:
        before = set(connections.open)
        if weights is None:
            table.pop(function, None)
            routes.apply(delete(function))
        else:
            table[function] = weights
            routes.apply(put(function, weights))
        wanted = {str(endpoint) for by_endpoint in table.values() for endpoint in by_endpoint}
        assert sorted(item.partition(" ")[0] for item in connections.open) == sorted(wanted)
        # What was open and is still wanted has not been opened anew.
        assert {item for item in before if item.partition(" ")[0] in wanted} <= connections.open

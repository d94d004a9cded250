"""Which endpoint a request goes to and when: the three bounds, the queue, and functions whose endpoints are still to come."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stack import make_config

from golb.errors import ClientGone, NoEndpoint, NoFunction, Overloaded
from golb.handlers.places import Caller, Destination, Place, Places
from golb.health import Health, RestingEndpoints, RestPolicy
from golb.limits import NO_LIMITS, Limits
from golb.weights import Endpoint, Weights, WeightUpdate, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.asgi import Event

A, B, C = "10.42.0.1:80", "10.42.0.2:80", "10.42.0.3:80"
GATEWAY = "10.0.3.1:8080"


@frozen
class FakePool:
    endpoint: Endpoint
    health: Health


class FakeUpstream:
    """Knows the time and who rests."""

    def __init__(self) -> None:
        self.resting = RestingEndpoints(RestPolicy())
        self.now_s = 0.0


class Setting:
    """The functions of a zone, in memory."""

    def __init__(self, **variables: str) -> None:
        self.upstream = FakeUpstream()
        self.opened: dict[str, Destination] = {}
        config = make_config(gateways=GATEWAY, **variables)
        self.places = Places(config, cast("Any", self.upstream), self._open, lambda _: None)
        self.entered: list[str] = []

    def _open(self, endpoint: Endpoint) -> Destination:
        pool = FakePool(endpoint, Health(endpoint.authority))
        destination = Destination(cast("Any", pool))
        self.opened[endpoint.authority] = destination
        return destination

    def put(self, weights: Mapping[str, int] | None, function: str = "f", limits: Limits = NO_LIMITS) -> None:
        parsed = None
        if weights is not None:
            by_endpoint = {parse_endpoint(authority): weight for authority, weight in weights.items()}
            parsed = Weights(cast("dict[Endpoint, int | float]", by_endpoint), limits)
        self.places.apply(WeightUpdate(function, parsed, 1))

    def fail(self, authority: str) -> None:
        health = self.opened[authority].health
        self.upstream.resting.fail(health, self.upstream.now_s, "refused", unsent=True, trial=False)

    async def enter(self, name: str = "x", *, function: str = "f", forwarded: bool = False) -> Place:
        place = await self.places.enter(Caller(function.encode(), forwarded, replayable=True), None)
        self.entered.append(name)
        return place

    async def enter_each(self, nursery: trio.Nursery, names: str, function: str = "f") -> None:
        """Let them come one after the other, and wait until none of them can go on."""
        for name in names:
            nursery.start_soon(partial(self.enter, name, function=function))
            await trio.testing.wait_all_tasks_blocked()

    def in_flight(self) -> dict[str, int]:
        return {authority: one.in_flight for authority, one in self.opened.items()}


def authority(place: Place) -> str:
    return place[1].destination.pool.endpoint.authority


async def test_what_is_under_way_is_counted_in_all_for_its_function_and_for_its_endpoint(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(max_inflight="10")
    around.put({A: 1})
    around.put({A: 1, B: 1}, "g")
    places = [await around.enter(), await around.enter(), await around.enter(function="g")]
    routes = [around.places.routes.get(name) for name in (b"f", b"g")]
    assert around.places.in_flight == 3
    assert [route.in_flight for route in routes if route] == [2, 1]
    assert sum(around.in_flight().values()) == 3
    for place in places:
        around.places.leave(*place)
    assert around.places.in_flight == 0
    assert [route.in_flight for route in routes if route] == [0, 0]
    assert set(around.in_flight().values()) == {0}


async def test_at_the_bound_on_all_requests_wait_in_line_whatever_their_function(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(max_inflight="1", queue_timeout="60")
    around.put({A: 1})
    around.put({B: 1}, "g")
    place = await around.enter("first")
    await around.enter_each(nursery, "ab", "g")
    await around.enter_each(nursery, "c")
    assert around.places.queue.waiting == 3
    around.places.leave(*place)
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered == ["first", "a"]
    assert around.places.in_flight == 1
    nursery.cancel_scope.cancel()


async def test_a_request_that_comes_as_a_place_is_freed_does_not_overtake_those_that_wait(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(max_inflight="1", queue_timeout="60")
    around.put({A: 1})
    place = await around.enter("first")
    await around.enter_each(nursery, "a")
    around.places.leave(*place)
    nursery.start_soon(around.enter, "late")
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered == ["first", "a"]
    nursery.cancel_scope.cancel()


async def test_a_function_has_its_own_bound_queue_and_timeout(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting()
    around.put({A: 1}, limits=Limits(max_inflight=1, queue=1, timeout_s=5.0))
    around.put({A: 1}, "g")
    place = await around.enter()
    nursery.start_soon(around.enter, "waits")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overloaded) as refused:
        await around.enter()
    assert str(refused.value) == (
        "1 requests are under way, as many as the function's max_inflight allows; 1 requests wait already"
    )
    await around.enter(function="g")
    await trio.sleep(4.9)
    around.places.leave(*place)
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered[-1] == "waits"


async def test_a_request_waits_no_longer_than_its_functions_timeout(autojump_clock: trio.testing.MockClock) -> None:
    around = Setting(queue_timeout="60")
    around.put({A: 1}, limits=Limits(max_inflight=1, timeout_s=0.5))
    await around.enter()
    with pytest.raises(Overloaded, match=r"max_inflight allows; no place within 0\.5 s$"):
        await around.enter()
    assert trio.current_time() == pytest.approx(0.5, abs=0.01)
    assert around.places.queue.waiting == 0


async def test_a_full_endpoint_is_passed_over_while_another_one_has_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(endpoint_max_inflight="2", queue_timeout="0")
    around.put({A: 100, B: 1})
    places = [await around.enter() for _ in range(4)]
    assert around.in_flight() == {A: 2, B: 2}
    with pytest.raises(
        Overloaded, match=r"^each endpoint has as many .* eb_go_lb_endpoint_max_inflight allows; no place"
    ):
        await around.enter()
    around.places.leave(*next(place for place in places if authority(place) == B))
    assert authority(await around.enter()) == B


async def test_the_bound_on_an_endpoint_counts_the_requests_of_all_its_functions(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(endpoint_max_inflight="1", queue_timeout="0")
    around.put({A: 1})
    around.put({A: 1, B: 1}, "g")
    await around.enter()
    assert authority(await around.enter(function="g")) == B
    with pytest.raises(Overloaded):
        await around.enter(function="g")


async def test_an_endpoint_that_rests_and_is_full_is_not_asked_instead_of_one_that_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(endpoint_max_inflight="1")
    around.put({A: 1})
    await around.enter()
    around.put({A: 1, B: 1})
    route, failed = await around.enter()
    around.fail(A)
    assert around.places.move(route, failed, [failed], local=False) is None
    assert around.in_flight() == {A: 1, B: 1}


async def test_a_place_moves_with_its_request_to_another_endpoint(autojump_clock: trio.testing.MockClock) -> None:
    around = Setting(max_inflight="5", endpoint_max_inflight="1")
    around.put({A: 1, B: 1})
    route, failed = await around.enter()
    other = around.places.move(route, failed, [failed], local=False)
    assert other is not None
    assert around.in_flight() == {
        failed.destination.pool.endpoint.authority: 0,
        other.destination.pool.endpoint.authority: 1,
    }
    assert (route.in_flight, around.places.in_flight) == (1, 1)
    around.places.leave(route, other)
    assert around.places.in_flight == 0
    assert set(around.in_flight().values()) == {0}


async def test_a_request_that_moves_goes_past_those_that_have_begun_to_rest_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(max_inflight="5")
    around.put({A: 1})
    route, failed = await around.enter()
    around.put({A: 1, B: 100, C: 1})
    around.fail(A)
    around.fail(B)
    other = around.places.move(route, failed, [failed], local=False)
    assert other is not None
    assert other.destination is around.opened[C]


async def test_a_place_that_a_move_frees_goes_to_who_waits_for_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(endpoint_max_inflight="1", queue_timeout="60")
    around.put({A: 1})
    route, failed = await around.enter()
    await around.enter_each(nursery, "a")
    around.put({A: 1, B: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.in_flight() == {A: 1, B: 1}
    await around.enter_each(nursery, "b")
    around.put({A: 1, B: 1, C: 1})
    around.put({A: 1, B: 1})
    assert around.places.move(route, failed, [failed], local=False) is None
    nursery.cancel_scope.cancel()


async def test_a_call_from_another_load_balancer_moves_to_no_gateway(autojump_clock: trio.testing.MockClock) -> None:
    around = Setting(max_inflight="5")
    around.put({A: 1, GATEWAY: 1})
    route, failed = await around.enter(forwarded=True)
    assert authority((route, failed)) == A
    assert around.places.move(route, failed, [failed], local=True) is None


# Functions without endpoints.


async def test_without_hold_a_function_without_endpoints_is_said_so_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting()
    around.put({})
    with pytest.raises(NoEndpoint):
        await around.enter()
    with pytest.raises(NoFunction):
        await around.enter(function="g")


@pytest.mark.parametrize("before", [None, {}, {A: 0}])
async def test_requests_are_held_until_endpoints_come_and_go_on_in_order(
    before: dict[str, int] | None, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(hold_on_empty="30")
    if before is not None:
        around.put(before)
    await around.enter_each(nursery, "abcde")
    assert around.places.held.waiting == 5
    around.put({B: 1}, "g")
    assert around.places.held.waiting == 5
    around.put({A: 1})
    assert around.places.in_flight == 5
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(around.entered) == ["a", "b", "c", "d", "e"]
    assert not around.places.held.is_waited_for((b"f", False))


async def test_a_hold_is_bounded_in_time_and_then_says_what_it_would_have_said_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(hold_on_empty="3")
    around.put({})
    with pytest.raises(NoEndpoint):
        await around.enter()
    with pytest.raises(NoFunction):
        await around.enter(function="g")
    assert trio.current_time() == pytest.approx(6, abs=0.01)
    assert around.places.held.waiting == 0


async def test_a_hold_is_bounded_in_number(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    around = Setting(hold_on_empty="30", hold_limit="2")
    await around.enter_each(nursery, "a")
    await around.enter_each(nursery, "b", "g")
    with pytest.raises(NoFunction):
        await around.enter()
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_a_call_from_another_load_balancer_is_held_until_there_is_an_endpoint_that_is_no_gateway(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(hold_on_empty="30")
    nursery.start_soon(partial(around.enter, "forwarded", forwarded=True))
    await around.enter_each(nursery, "a")
    around.put({GATEWAY: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered == ["a"]
    around.put({GATEWAY: 1, A: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered == ["a", "forwarded"]


async def test_of_those_held_only_as_many_go_on_at_once_as_may_and_in_the_order_in_which_they_came(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(hold_on_empty="30", queue_timeout="60")
    names = "abcdefghijkl"
    await around.enter_each(nursery, names)
    around.put({A: 1}, limits=Limits(max_inflight=1))
    await trio.testing.wait_all_tasks_blocked()
    route = around.places.routes.get(b"f")
    assert route is not None
    for count in range(1, len(names) + 1):
        assert around.entered == list(names[:count])
        assert route.in_flight == 1
        around.places.leave(route, route.endpoints[parse_endpoint(A)])
        await trio.testing.wait_all_tasks_blocked()
    assert around.places.in_flight == 0


async def test_those_held_do_not_all_try_an_endpoint_that_rests(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(hold_on_empty="30")
    around.put({A: 1}, "g")
    around.fail(A)
    await around.enter_each(nursery, "abcdefghij")
    around.upstream.now_s = 100.0
    around.put({A: 1, B: 1, C: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.in_flight()[A] == 1
    assert around.places.in_flight == 10


# Weights that change while requests wait.


async def test_a_queue_goes_on_when_new_weights_bring_room(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(endpoint_max_inflight="1", queue_timeout="60")
    around.put({A: 1})
    await around.enter()
    await around.enter_each(nursery, "ab")
    around.put({A: 1, B: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered == ["x", "a"]
    around.put({A: 1, B: 1, C: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered == ["x", "a", "b"]


async def test_a_queue_goes_on_when_its_functions_bound_is_raised(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(queue_timeout="60")
    around.put({A: 1}, limits=Limits(max_inflight=1))
    await around.enter()
    await around.enter_each(nursery, "abc")
    around.put({A: 1}, limits=Limits(max_inflight=3))
    await trio.testing.wait_all_tasks_blocked()
    assert set(around.entered) == {"x", "a", "b"}
    around.put({A: 1})
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered[-1] == "c"


async def test_a_function_that_is_deleted_while_requests_queue_is_unknown_to_them_unless_it_comes_back(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    around = Setting(max_inflight="1", queue_timeout="2")
    around.put({A: 1})
    around.put({A: 1}, "g")
    place = await around.enter(function="g")
    await around.enter_each(nursery, "a")
    around.put(None)
    around.put({B: 1})
    around.places.leave(*place)
    await trio.testing.wait_all_tasks_blocked()
    assert around.entered[-1] == "a"

    async def wait_in_vain() -> None:
        with pytest.raises(NoFunction):
            await around.enter()

    nursery.start_soon(wait_in_vain)
    await trio.testing.wait_all_tasks_blocked()
    around.put(None)
    await trio.sleep(3)
    assert around.places.queue.waiting == 0


async def test_a_request_whose_function_and_endpoint_have_gone_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    around = Setting(max_inflight="5", endpoint_max_inflight="5")
    around.put({A: 1})
    place = await around.enter()
    around.put(None)
    around.put({A: 1})
    around.places.leave(*place)
    assert around.places.in_flight == 0
    assert set(around.in_flight().values()) == {0}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "cancel", "gone", "move", "put", "delete", "fail", "serve", "wait"]),
        st.integers(0, 11),
        st.booleans(),
    ),
    max_size=50,
)
VARIABLES = st.fixed_dictionaries(
    {
        "max_inflight": st.sampled_from(["0", "2"]),
        "endpoint_max_inflight": st.sampled_from(["0", "1"]),
        "hold_on_empty": st.sampled_from(["0", "3"]),
        "queue": st.sampled_from(["1", "1024"]),
        "queue_timeout": st.just("2"),
    }
)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(STEPS, VARIABLES)
def test_through_any_traffic_failures_and_weights_nothing_that_is_under_way_is_miscounted(
    steps: list[tuple[str, int, bool]], variables: dict[str, str]
) -> None:
    trio.run(Traffic(Setting(**variables)).follow, steps, clock=trio.testing.MockClock(autojump_threshold=0))


class Traffic:
    """Requests of two functions that come, move and end as the steps say."""

    def __init__(self, around: Setting) -> None:
        self.around = around
        self.scopes: list[trio.CancelScope] = []
        self.clients: list[trio.Event] = []
        self.under_way: list[Place] = []
        self.every: set[int] = set()

    async def follow(self, steps: list[tuple[str, int, bool]]) -> None:
        around = self.around
        async with trio.open_nursery() as nursery:
            for step, which, runs in steps:
                if step == "enter":
                    self.scopes.append(trio.CancelScope())
                    self.clients.append(trio.Event())
                    function = b"fg"[which % 2 : which % 2 + 1]
                    caller = Caller(function, forwarded=which % 3 == 0, replayable=which % 4 == 0)
                    nursery.start_soon(self._call, caller, self.scopes[-1], self.clients[-1])
                else:
                    await self._happen(step, which)
                if runs:
                    await trio.testing.wait_all_tasks_blocked()
                    self._check()
        while self.under_way:
            around.places.leave(*self.under_way.pop())
        self._check()
        assert (around.places.in_flight, around.places.queue.waiting, around.places.held.waiting) == (0, 0, 0)

    async def _happen(self, step: str, which: int) -> None:
        around, function = self.around, "fg"[which % 2]
        if step == "put":
            chosen = {one: 1 for bit, one in enumerate((A, B, C, GATEWAY)) if which >> bit & 1}
            around.put(chosen, function, Limits(max_inflight=which % 3))
        elif step == "delete":
            around.put(None, function)
        elif step == "wait":
            around.upstream.now_s += which
            await trio.sleep(which / 4)
        elif step == "cancel" and self.scopes:
            self.scopes[which % len(self.scopes)].cancel()
        elif step == "gone" and self.clients:
            self.clients[which % len(self.clients)].set()
        elif step in ("fail", "serve") and around.opened:
            destination = list(around.opened.values())[which % len(around.opened)]
            if step == "fail":
                around.fail(destination.health.name)
            elif destination.health.failures:
                around.upstream.resting.succeed(destination.health, trial=destination.health.is_resting)
        elif step in ("move", "leave") and self.under_way:
            route, member = self.under_way.pop(which % len(self.under_way))
            if step == "leave":
                around.places.leave(route, member)
            else:
                other = around.places.move(route, member, [member], local=which % 2 == 0)
                self.under_way.append((route, other or member))

    async def _call(self, caller: Caller, scope: trio.CancelScope, gone: trio.Event) -> None:
        async def receive() -> Event:
            await gone.wait()
            return {"type": "http.disconnect"}

        with scope:
            try:
                place = await self.around.places.enter(caller, receive)
            except (NoFunction, NoEndpoint, Overloaded, ClientGone):
                return
            self.under_way.append(place)

    def _check(self) -> None:
        assert self.around.places.in_flight == len(self.under_way)
        for route, member in self.under_way:
            assert route.in_flight == sum(one is route for one, _ in self.under_way)
            destination = member.destination
            assert destination.in_flight == sum(one.destination is destination for _, one in self.under_way)
        assert all(one.in_flight >= 0 for one in self.around.opened.values())

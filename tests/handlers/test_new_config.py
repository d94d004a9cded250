"""A running golb whose handler gets another configuration: what counts from then on, and what becomes of those who wait."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from handlers.around import Around, around_golb, final_host, get, until
from support.stack import make_config
from support.wire import connect

MARK = b"X-Forwarded-Host-Eb-B: 1.0"


def reconfigure(around: Around, **variables: str) -> None:
    """Put these in force, and the defaults of all others but the rests'."""
    config = make_config(**({"rest_min": "30"} | variables))
    around.golb.upstream.reconfigure(config)
    around.golb.handler.handle_config(config)


async def seen_target(around: Around, *lines: bytes) -> bytes:
    """Call the function and return the target that its endpoint got."""
    assert (await around.call(get("f", *lines))).status == 200
    return around.endpoints[0].requests[-1].head.first_line.split()[1]


async def test_an_endpoint_becomes_a_gateway_and_is_none_again() -> None:
    async with around_golb(1) as around:
        authority = around.endpoints[0].authority
        for _ in range(2):
            assert await seen_target(around) == b"/"
            reconfigure(around, gateways=authority)
            assert await seen_target(around) == b"/function/f"
            assert (await around.call(get("f", MARK))).status == 503
            reconfigure(around)
            assert await seen_target(around, MARK) == b"/"


async def test_a_request_that_waits_goes_on_when_the_limit_grows() -> None:
    async with around_golb(1, max_inflight="1", queue_timeout="60") as around:
        endpoint = around.endpoints[0]
        endpoint.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await endpoint.called(1)
            await second.send(get())
            await until(lambda: around.places.queue.waiting == 1)
            reconfigure(around, max_inflight="2", queue_timeout="60")
            await endpoint.called(2)
            endpoint.released.set()
            assert [(await each.read_response()).status for each in (first, second)] == [200, 200]


async def test_a_limit_and_a_queue_that_shrink_hold_for_those_who_come() -> None:
    async with around_golb(1) as around:
        endpoint = around.endpoints[0]
        endpoint.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            for number, each in enumerate((first, second), 1):
                await each.send(get())
                await endpoint.called(number)
            reconfigure(around, max_inflight="1", queue="0")
            refused = await around.call()
            assert refused.status == 503
            assert b"2 requests are under way, as many as eb_go_lb_max_inflight allows" in refused.body
            endpoint.released.set()
            assert [(await each.read_response()).status for each in (first, second)] == [200, 200]


async def test_a_held_request_goes_on_although_holding_is_switched_off() -> None:
    async with around_golb(1, hold_on_empty="60") as around, await connect(around.golb.port) as client:
        await client.send(get("g"))
        await until(lambda: around.places.held.waiting == 1)
        reconfigure(around)
        assert (await around.call(get("h"))).status == 404
        around.put({around.endpoints[0]: 1}, function="g")
        assert (await client.read_response()).status == 200


async def test_failover_is_switched_off_and_whoever_rests_is_asked_again() -> None:
    async with around_golb(2, 1) as around:
        bad, good = around.endpoints
        assert final_host(await around.call()) == good.authority
        assert around.destination(bad).health.is_resting
        reconfigure(around, failover="off")
        assert not around.destination(bad).health.is_resting
        assert (await around.call()).status == 502
        reconfigure(around)
        assert final_host(await around.call()) == good.authority


async def test_the_marks_of_peers_are_believed_as_the_new_configuration_says() -> None:
    async with around_golb(1) as around:
        gateway = around.endpoints[0].authority
        for trusted, status in (("all", 503), ("none", 200), ("127.0.0.1", 503)):
            reconfigure(around, gateways=gateway, trusted_proxies=trusted)
            assert (await around.call(get("f", MARK))).status == status


async def test_a_second_try_that_waits_is_made_when_the_budget_grows() -> None:
    variables = {"retry_budget": "0", "retry_budget_min": "1", "queue_timeout": "60"}
    async with around_golb(2, 1, **variables) as around:
        bad, good = around.endpoints
        retries = around.golb.handler.retries
        assert await retries.take(lambda: 0)  # all that there is
        async with await connect(around.golb.port) as client, trio.open_nursery() as nursery:
            await client.send(get())
            await until(lambda: around.destination(bad).health.is_resting)
            await trio.testing.wait_all_tasks_blocked()
            assert not good.requests
            reconfigure(around, **(variables | {"retry_budget_min": "2"}))
            assert final_host(await client.read_response()) == good.authority
            nursery.cancel_scope.cancel()
        retries.give_back()


@pytest.mark.parametrize("response_timeout", ["0.2", "60"])
async def test_a_request_under_way_is_timed_by_the_new_timeout(response_timeout: str) -> None:
    async with around_golb(1, response_timeout="60" if response_timeout == "0.2" else "0.2") as around:
        endpoint = around.endpoints[0]
        endpoint.does = "hang"
        async with await connect(around.golb.port) as client:
            await client.send(get())
            await endpoint.called(1)
            reconfigure(around, response_timeout=response_timeout)
            if response_timeout == "60":
                await trio.sleep(0.4)  # beyond the old one, and what it may be late by
                endpoint.released.set()
            assert (await client.read_response()).status == (504 if response_timeout == "0.2" else 200)
            endpoint.released.set()


async def test_what_is_counted_and_who_rests_stay_through_a_new_configuration() -> None:
    async with around_golb(2, 1) as around:
        bad = around.endpoints[0]
        await around.call()
        route, members = around.route(), around.route().endpoints
        counted = route.report()
        assert sum(member.calls for member in members.values()) > 0
        reconfigure(around, gateways="10.0.3.1", panic_threshold="90")
        assert around.route() is route
        assert route.endpoints is members
        assert route.report() == counted
        assert around.destination(bad).health.is_resting

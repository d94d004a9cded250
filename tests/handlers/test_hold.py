"""A running golb whose functions have no endpoint yet: scaling from zero without a lost request."""

from __future__ import annotations

import pytest
import trio
from handlers.around import Around, around_golb, final_host, get, post, until
from support.wire import Wire, connect

from golb.limits import Limits

# Longer than a test lasts.
HOLD = {"hold_on_empty": "60"}


async def send_and_hold(around: Around, client: Wire, data: bytes) -> None:
    """Send a request of a function without endpoints, and wait until it is held."""
    waiting = around.places.held.waiting
    await client.send(data)
    await until(lambda: around.places.held.waiting > waiting)


@pytest.mark.parametrize("key", ["absent", "empty", "zero"])
@pytest.mark.parametrize("data", [get("g"), post("g")], ids=["get", "post"])
async def test_a_request_is_held_until_its_function_has_an_endpoint(key: str, data: bytes) -> None:
    async with around_golb(1, **HOLD) as around, await connect(around.golb.port) as client:
        pod = around.endpoints[0]
        if key != "absent":
            around.put({} if key == "empty" else {pod: 0}, "g")
        await send_and_hold(around, client, data)
        around.put({pod: 1}, "g")
        response = await client.read_response()
        assert (response.status, final_host(response)) == (200, pod.authority)
        assert pod.requests[0].body == (b"body" if data.startswith(b"POST") else b"")


async def test_a_body_that_comes_while_its_request_is_held_arrives_whole_and_once() -> None:
    async with around_golb(1, **HOLD) as around, await connect(around.golb.port) as client:
        await send_and_hold(around, client, post("g").removesuffix(b"dy"))
        await client.send(b"dy")
        around.put({around.endpoints[0]: 1}, "g")
        assert (await client.read_response()).status == 200
        assert [request.body for request in around.endpoints[0].requests] == [b"body"]


async def test_a_client_that_waits_for_a_continue_is_held_without_one() -> None:
    async with around_golb(1, **HOLD) as around, await connect(around.golb.port) as client:
        head = post("g").replace(b"\r\n\r\nbody", b"\r\nExpect: 100-continue\r\n\r\n")
        await send_and_hold(around, client, head)
        around.put({around.endpoints[0]: 1}, "g")
        assert (await client.read_head()).status == 100
        await client.send(b"body")
        assert (await client.read_response()).status == 200


async def test_the_time_in_golbs_mark_is_when_the_endpoint_was_called_and_not_when_the_request_came() -> None:
    async with around_golb(1, **HOLD) as around, await connect(around.golb.port) as client:
        await send_and_hold(around, client, get("g"))
        await trio.sleep(0.05)
        around.put({around.endpoints[0]: 1}, "g")
        response = await client.read_response()
        [sent] = around.endpoints[0].requests[0].head.values(b"X-Forwarded-Host-Eb-A")
        assert response.head.values(b"X-Forwarded-Host-Eb-A") == [sent]


@pytest.mark.parametrize(("key", "status"), [("absent", 404), ("empty", 503)])
async def test_a_hold_that_is_in_vain_ends_as_it_would_have_without(key: str, status: int) -> None:
    async with around_golb(1, hold_on_empty="0.05") as around:
        if key == "empty":
            around.put({}, "g")
        response = await around.call(get("g"))
        assert (response.status, final_host(response)) == (status, "")


async def test_no_more_are_held_than_may_be() -> None:
    async with around_golb(1, hold_limit="2", **HOLD) as around:
        clients = [await connect(around.golb.port) for _ in range(2)]
        for client in clients:
            await send_and_hold(around, client, get("g"))
        assert (await around.call(get("h"))).status == 404
        assert (await around.call()).status == 200
        around.put({around.endpoints[0]: 1}, "g")
        for client in clients:
            assert (await client.read_response()).status == 200
            await client.close()


async def test_a_client_that_goes_away_is_not_held_any_longer() -> None:
    async with around_golb(1, **HOLD) as around:
        async with await connect(around.golb.port) as client:
            await send_and_hold(around, client, post("g"))
        await around.quiet()
        around.put({around.endpoints[0]: 1}, "g")
        assert not around.endpoints[0].requests


async def test_those_held_keep_to_the_functions_bound_when_its_endpoints_come() -> None:
    async with around_golb(1, queue_timeout="60", **HOLD) as around:
        pod = around.endpoints[0]
        clients = [await connect(around.golb.port) for _ in range(6)]
        for number, client in enumerate(clients):
            await send_and_hold(around, client, get("g").replace(b"/function/g", b"/function/g/%d" % number))
        pod.does = "hang"
        around.put({pod: 1}, "g", Limits(max_inflight=1))
        await pod.called(1)
        assert around.route("g").in_flight == 1
        pod.released.set()
        for client in clients:
            assert (await client.read_response()).status == 200
            await client.close()
        assert [request.head.first_line.split()[1] for request in pod.requests] == [b"/%d" % n for n in range(6)]


async def test_a_function_whose_endpoints_go_and_come_loses_no_request() -> None:
    async with around_golb(2, **HOLD) as around:
        for pod in around.endpoints * 2:
            around.put({}, "g")
            async with await connect(around.golb.port) as client:
                await send_and_hold(around, client, post("g"))
                around.put({pod: 1}, "g")
                assert final_host(await client.read_response()) == pod.authority
            around.delete("g")
        assert [len(pod.requests) for pod in around.endpoints] == [2, 2]

"""A running golb that has as much to do as it may have: who waits, who is turned away, and by which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from handlers.around import Around, Endpoint, around_golb, final_host, get, post, until
from support.http2 import connect_http2
from support.tls import make_tls_files
from support.wire import connect

from golb.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from support.wire import Wire

# One request under way, and one that waits longer than a test lasts.
ONE = {"max_inflight": "1", "queue": "1", "queue_timeout": "60"}


def numbered(number: int) -> bytes:
    return get().replace(b"/function/f", b"/function/f/%d" % number)


def targets(endpoint: Endpoint) -> list[bytes]:
    return [request.head.first_line.split()[1] for request in endpoint.requests]


async def send_and_queue(around: Around, client: Wire, data: bytes) -> None:
    """Send a request that finds no place, and wait until it waits for one."""
    waiting = around.places.queue.waiting
    await client.send(data)
    await until(lambda: around.places.queue.waiting > waiting)


async def test_over_the_bound_and_the_queue_a_request_is_turned_away_at_once_with_golbs_headers() -> None:
    async with around_golb(1, **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await pod.called(1)
            await send_and_queue(around, second, get())
            response = await around.call()
            assert response.status == 503
            assert response.head.values(b"Retry-After") == [b"1"]
            assert final_host(response) == ""
            assert response.body == (
                b"golb: function 'f' in zone zone-a: 1 requests are under way, as many as eb_go_lb_max_inflight "
                b"allows; 1 requests wait already\n"
            )
            pod.released.set()
            assert (await first.read_response()).status == 200
            assert (await second.read_response()).status == 200
        assert around.places.queue.turned_away == 1


async def test_those_that_wait_go_on_in_the_order_in_which_they_came() -> None:
    async with around_golb(1, max_inflight="1", queue_timeout="60") as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        clients = [await connect(around.golb.port) for _ in range(8)]
        await clients[0].send(numbered(0))
        await pod.called(1)
        for number, client in enumerate(clients[1:], 1):
            await send_and_queue(around, client, numbered(number))
        pod.released.set()
        for client in clients:
            assert (await client.read_response()).status == 200
            await client.close()
        assert targets(pod) == [b"/%d" % number for number in range(8)]


async def test_a_request_waits_no_longer_than_it_may_and_its_connection_goes_on() -> None:
    async with around_golb(1, max_inflight="1", queue_timeout="0.05") as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await pod.called(1)
            await second.send(post())
            response = await second.read_response()
            assert response.status == 503
            assert response.body.endswith(b"eb_go_lb_max_inflight allows; no place within 0.05 s\n")
            pod.released.set()
            assert (await first.read_response()).status == 200
            await second.send(post())
            assert (await second.read_response()).status == 200
        assert [request.body for request in pod.requests] == [b"", b"body"]


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_goes_away_leaves_the_queue_and_its_request_is_never_sent(way: str) -> None:
    async with around_golb(1, **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first:
            await first.send(get())
            await pod.called(1)
            leaving = await connect(around.golb.port)
            await send_and_queue(around, leaving, post())
            await (leaving.close() if way == "close" else leaving.reset())
            await until(lambda: not around.places.queue.waiting)
            pod.released.set()
            assert (await first.read_response()).status == 200
        assert len(pod.requests) == 1


async def test_a_client_that_goes_away_in_its_body_while_it_waits_costs_a_place_no_longer_than_that_takes_to_show() -> (
    None
):
    async with around_golb(1, **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first:
            await first.send(get())
            await pod.called(1)
            leaving = await connect(around.golb.port)
            await send_and_queue(around, leaving, post().removesuffix(b"dy"))
            await leaving.close()
            pod.released.set()
            assert (await first.read_response()).status == 200
            await around.quiet()
            assert (await around.call()).status == 200
        assert [request.body for request in pod.requests] == [b"", b""]


async def test_a_body_that_comes_while_its_request_waits_arrives_whole() -> None:
    async with around_golb(1, **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await pod.called(1)
            await send_and_queue(around, second, post().removesuffix(b"dy"))
            await second.send(b"dy")
            pod.released.set()
            assert (await second.read_response()).status == 200
        assert pod.requests[1].body == b"body"


async def test_a_request_that_was_pipelined_behind_one_that_waits_is_served_after_it() -> None:
    async with around_golb(1, **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(numbered(0))
            await pod.called(1)
            await send_and_queue(around, second, numbered(1))
            await second.send(numbered(2))
            pod.released.set()
            assert (await second.read_response()).status == 200
            assert (await second.read_response()).status == 200
        assert targets(pod) == [b"/0", b"/1", b"/2"]


async def test_a_functions_own_bound_leaves_other_functions_alone() -> None:
    async with around_golb(1) as around:
        pod = around.endpoints[0]
        around.put({pod: 1}, limits=Limits(max_inflight=1, queue=0))
        around.put({pod: 1}, "g")
        pod.does = "hang"
        async with await connect(around.golb.port) as first:
            await first.send(get())
            await pod.called(1)
            response = await around.call()
            assert response.status == 503
            assert b"1 requests are under way, as many as the function's max_inflight allows" in response.body
            pod.does = "answer"
            assert (await around.call(get("g"))).status == 200
            pod.released.set()


async def test_a_full_endpoint_is_passed_over_and_when_all_are_full_requests_wait() -> None:
    async with around_golb(2, endpoint_max_inflight="1", queue_timeout="60") as around:
        for pod in around.endpoints:
            pod.does = "hang"
        clients = [await connect(around.golb.port) for _ in range(3)]
        for client in clients[:2]:
            await client.send(get())
        for pod in around.endpoints:
            await pod.called(1)
        await send_and_queue(around, clients[2], get())
        around.endpoints[1].released.set()
        assert final_host(await clients[2].read_response()) == around.endpoints[1].authority
        around.endpoints[0].released.set()
        for client in clients[:2]:
            assert (await client.read_response()).status == 200
        for client in clients:
            await client.close()


async def test_what_golb_answers_by_itself_takes_no_place() -> None:
    async with around_golb(1, **ONE) as around:
        assert (await around.call(get("unknown"))).status == 404
        assert (await around.call(b"GET / HTTP/1.1\r\nHost: golb\r\n\r\n")).status == 404
        assert (await around.call(get("f", b"X-Forwarded-Host-Eb-A: 1.0"))).status == 508
        assert around.places.in_flight == 0
        assert (await around.call()).status == 200


async def test_requests_by_http_2_wait_and_are_turned_away_too(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with around_golb(1, **ONE, **tls.variables) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        client = await connect_http2(around.golb.port, tls.client_context("h2"))
        first = await client.request(b"/function/f")
        await pod.called(1)
        second = await client.request(b"/function/f")
        await until(lambda: around.places.queue.waiting > 0)
        answer = await client.answer(await client.request(b"/function/f"))
        assert answer.status == 503
        assert (b"retry-after", b"1") in answer.headers
        client.h2.reset_stream(second)
        await client.flush()
        await until(lambda: not around.places.queue.waiting)
        pod.released.set()
        assert (await client.answer(first)).status == 200
        await trio.aclose_forcefully(client.stream)
        assert len(pod.requests) == 1


async def test_a_request_that_waits_when_golb_is_told_to_end_is_still_answered() -> None:
    async with around_golb(1, **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await pod.called(1)
            await send_and_queue(around, second, get())
            around.golb.server.drain()
            pod.released.set()
            assert (await first.read_response()).status == 200
            response = await second.read_response()
            assert response.status == 200
            assert response.head.values(b"Connection") == [b"close"]
        await around.golb.stopped.wait()


async def test_a_request_that_waits_longer_than_golb_may_drain_is_broken_off_visibly() -> None:
    async with around_golb(1, drain_timeout="0.1", **ONE) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await pod.called(1)
            await send_and_queue(around, second, get())
            around.golb.server.drain()
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await second.read_response()
            await around.golb.stopped.wait()

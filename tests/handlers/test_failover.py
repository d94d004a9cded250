"""Endpoints that fail under a running golb: who is asked instead, what is sent how often, and who rests."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from handlers.around import HEAVY, around_golb, final_host, get, post, until
from support.http2 import connect_http2
from support.tls import make_tls_files
from support.wire import connect

if TYPE_CHECKING:
    from pathlib import Path

FAILURES = ["reset", "close", "malformed"]
# An endpoint that hangs is found out fast. golb looks at its clocks every 0.05 s.
IMPATIENT = {"response_timeout": "0.1"}


# Nothing was sent.

UPLOADS = {
    "whole": (post(), b""),
    "still to come": (post().removesuffix(b"body"), b"body"),
    "in parts": (post().removesuffix(b"dy"), b"dy"),
    "in chunks": (
        b"POST /function/f HTTP/1.1\r\nHost: golb\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n",
        b"2\r\ndy\r\n0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"POST", b"PATCH"])
async def test_an_endpoint_that_refuses_is_not_the_clients_problem(method: bytes) -> None:
    async with around_golb(4, 3) as around:
        response = await around.call(get().replace(b"GET", method))
        assert response.status == 200
        assert final_host(response) == around.endpoints[3].authority
        assert len(around.endpoints[3].requests) == 1


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
async def test_a_body_goes_whole_and_once_to_the_endpoint_that_can_be_reached(upload: tuple[bytes, bytes]) -> None:
    at_once, later = upload
    async with around_golb(4, 3) as around, await connect(around.golb.port) as client:
        await client.send(at_once)
        await until(lambda: around.endpoints[3].connections > 0)
        await client.send(later)
        assert (await client.read_response()).status == 200
        assert [request.body for request in around.endpoints[3].requests] == [b"body"]


async def test_a_client_that_waits_for_a_continue_is_told_so_once_an_endpoint_is_reached() -> None:
    async with around_golb(3, 2) as around, await connect(around.golb.port) as client:
        await client.send(post().replace(b"\r\n\r\nbody", b"\r\nExpect: 100-continue\r\n\r\n"))
        # The endpoint waits for the body without a word, so golb's own patience ends first.
        assert (await client.read_head()).status == 100
        await client.send(b"body")
        assert (await client.read_response()).status == 200
        request = around.endpoints[2].requests[0]
        assert request.body == b"body"
        assert request.head.values(b"Expect") == [b"100-continue"]


async def test_an_endpoint_that_refuses_rests_and_the_next_request_does_not_meet_it() -> None:
    async with around_golb(2, 1) as around:
        for _ in range(5):
            assert (await around.call(post())).status == 200
        health = around.destination(around.endpoints[0]).health
        assert health.is_resting
        assert health.cause == "cannot connect: Connection refused"
        assert around.golb.handler.retries.begun == 1


async def test_where_nobody_can_be_reached_the_last_one_tried_is_named() -> None:
    async with around_golb(3, 3) as around:
        response = await around.call(post())
        assert response.status == 502
        assert final_host(response) in [endpoint.authority for endpoint in around.endpoints]
        assert f"endpoint {final_host(response)}: cannot connect: Connection refused".encode() in response.body
        assert len(around.golb.upstream.resting) == 3


async def test_an_endpoint_that_does_not_accept_in_time_is_passed_over() -> None:
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):  # once these fill the backlog the kernel drops what comes
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        silent = f"127.0.0.1:{full.getsockname()[1]}"
        async with around_golb(1, connect_timeout="0.1") as around:
            around.golb.put_weights({silent: HEAVY, around.endpoints[0].authority: 1})
            assert final_host(await around.call(post())) == around.endpoints[0].authority
            assert [health.name for health in around.golb.upstream.resting] == [silent]


async def test_a_call_from_another_load_balancer_goes_to_no_gateway_when_its_endpoint_fails() -> None:
    async with around_golb(1, gateways="127.0.0.1") as around:  # every port of it
        gateway = around.endpoints[0]
        with socket.socket() as refusing:
            refusing.bind(("127.0.0.2", 0))
            authority = f"127.0.0.2:{refusing.getsockname()[1]}"
            around.golb.put_weights({authority: 1, gateway.authority: 1})
            response = await around.call(get("f", b"X-Forwarded-For: eb-b"))
            assert (response.status, final_host(response)) == (502, authority)
            assert not gateway.requests
            response = await around.call()
            assert (response.status, final_host(response)) == (200, gateway.authority)
            assert gateway.requests[0].head.first_line == b"GET /function/f HTTP/1.1"


async def test_switched_off_nobody_is_asked_instead_and_nobody_rests() -> None:
    async with around_golb(2, 1, failover="off") as around:
        for data in [get(), post()] * 4:
            response = await around.call(data)
            assert (response.status, final_host(response)) == (502, around.endpoints[0].authority)
        assert len(around.golb.upstream.resting) == 0
        assert not around.endpoints[1].requests


async def test_a_request_by_http_2_is_sent_elsewhere_too(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with around_golb(3, 2, **tls.variables) as around:
        client = await connect_http2(around.golb.port, tls.client_context("h2"))
        stream = await client.request(b"/function/f", method=b"POST", body=b"body")
        answer = await client.answer(stream)
        assert answer.status == 200
        assert answer.headers[1] == (b"x-final-host", around.endpoints[2].authority.encode())
        assert [request.body for request in around.endpoints[2].requests] == [b"body"]
        await trio.aclose_forcefully(client.stream)


# Something was sent.


@pytest.mark.parametrize("way", FAILURES)
async def test_a_get_whose_endpoint_fails_is_sent_to_another_one(way: str) -> None:
    async with around_golb(2) as around:
        failing, good = around.endpoints
        failing.does = way
        around.put({failing: HEAVY, good: 1})
        response = await around.call()
        assert (response.status, final_host(response)) == (200, good.authority)
        assert (len(failing.requests), len(good.requests)) == (1, 1)
        health = around.destination(failing).health
        assert (health.failures, health.is_resting) == (1, False)


@pytest.mark.parametrize("way", FAILURES)
async def test_a_post_whose_endpoint_fails_is_not_sent_again(way: str) -> None:
    async with around_golb(2) as around:
        failing, good = around.endpoints
        failing.does = way
        around.put({failing: HEAVY, good: 1})
        response = await around.call(post())
        assert (response.status, final_host(response)) == (502, failing.authority)
        assert (len(failing.requests), len(good.requests)) == (1, 0)


async def test_a_put_whose_body_was_still_to_come_is_not_sent_again() -> None:
    async with around_golb(2) as around, await connect(around.golb.port) as client:
        failing, good = around.endpoints
        failing.does = "close"
        around.put({failing: HEAVY, good: 1})
        await client.send(post().replace(b"POST", b"PUT").removesuffix(b"body"))
        await until(lambda: failing.connections > 0)
        await client.send(b"body")
        assert (await client.read_response()).status == 502
        assert [request.body for request in failing.requests] == [b"body"]
        assert not good.requests


async def test_an_endpoint_that_does_not_answer_in_time_costs_a_post_its_answer_but_a_get_only_time() -> None:
    async with around_golb(2, **IMPATIENT) as around:
        silent, good = around.endpoints
        silent.does = "hang"
        around.put({silent: HEAVY, good: 1})
        response = await around.call(post())
        assert (response.status, final_host(response)) == (504, silent.authority)
        response = await around.call()
        assert (response.status, final_host(response)) == (200, good.authority)
        assert len(good.requests) == 1


async def test_a_request_that_was_sent_goes_to_no_more_than_two_further_endpoints() -> None:
    async with around_golb(6) as around:
        for endpoint in around.endpoints:
            endpoint.does = "reset"
        response = await around.call()
        assert response.status == 502
        assert sum(len(endpoint.requests) for endpoint in around.endpoints) == 3


async def test_an_answer_that_breaks_off_is_never_begun_anew() -> None:
    async with around_golb(2) as around, await connect(around.golb.port) as client:
        failing, good = around.endpoints
        failing.does = "cut off"
        around.put({failing: HEAVY, good: 1})
        await client.send(get())
        assert (await client.read_head()).status == 200
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await client.read_exactly(9)
        assert not good.requests
        assert around.destination(failing).health.failures == 1


async def test_an_answer_of_whatever_status_is_no_failure() -> None:
    async with around_golb(1) as around:
        around.endpoints[0].does = "error"
        for _ in range(6):
            assert (await around.call()).status == 503
        assert around.destination(around.endpoints[0]).health.failures == 0


# What an outage may cost.


async def test_when_the_budget_is_exhausted_a_failure_is_the_clients() -> None:
    variables = IMPATIENT | {"retry_budget": "0", "retry_budget_min": "1", "queue_timeout": "0"}
    async with around_golb(2, **variables) as around:
        silent, slow = around.endpoints
        silent.does = slow.does = "hang"
        around.put({silent: HEAVY, slow: 1})
        async with trio.open_nursery() as nursery:
            statuses = []

            async def call() -> None:
                statuses.append((await around.call()).status)

            for _ in range(3):
                nursery.start_soon(call)
            await silent.called(3)
            await slow.called(1)
            slow.released.set()
        assert sorted(statuses) == [200, 504, 504]
        assert around.golb.handler.retries.exhausted == 2

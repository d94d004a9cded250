"""What a running golb counts of its calls, to the one: each call is counted once, however it ends."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
import trio
import trio.testing
from e2e.counted import (
    NO_RESPONSES,
    NOT_REFUSED,
    at,
    call,
    calls,
    golb_before,
    http2_client,
    report,
    report_now,
    responses,
)
from handlers.around import CUT_OFF, HEAVY, OK, OTHER_FUNCTION, around_golb, final_host, get, post, until
from support.endpoint import scripted_endpoint
from support.stack import FUNCTION, running_golb
from support.tls import TlsFiles, make_tls_files
from support.wire import Wire, connect

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


# By which answers a call may end.


@pytest.mark.parametrize(
    ("status", "name"),
    [(200, "2xx"), (204, "2xx"), (301, "3xx"), (304, "3xx"), (404, "4xx"), (500, "5xx"), (599, "5xx"), (600, "5xx"), (999, "5xx")],
)  # fmt: skip
async def test_an_endpoints_answer_is_counted_by_its_class(status: int, name: str) -> None:
    length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
    async with golb_before(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, length)) as golb:
        for _ in range(3):
            await call(golb, get())
        told = await report(golb)
        (endpoint,) = told["endpoints"]
    assert told["responses"] == endpoint["responses"] == NO_RESPONSES | {name: 3}
    assert (told["refused"], told["broken"], told["gone"]) == (NOT_REFUSED, 0, 0)
    assert (endpoint["calls"], endpoint["failures"], endpoint["retries"]) == (3, 0, 0)
    assert [sum(told[name]["counts"]) for name in ("duration", "first_byte", "own")] == [3, 3, 3]


async def test_an_interim_answer_counts_for_nothing() -> None:
    async with (
        golb_before(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK) as golb,
        await golb.connect() as client,
    ):
        await client.send(get())
        assert (await client.read_head()).status == 103
        assert (await client.read_response()).body == b"ok"
        assert (await report(golb))["responses"] == responses(_2xx=1)


async def test_a_tunnel_is_one_answer_of_1xx_and_its_bytes_count_both_ways() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(get(FUNCTION, b"Connection: Upgrade", b"Upgrade: websocket"))
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(SWITCH + b"early")
                await client.read_head()
                await client.send(b"question")
                await endpoint.read_exactly(8)
                await endpoint.send(b"answer")
                assert await client.read_exactly(11) == b"earlyanswer"
                told = report_now(golb)
                assert (told["in_flight"], told["responses"]) == (1, NO_RESPONSES)
            await client.close()
            told = await report(golb)
    assert told["responses"] == responses(_1xx=1)
    endpoint_counts = at(told, pod.authority)
    assert (endpoint_counts["bytes_in"], endpoint_counts["bytes_out"]) == (8, 11)


@pytest.mark.parametrize("does", ["malformed", "reset", "close", "hang"])
async def test_golbs_own_502_and_504_are_the_functions_and_a_failure_of_the_endpoint(does: str) -> None:
    async with around_golb(1, response_timeout="0.1") as around:
        around.endpoints[0].does = does
        assert (await around.call(post())).status == (504 if does == "hang" else 502)
        told = await report(around.golb)
    assert told["responses"] == responses(_5xx=1)
    assert sum(told["own"]["counts"]) == 1
    endpoint = told["endpoints"][0]
    assert (endpoint["calls"], endpoint["failures"], endpoint["responses"]) == (1, 1, NO_RESPONSES)
    assert (endpoint["bytes_in"], endpoint["bytes_out"]) == (4, 0)


async def test_an_endpoint_that_takes_no_connection_gets_no_bytes() -> None:
    async with around_golb(1, 1) as around:
        assert (await around.call(post())).status == 502
        told = await report(around.golb)
    endpoint = told["endpoints"][0]
    assert told["responses"] == responses(_5xx=1)
    assert (endpoint["calls"], endpoint["failures"], endpoint["bytes_in"]) == (1, 1, 0)


@pytest.mark.parametrize("weight", [None, 0])
async def test_a_call_without_an_endpoint_is_refused_and_no_answer_of_the_function(weight: int | None) -> None:
    async with around_golb(1) as around:
        around.put({} if weight is None else {around.endpoints[0]: weight})
        assert (await around.call()).status == 503
        told = await report(around.golb)
    assert told["refused"] == {"no_endpoint": 1, "overloaded": 0, "loop": 0}
    assert told["responses"] == NO_RESPONSES
    assert sum(told["duration"]["counts"]) == 0


async def test_a_forwarded_call_without_an_endpoint_in_the_zone_is_refused() -> None:
    async with around_golb(1, gateways="127.0.0.1") as around:
        assert (await around.call(get(FUNCTION, b"X-Forwarded-For: eb-b"))).status == 503
        assert (await report(around.golb))["refused"]["no_endpoint"] == 1


async def test_a_call_beyond_the_bounds_is_refused_as_overloaded() -> None:
    async with around_golb(1, max_inflight="1", queue="0") as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first:
            await first.send(get())
            await pod.called(1)
            for _ in range(2):
                assert (await around.call()).status == 503
            pod.released.set()
            assert (await first.read_response()).status == 200
        told = await report(around.golb)
    assert told["refused"] == {"no_endpoint": 0, "overloaded": 2, "loop": 0}
    assert told["responses"] == responses(_2xx=1)


async def test_a_call_in_a_loop_is_refused_as_one() -> None:
    async with around_golb(1) as around:
        assert (await around.call(get(FUNCTION, b"X-Forwarded-Host-Eb-A: 1.0"))).status == 508
        told = await report(around.golb)
    assert told["refused"] == {"no_endpoint": 0, "overloaded": 0, "loop": 1}
    assert told["endpoints"][0]["calls"] == 0


async def test_what_calls_no_function_or_an_unknown_one_is_counted_in_all() -> None:
    async with around_golb(1) as around:
        for data, times in ((get("unknown"), 2), (get().replace(b"/function/f", b"/"), 3)):
            for _ in range(times):
                assert (await around.call(data)).status == 404
        totals = around.golb.handler.totals()
        assert (totals["unknown_function"], totals["no_function_call"]) == (2, 3)
        assert calls(await report(around.golb)) == 0


async def test_a_call_that_goes_from_endpoint_to_endpoint_is_counted_at_each_and_answered_by_one() -> None:
    async with around_golb(3, rest_after="1000") as around:
        first, second, third = around.endpoints
        around.put({first: HEAVY, second: HEAVY // 1000, third: 1})
        first.does = second.does = "reset"
        for endpoint in (first, second):
            await around.call(post())  # is not sent again, as it was sent
            around.put({one: 0 if one is endpoint else 1 for one in around.endpoints})
        around.put({first: HEAVY, second: HEAVY // 1000, third: 1})
        assert final_host(await around.call()) == third.authority
        told = await report(around.golb)
    counts = [at(told, one.authority) for one in around.endpoints]
    assert sum(one["calls"] for one in counts) == 2 + 3
    assert sum(one["failures"] for one in counts) == 2 + 2
    assert [one["retries"] for one in counts] in ([0, 1, 1], [1, 0, 1])
    assert [one["responses"] for one in counts] == [NO_RESPONSES, NO_RESPONSES, responses(_2xx=1)]
    assert told["responses"] == responses(_2xx=1, _5xx=2)


async def test_an_answer_that_breaks_off_is_no_answer_and_what_came_of_it_counts() -> None:
    async with around_golb(1) as around:
        pod = around.endpoints[0]
        pod.does = "cut off"
        async with await connect(around.golb.port) as client:
            await client.send(post())
            with pytest.raises(EOFError):
                await client.read_response()
        told = await report(around.golb)
    assert (told["broken"], told["gone"], told["responses"]) == (1, 0, NO_RESPONSES)
    assert sum(told["duration"]["counts"]) == 0
    endpoint = at(told, pod.authority)
    assert (endpoint["failures"], endpoint["responses"]) == (1, NO_RESPONSES)
    assert (endpoint["bytes_in"], endpoint["bytes_out"]) == (4, len(CUT_OFF.partition(b"\r\n\r\n")[2]))


# Clients that go away.


async def test_a_client_that_goes_away_while_its_function_runs_is_counted_as_gone() -> None:
    async with around_golb(1) as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as client:
            await client.send(post())
            await pod.called(1)
        told = await report(around.golb)
    endpoint = at(told, pod.authority)
    assert (told["gone"], told["broken"], told["responses"]) == (1, 0, NO_RESPONSES)
    assert (endpoint["calls"], endpoint["failures"], endpoint["bytes_in"]) == (1, 0, 4)


async def test_a_client_that_goes_away_in_its_body_is_counted_as_gone_and_its_bytes_up_to_there() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb:
            async with await golb.connect() as client:
                await client.send(post(body=b"x" * 1000)[:-400])
                endpoint = await pod.accept()
                await endpoint.read_head()
                await endpoint.read_exactly(600)
            told = await report(golb)
            await endpoint.close()
    assert (told["gone"], told["responses"]) == (1, NO_RESPONSES)
    assert at(told, pod.authority)["bytes_in"] == 600


async def test_a_client_that_goes_away_in_its_answer_is_counted_as_gone() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb:
            client = await golb.connect()
            await client.send(get())
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nbegin")
                await client.read_until(b"begin")
                await client.reset()
                await endpoint.send_until_broken(bytes(10_000))
            told = await report(golb)
    assert (told["gone"], told["broken"], told["responses"]) == (1, 0, NO_RESPONSES)
    assert at(told, pod.authority)["failures"] == 0


async def test_a_client_that_goes_away_while_it_waits_for_a_place_is_counted_as_gone() -> None:
    async with around_golb(1, max_inflight="1", queue="1", queue_timeout="60") as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first:
            await first.send(get())
            await pod.called(1)
            async with await connect(around.golb.port) as second:
                await second.send(get())
                await until(lambda: around.places.queue.waiting == 1)
            await until(lambda: around.places.queue.waiting == 0)
            pod.released.set()
            await first.read_response()
        told = await report(around.golb)
    assert (told["gone"], told["refused"], told["responses"]) == (1, NOT_REFUSED, responses(_2xx=1))


async def test_an_http_2_client_that_resets_its_request_before_its_body_is_counted_as_gone(tls: TlsFiles) -> None:
    async with around_golb(1, **tls.variables) as around, http2_client(around.golb, tls) as client:
        stream = await client.request(b"/function/f", method=b"POST", end=False)
        await client.flush()
        client.h2.reset_stream(stream)
        other = await client.request(b"/function/f")
        await client.answer(other)
        await until(lambda: (around.golb.handler.function_report(FUNCTION) or {})["gone"] == 1)
        assert (await report(around.golb))["responses"] == responses(_2xx=1)


# Many calls, and weights that change.


async def test_of_a_thousand_calls_each_is_counted_once_where_it_went() -> None:
    async with around_golb(3) as around:
        heavy, light, other = around.endpoints
        around.put({heavy: 3, light: 1})
        around.put({light: 1, other: 1}, OTHER_FUNCTION)

        async def client(function: str, count: int) -> None:
            async with await connect(around.golb.port) as wire:
                for _ in range(count):
                    await wire.send(get(function))
                    assert (await wire.read_response()).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(client, FUNCTION, 100)
                nursery.start_soon(client, OTHER_FUNCTION, 25)
        told, told_of_other = await report(around.golb), await report(around.golb, OTHER_FUNCTION)
    assert told["responses"] == responses(_2xx=800)
    assert [at(told, one.authority)["calls"] for one in (heavy, light)] == [600, 200]
    assert told_of_other["responses"] == responses(_2xx=200)
    assert [at(told_of_other, one.authority)["calls"] for one in (light, other)] == [100, 100]
    assert [len(one.requests) for one in around.endpoints] == [600, 300, 100]


async def test_however_calls_end_each_is_counted_once() -> None:
    random = Random(6)
    async with around_golb(5, rest_after="1000", max_inflight="6", queue="4") as around:
        for pod, does in zip(around.endpoints, ("answer", "error", "reset", "malformed", "cut off"), strict=True):
            pod.does = does

        async def client(count: int) -> None:
            for _ in range(count):
                async with await connect(around.golb.port) as wire:
                    await wire.send(random.choice([get(), post(), post(), get(FUNCTION, b"X-Forwarded-Host-Eb-A: 1")]))
                    if random.random() < 0.8:
                        await read_whatever(wire)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(client, 15)
        # A client that does not wait for its answer may have left before golb has read its request.
        await until(lambda: calls(around.golb.handler.function_report(FUNCTION) or {}) == 16 * 15)
        told = await report(around.golb)
        assert calls(told) == 16 * 15
        for count in (told["broken"], told["refused"]["overloaded"], told["refused"]["loop"]):
            assert count > 0
        answered = sum(told["responses"].values())
        assert [sum(told[name]["counts"]) for name in ("duration", "first_byte", "own")] == [answered] * 3
        by_endpoints = sum(sum(one["responses"].values()) for one in told["endpoints"])
        assert 0 < by_endpoints < answered  # golb's own 502s are no endpoint's
        for pod in around.endpoints:
            assert at(told, pod.authority)["calls"] >= len(pod.requests) > 0


async def read_whatever(wire: Wire) -> None:
    with suppress(EOFError, trio.BrokenResourceError):
        await wire.read_response()


async def test_the_counts_of_an_endpoint_that_goes_are_forgotten_and_the_functions_stay() -> None:
    async with around_golb(3) as around:
        staying, going, coming = around.endpoints
        around.put({staying: 1, going: 1})
        for _ in range(4):
            await around.call()
        around.put({staying: 1, coming: 1})
        told = await report(around.golb)
        assert told["responses"] == responses(_2xx=4)
        assert [at(told, one.authority)["calls"] for one in (staying, coming)] == [2, 0]
        around.put({staying: 1, going: 1})
        assert at(await report(around.golb), going.authority)["calls"] == 0


async def test_new_weights_of_the_same_endpoints_leave_the_counts() -> None:
    async with around_golb(2) as around:
        for _ in range(4):
            await around.call()
        around.put(dict.fromkeys(around.endpoints, 0))
        told = await report(around.golb)
    assert [at(told, one.authority)["calls"] for one in around.endpoints] == [2, 2]


async def test_a_call_whose_endpoint_goes_meanwhile_is_still_the_functions() -> None:
    async with around_golb(2) as around:
        going, coming = around.endpoints
        going.does = "hang"
        around.put({going: 1})
        async with await connect(around.golb.port) as client:
            await client.send(get())
            await going.called(1)
            around.put({coming: 1})
            going.released.set()
            await client.read_response()
        told = await report(around.golb)
    assert told["responses"] == responses(_2xx=1)
    assert [one["endpoint"] for one in told["endpoints"]] == [coming.authority]


async def test_a_function_that_is_deleted_and_comes_again_begins_at_0_also_where_a_call_outlives_it() -> None:
    async with around_golb(1) as around:
        pod = around.endpoints[0]
        await around.call()
        pod.does = "hang"
        async with await connect(around.golb.port) as client:
            await client.send(get())
            await pod.called(2)
            around.delete()
            assert around.golb.handler.function_report(FUNCTION) is None
            around.put({pod: 1})
            pod.released.set()
            await client.read_response()
        told = await report(around.golb)
        assert (calls(told), told["endpoints"][0]["calls"], told["in_flight"]) == (0, 0, 0)
        assert len(around.golb.handler.history.of(FUNCTION)) == 1


async def test_what_is_under_way_and_what_waits_is_told() -> None:
    async with around_golb(1, max_inflight="1", queue="2", queue_timeout="60") as around:
        pod = around.endpoints[0]
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get())
            await pod.called(1)
            await second.send(get())
            await until(lambda: around.places.queue.waiting == 1)
            told = report_now(around.golb)
            assert (told["in_flight"], told["waiting"], told["endpoints"][0]["in_flight"]) == (1, 1, 1)
            totals = around.golb.handler.totals()
            assert (totals["in_flight"], totals["waiting"], totals["held"]) == (1, 1, 0)
            pod.released.set()
            await first.read_response()
            await second.read_response()
        assert (await report(around.golb))["responses"] == responses(_2xx=2)

"""The durations that a running golb counts: the whole, to the answer's head, and golb's own part.

What takes long takes as long as SLOW_S; golb's own part is far less, even on a machine that is busy.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from e2e.counted import golb_before, http2_client, report
from handlers.around import HEAVY, OK, OTHER_FUNCTION, around_golb, final_host, get, until
from support.endpoint import scripted_endpoint
from support.stack import running_golb
from support.tls import TlsFiles, make_tls_files
from support.wire import connect

SLOW_S = 0.15
FAST_S = 0.1


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


def times_s(told: dict[str, Any]) -> tuple[float, float, float]:
    """Return the whole duration of the only call, when its answer's head had come, and golb's own part."""
    assert sum(told["duration"]["counts"]) == 1
    duration_s, first_byte_s, own_s = (told[name]["sum_s"] for name in ("duration", "first_byte", "own"))
    assert 0 <= own_s <= duration_s
    assert 0 < first_byte_s <= duration_s
    return duration_s, first_byte_s, own_s


async def test_what_a_slow_endpoint_takes_is_not_golbs_own() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(get())
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                await trio.sleep(SLOW_S)
                await endpoint.send(OK)
                await client.read_response()
                duration_s, first_byte_s, own_s = times_s(await report(golb))
    assert first_byte_s >= SLOW_S
    assert duration_s - first_byte_s < FAST_S
    assert own_s < FAST_S


async def test_a_body_that_is_slow_in_coming_belongs_to_the_duration_and_not_to_the_first_byte() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(get())
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                await endpoint.send(OK.removesuffix(b"ok"))
                await client.read_head()
                await trio.sleep(SLOW_S)
                await endpoint.send(b"ok")
                await client.read_exactly(2)
                duration_s, first_byte_s, own_s = times_s(await report(golb))
    assert duration_s >= SLOW_S
    assert first_byte_s < FAST_S
    assert own_s < FAST_S


async def test_to_wait_for_a_place_belongs_to_the_duration_and_is_not_golbs_own() -> None:
    async with around_golb(1, max_inflight="1", queue="1", queue_timeout="60") as around:
        pod = around.endpoints[0]
        around.put({pod: 1}, OTHER_FUNCTION)
        pod.does = "hang"
        async with await connect(around.golb.port) as first, await connect(around.golb.port) as second:
            await first.send(get(OTHER_FUNCTION))
            await pod.called(1)
            await second.send(get())
            await until(lambda: around.places.queue.waiting == 1)
            await trio.sleep(SLOW_S)
            pod.released.set()
            await first.read_response()
            await second.read_response()
        duration_s, first_byte_s, own_s = times_s(await report(around.golb))
    assert duration_s >= first_byte_s >= SLOW_S
    assert own_s < FAST_S


async def test_to_wait_for_an_http_2_clients_body_is_not_golbs_own(tls: TlsFiles) -> None:
    async with golb_before(OK, tls.variables) as golb, http2_client(golb, tls) as client:
        stream = await client.request(b"/function/f", method=b"POST", end=False)
        await trio.sleep(SLOW_S)
        client.send_data(stream, b"body", end=True)
        await client.flush()
        await client.answer(stream)
        duration_s, _, own_s = times_s(await report(golb))
    assert duration_s > FAST_S
    assert own_s < FAST_S


async def test_what_an_endpoint_took_that_failed_is_not_golbs_own() -> None:
    async with around_golb(2, response_timeout="0.15", rest_after="1000") as around:
        silent, good = around.endpoints
        silent.does = "hang"
        around.put({silent: HEAVY, good: 1})
        assert final_host(await around.call()) == good.authority
        duration_s, first_byte_s, own_s = times_s(await report(around.golb))
    assert duration_s >= first_byte_s > FAST_S
    assert own_s < FAST_S

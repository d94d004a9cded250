"""The failure of one call is that call's: nothing of it is left where another call could take it for its own.

Python sees to that, but for what mypyc has compiled (golb/mypyc.py); `make test-compiled` has these tests on it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from support.endpoint import scripted_endpoint
from support.stack import running_golb

from golb.upstream.exchange import _WATCH_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.endpoint import ScriptedEndpoint
    from support.wire import Wire

GET = b"GET /function/f HTTP/1.1\r\nHost: golb\r\n\r\n"
POST = b"POST /function/f HTTP/1.1\r\nHost: golb\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc"
MALFORMED = b"HTTP/1.1 two hundred\r\n\r\n"
# Watching for the client begins a tick of the clock late, or two.
WATCHED_S = _WATCH_AFTER_S + 0.15


class _Handled(trio.abc.Instrument):
    """Looks at what Trio's own loop is handling, which is nothing."""

    def __init__(self) -> None:
        self.found: list[BaseException] = []

    def before_io_wait(self, timeout: float) -> None:
        del timeout
        exc = sys.exc_info()[1]
        if exc is not None:
            self.found.append(exc)


@contextmanager
def nothing_is_handled_by_the_loop() -> Iterator[None]:
    handled = _Handled()
    trio.lowlevel.add_instrument(handled)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(handled)
    assert handled.found == []


async def asked(client: Wire, pod: ScriptedEndpoint, request: bytes = GET) -> Wire:
    """Send a request, and return the new connection on which the endpoint has got it."""
    await client.send(request)
    endpoint = await pod.accept()
    await endpoint.read_request()
    return endpoint


async def test_connections_that_went_stale_and_answers_that_break_off_leave_nothing_behind() -> None:
    with scripted_endpoint() as pod, nothing_is_handled_by_the_loop():
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            endpoint = await asked(client, pod)
            await endpoint.send(OK)
            await client.read_response()
            for _ in range(3):
                await client.send(GET)
                await endpoint.read_request()
                await endpoint.close()
                endpoint = await pod.accept()
                await endpoint.read_request()
                await endpoint.send(OK)
                assert (await client.read_response()).body == b"ok"
            await client.send(GET)
            await endpoint.read_request()
            await endpoint.send(BEGUN)
            await trio.sleep(WATCHED_S)
            await endpoint.close()
            assert (await client.read_to_end()).endswith(b"abc")


@pytest.mark.parametrize("cut_is_first", [True, False])
async def test_calls_that_fail_in_one_round_fail_each_by_its_own_failure(*, cut_is_first: bool) -> None:
    with scripted_endpoint() as pod, nothing_is_handled_by_the_loop():
        async with (
            running_golb(pod.authority, failover="off") as golb,
            await golb.connect() as one,
            await golb.connect() as other,
        ):
            cut = await asked(one, pod)
            await cut.send(BEGUN)
            silent = await asked(other, pod, POST)
            await trio.sleep(WATCHED_S)
            for endpoint in (cut, silent) if cut_is_first else (silent, cut):
                assert isinstance(endpoint.stream, trio.SocketStream)
                endpoint.stream.socket.close()  # without a turn for golb between
            response = await other.read_response()
            assert response.status == 502
            assert b"the endpoint closed without an answer" in response.body
            assert (await one.read_to_end()).endswith(b"abc")


async def test_a_malformed_answer_to_a_request_that_was_sent_again_is_called_malformed() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, failover="off") as golb, await golb.connect() as client:
            endpoint = await asked(client, pod)
            await endpoint.send(OK)
            await client.read_response()
            await client.send(GET)
            await endpoint.read_request()
            await endpoint.close()
            async with await pod.accept() as again:
                await again.read_request()
                await again.send(MALFORMED)
                response = await client.read_response()
            assert response.status == 502
            assert b"the answer is malformed" in response.body
            assert not pod.has_connection_waiting()


async def test_uploads_and_interim_answers_pass_behind_calls_that_failed() -> None:
    with scripted_endpoint() as pod, nothing_is_handled_by_the_loop():
        async with running_golb(pod.authority, failover="off") as golb, await golb.connect() as client:
            for _ in range(2):
                async with await asked(client, pod) as endpoint:
                    await endpoint.send(MALFORMED)
                    assert (await client.read_response()).status == 502
                await client.send(POST.replace(b"Length: 0", b"Length: 5") + b"he")
                async with await pod.accept() as endpoint:
                    await endpoint.read_head()
                    await client.send(b"llo")
                    assert await endpoint.read_exactly(5) == b"hello"
                    await endpoint.send(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK)
                    assert (await client.read_head()).status == 103
                    assert (await client.read_response()).body == b"ok"

"""Connections to endpoints: which is used, which is kept, and what happens when a kept one has gone stale."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from support.endpoint import ScriptedEndpoint, scripted_endpoint
from support.stack import running_golb

from golb.errors import UpstreamTimeoutError
from golb.forwarding import Call
from golb.poller import Poller
from golb.sockets import SocketStream
from golb.weights import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import RunningGolb
    from support.wire import Message, Wire

    from golb.asgi import Event

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(path: bytes = b"/", method: bytes = b"GET") -> bytes:
    return method + b" /function/f" + path + b" HTTP/1.1\r\nHost: golb\r\n\r\n"


async def call(client: Wire, endpoint: Wire, answer: bytes = OK) -> Message:
    """Let one GET pass over a connection to the endpoint that is open already, or about to be."""
    await client.send(get())
    await endpoint.read_request()
    await endpoint.send(answer)
    return await client.read_response()


async def first_call(client: Wire, pod: ScriptedEndpoint, answer: bytes = OK) -> Wire:
    """Let one GET pass, and return the connection over which it did."""
    await client.send(get())
    endpoint = await pod.accept()
    await endpoint.read_request()
    await endpoint.send(answer)
    await client.read_response()
    return endpoint


async def test_requests_of_different_clients_share_a_connection() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as one, await golb.connect() as other:
            async with await first_call(one, pod) as endpoint:
                for client in (other, one, other):
                    assert (await call(client, endpoint)).body == b"ok"
            assert not pod.has_connection_waiting()


async def test_the_connection_used_last_is_used_next() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as one, await golb.connect() as other:
            await one.send(get())
            first = await pod.accept()
            await other.send(get())
            second = await pod.accept()
            async with first, second:
                for endpoint in (first, second):
                    await endpoint.read_request()
                for endpoint, client in ((second, other), (first, one)):
                    await endpoint.send(OK)
                    await client.read_response()
                for _ in range(2):  # `first` came back last
                    await call(other, first)


async def test_no_more_idle_connections_are_kept_than_there_may_be() -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, upstream_max_idle="1") as golb,
            await golb.connect() as one,
            await golb.connect() as other,
        ):
            await one.send(get())
            first = await pod.accept()
            await other.send(get())
            second = await pod.accept()
            async with first, second:
                for endpoint, client in ((first, one), (second, other)):
                    await endpoint.read_request()
                    await endpoint.send(OK)
                    await client.read_response()
                assert await second.read_to_end() == b""
                await call(other, first)


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, upstream_idle_timeout="100ms") as golb,
            await golb.connect() as client,
            await first_call(client, pod) as endpoint,
        ):
            assert await endpoint.read_to_end() == b""
            async with await first_call(client, pod):
                pass


async def test_idle_connections_are_closed_when_their_endpoint_leaves() -> None:
    with scripted_endpoint() as pod, scripted_endpoint() as new_pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod) as endpoint:
                golb.put_weights({new_pod.authority: 1})
                assert await endpoint.read_to_end() == b""
            async with await first_call(client, new_pod):
                pass


async def test_a_request_under_way_finishes_when_its_endpoint_leaves() -> None:
    with scripted_endpoint() as pod, scripted_endpoint() as new_pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(get())
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                golb.put_weights({new_pod.authority: 1})
                await endpoint.send(OK)
                assert (await client.read_response()).body == b"ok"
                assert await endpoint.read_to_end() == b""  # not kept


async def test_equal_weights_put_again_keep_the_connections() -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority) as golb,
            await golb.connect() as client,
            await first_call(client, pod) as endpoint,
        ):
            golb.put_weights({pod.authority: 1})
            await call(client, endpoint)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"junk",
    ],
    ids=["close", "HTTP/1.0", "another answer behind it", "bytes behind it"],
)
async def test_some_answers_are_their_connections_last(answer: bytes) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod, answer) as endpoint:
                assert await _end_of(endpoint) == b""
            async with await first_call(client, pod):
                pass


async def _end_of(endpoint: Wire) -> bytes:
    """Read to the end; a reset, for bytes that golb left unread, is one as well."""
    try:
        return await endpoint.read_to_end()
    except trio.BrokenResourceError:
        return b""


async def test_http_1_0_with_keep_alive_is_kept() -> None:
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority) as golb,
            await golb.connect() as client,
            await first_call(client, pod, answer) as endpoint,
        ):
            await call(client, endpoint)


async def test_a_connection_on_which_unasked_for_bytes_came_is_not_used_again() -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority) as golb,
            await golb.connect() as client,
            await first_call(client, pod) as endpoint,
        ):
            await endpoint.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            async with await first_call(client, pod):
                assert await _end_of(endpoint) == b""


@pytest.mark.parametrize("way", ["close", "reset", "send_eof"])
async def test_a_connection_that_the_endpoint_closed_is_not_used_again(way: str) -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority) as golb,
            await golb.connect() as client,
            await first_call(client, pod) as stale,
        ):
            await getattr(stale, way)()
            await client.send(get(method=b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nhi"))
            async with await pod.accept() as endpoint:
                assert (await endpoint.read_request()).body == b"hi"
                await endpoint.send(OK)
                assert (await client.read_response()).body == b"ok"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_an_idempotent_request_is_repeated_once_if_a_kept_connection_fails(method: bytes, way: str) -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority) as golb,
            await golb.connect() as client,
            await first_call(client, pod) as stale,
        ):
            await client.send(get(method=method))
            await stale.read_request()
            await getattr(stale, way)()
            async with await pod.accept() as endpoint:
                assert (await endpoint.read_request()).head.first_line == method + b" / HTTP/1.1"
                await endpoint.send(OK if method != b"HEAD" else OK[:-2])
                assert (await client.read_response(to=method)).status == 200


async def test_an_idempotent_request_is_not_repeated_twice() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod) as stale:
                await client.send(get())
                await stale.read_request()
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
            response = await client.read_response()
            assert response.status == 502
            assert response.body.endswith(b": the endpoint closed without an answer\n")
            assert not pod.has_connection_waiting()


async def test_a_body_that_had_arrived_is_repeated_with_its_request() -> None:
    request = get(method=b"PUT").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello")
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod) as stale:
                await client.send(request)
                assert (await stale.read_request()).body == b"hello"
            async with await pod.accept() as endpoint:
                assert (await endpoint.read_request()).body == b"hello"
                await endpoint.send(OK)
                assert (await client.read_response()).status == 200


async def test_a_body_that_was_passed_on_as_it_came_cannot_be_repeated() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod) as stale:
                await client.send(get(method=b"PUT").replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\nhello"))
                await stale.read_head()
                assert await stale.read_exactly(5) == b"hello"
                await client.send(b"world")
                assert await stale.read_exactly(5) == b"world"
            response = await client.read_response()
            assert (response.status, pod.has_connection_waiting()) == (502, False)


@pytest.mark.parametrize("data", [b"", b"hello"])
async def test_a_request_that_may_have_an_effect_is_not_repeated(data: bytes) -> None:
    request = get(method=b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod) as stale:
                await client.send(request)
                await stale.read_request()
            response = await client.read_response()
            assert response.status == 502
            assert b"endpoint " + pod.authority.encode() + b": the endpoint closed" in response.body
            assert not pod.has_connection_waiting()


async def test_a_request_is_not_repeated_once_a_byte_of_its_answer_came() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            async with await first_call(client, pod) as stale:
                await client.send(get())
                await stale.read_request()
                await stale.send(b"HTTP/1.1 2")
            assert (await client.read_response()).status == 502
            assert not pod.has_connection_waiting()


async def test_a_connection_that_had_failed_has_sent_nothing() -> None:
    # By this golb may repeat even a POST: no byte of it has left.
    async with trio.open_nursery() as nursery:
        poller = Poller()
        await nursery.start(poller.run)
        with scripted_endpoint() as pod:
            for write_now in (True, False):
                sock = socket.create_connection(("127.0.0.1", pod.port))
                await (await pod.accept()).reset()
                stream = SocketStream(sock, poller)
                use = stream.send_all(b"POST") if write_now else stream.receive_some()
                assert write_now or stream.send_later(b"POST")
                with pytest.raises(trio.BrokenResourceError):
                    await use
                assert not stream.has_sent
                await stream.aclose()
        nursery.cancel_scope.cancel()


# Endpoints that cannot be reached.


@contextmanager
def full_endpoint() -> Iterator[str]:
    """Listen where the kernel completes no further connection, and yield where that is."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queued = []
        try:
            for _ in range(3):
                sock = socket.socket()
                queued.append(sock)
                sock.setblocking(False)
                sock.connect_ex(address)
            yield f"127.0.0.1:{address[1]}"
        finally:
            for sock in queued:
                sock.close()


async def expect_failure(golb: RunningGolb, authority: str, status: int, cause: bytes) -> None:
    async with await golb.connect() as client:
        await client.send(get())
        response = await client.read_response()
        assert response.status == status
        assert response.body == b"golb: function f in zone zone-a: endpoint %b: %b\n" % (authority.encode(), cause)
        assert response.head.values(b"Content-Type") == [b"text/plain; charset=utf-8"]
        assert response.head.values(b"X-Final-Host") == [authority.encode()]
        assert response.head.values(b"X-Forwarded-For") == [b"eb-a"]
        assert len(response.head.values(b"X-Forwarded-Host-Eb-A")) == 1
        await client.send(get())  # the client's connection goes on
        assert (await client.read_response()).status == status


async def test_an_endpoint_that_refuses_gets_502() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, not listening
        authority = f"127.0.0.1:{sock.getsockname()[1]}"
        async with running_golb(authority) as golb:
            await expect_failure(golb, authority, 502, b"cannot connect: Connection refused")


async def test_an_endpoint_that_does_not_accept_in_time_gets_502() -> None:
    with full_endpoint() as authority:
        async with running_golb(authority, connect_timeout="200ms") as golb:
            await expect_failure(golb, authority, 502, b"no connection within 0.2 s")


async def test_an_endpoint_that_does_not_answer_in_time_gets_504() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, response_timeout="200ms") as golb:
            await expect_failure(golb, pod.authority, 504, b"no answer within 0.2 s")
            for _ in range(2):
                async with await pod.accept() as endpoint:
                    await endpoint.read_request()
                    assert await endpoint.read_to_end() == b""


async def test_each_late_answer_is_an_error_of_its_own() -> None:
    # One error for all would drag along the traceback, and so the frames, of every call that was late before.
    async def receive() -> Event:
        await trio.sleep_forever()
        raise AssertionError

    async def send(event: Event) -> None:
        raise AssertionError(event)

    with scripted_endpoint() as pod:
        async with running_golb(response_timeout="100ms") as golb:
            pool = golb.upstream.open(parse_endpoint(pod.authority))
            caught = []
            for _ in range(2):
                call = Call("GET", [], receive, send, {})
                call.head = b"GET / HTTP/1.1\r\n\r\n"
                with pytest.raises(UpstreamTimeoutError) as late:
                    await golb.upstream.forward(pool, call)
                caught.append(late.value)
            assert caught[0] is not caught[1]

"""What a client may be slow at, and for how long: the connection over streams in memory, under a clock that jumps.

Towards the end: what an endpoint sees of it, over real sockets.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from support.endpoint import scripted_endpoint
from support.stack import running_golb, running_server, settle
from support.tls import make_tls_files
from support.wire import connect

from golb.deadlines import TICK_S, Deadlines
from golb.server import Connection, Peer, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from golb.asgi import Application, Event, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

HEAD_S = 10.0
IDLE_S = 75.0
STALL_S = 60.0
DISCARD_S = 2.0

MemoryStream = (
    trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
    | trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]
)


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def connected(
    application: Application,
    streams: tuple[MemoryStream, MemoryStream] | None = None,
    *,
    head_s: float = HEAD_S,
    idle_s: float = IDLE_S,
    stall_s: float = STALL_S,
) -> AsyncIterator[MemoryStream]:
    """Serve one connection and yield the client's end of it."""
    client, server = streams or trio.testing.memory_stream_pair()
    deadlines = Deadlines()
    timeouts = Timeouts(deadlines, head_s=head_s, idle_s=idle_s, stall_s=stall_s)

    def stop_reading() -> None:
        assert isinstance(server.receive_stream, trio.testing.MemoryReceiveStream)
        server.receive_stream.put_eof()

    def abort(reset: bool) -> None:  # noqa: FBT001 - as the connection calls it
        server.send_stream.close()  # type: ignore[attr-defined] # streams in memory have it
        server.receive_stream.close()  # type: ignore[attr-defined] # likewise

    connection = Connection(
        application,
        BytesStream(server),
        Peer(("10.0.0.1", 1), ("10.0.0.2", 2), "http"),
        timeouts,
        stop_reading=stop_reading,
        abort=abort,
        is_draining=lambda: False,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(deadlines.run)
        nursery.start_soon(connection.run)
        yield client
        nursery.cancel_scope.cancel()


class BytesStream:
    """A stream in memory, which gives out a bytearray, as golb's own are: they give out bytes."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream
        self.send_all = stream.send_all
        self.send_eof = stream.send_eof

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))


async def read_to_end(stream: MemoryStream) -> bytes:
    parts = []
    while data := await stream.receive_some():
        parts.append(bytes(data))
    return b"".join(parts)


async def read_until(stream: MemoryStream, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        data = await stream.receive_some()
        assert data, f"the end came behind {received!r}"
        received += bytes(data)
    return received


def assert_waited(began: float, seconds: float) -> None:
    waited = trio.current_time() - began
    assert seconds <= waited <= seconds + 3 * TICK_S


async def test_a_connection_that_says_nothing_is_closed_without_an_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(answer_ok) as client:
        began = trio.current_time()
        assert await read_to_end(client) == b""
        assert_waited(began, HEAD_S)


async def test_a_head_that_does_not_come_to_its_end_gets_408(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok) as client:
        began = trio.current_time()
        await client.send_all(GET[:10])
        response = await read_to_end(client)
        assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"Connection: close\r\n" in response
        assert_waited(began, HEAD_S)


async def test_a_head_that_comes_in_drops_gets_no_more_time(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok) as client:
        began = trio.current_time()
        for index in range(9):
            await client.send_all(GET[index : index + 1])
            await trio.sleep(1)
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 408")
        assert_waited(began, HEAD_S)


async def test_an_idle_connection_is_closed_without_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok) as client:
        await client.send_all(GET)
        assert await client.receive_some() == OK
        began = trio.current_time()
        assert await read_to_end(client) == b""
        assert_waited(began, IDLE_S)


async def test_empty_lines_do_not_keep_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok) as client:
        await client.send_all(GET)
        await client.receive_some()
        began = trio.current_time()
        await trio.sleep(IDLE_S / 2)
        await client.send_all(b"\r\n")
        assert await read_to_end(client) == b""
        assert_waited(began, IDLE_S)


async def test_a_next_request_has_the_time_of_a_head_from_its_first_byte_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(answer_ok) as client:
        await client.send_all(GET)
        await client.receive_some()
        await trio.sleep(IDLE_S - 1)
        began = trio.current_time()
        await client.send_all(GET[:1])
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 408")
        assert_waited(began, HEAD_S)


async def test_a_next_request_that_began_behind_the_last_one_has_no_more_time_than_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(answer_ok) as client:
        began = trio.current_time()
        await client.send_all(GET + GET[:10])
        assert await client.receive_some() == OK
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 408")
        assert_waited(began, HEAD_S)


async def test_a_request_in_time_is_served_after_a_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok) as client:
        for wait_s in (HEAD_S, IDLE_S):
            await trio.sleep(wait_s - 0.1)
            await client.send_all(GET)
            assert await client.receive_some() == OK


async def test_a_body_that_stalls_gets_408_and_its_application_sees_a_client_that_goes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    failures = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (event := await receive())["type"] != "http.disconnect":
            pass
        failures.append(event)

    async with connected(application) as client:
        began = trio.current_time()
        await client.send_all(POST + b"abc")
        response = await read_to_end(client)
        assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"Connection: close\r\n" in response
        assert_waited(began, STALL_S)
    assert len(failures) == 1


async def test_a_body_that_stalls_behind_the_begin_of_its_response_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with connected(application) as client:
        began = trio.current_time()
        await client.send_all(POST + b"abc")
        assert await read_to_end(client) == OK.removesuffix(b"k")
        assert_waited(began, STALL_S)


async def test_a_continue_that_is_slow_to_leave_precedes_the_response(autojump_clock: trio.testing.MockClock) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()  # the 100 waits for the client to read
            await send({"type": "golb.informational", "status": 103, "headers": []})
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            nursery.cancel_scope.cancel()

    async with connected(application, trio.testing.lockstep_stream_pair()) as client:
        await client.send_all(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        await trio.testing.wait_all_tasks_blocked()
        received = await read_until(client, b"ok")
        statuses = [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        assert statuses == [b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 200 OK"]


async def test_a_continue_that_waits_behind_early_hints_is_not_sent_once_the_response_has_begun(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer() -> None:
            await send({"type": "golb.informational", "status": 103, "headers": []})
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(receive)

    async with connected(application, trio.testing.lockstep_stream_pair()) as client:
        await client.send_all(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        await trio.testing.wait_all_tasks_blocked()
        received = await read_until(client, b"ok")
        assert received.count(b"HTTP/1.1 103") == received.count(b"HTTP/1.1 200") == 1
        assert received.count(b"HTTP/1.1 100") <= 1
        assert received.rindex(b"HTTP/1.1 200") > max(received.rfind(b"HTTP/1.1 100"), received.rfind(b"HTTP/1.1 103"))


async def test_a_body_may_take_long_if_it_never_stalls(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok) as client:
        await client.send_all(POST)
        for _ in range(6):
            await trio.sleep(STALL_S - 1)
            await client.send_all(b"a")
        assert await client.receive_some() == OK


async def test_an_application_may_take_as_long_as_it_likes(autojump_clock: trio.testing.MockClock) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(2 * (HEAD_S + IDLE_S + STALL_S))
        await answer_ok(scope, receive, send)

    async with connected(application) as client:
        await client.send_all(GET)
        assert await client.receive_some() == OK


async def test_a_client_that_stops_reading_ends_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    given_up = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"b" * 1000, "more_body": True})
        except OSError:
            given_up.set()
            raise

    async with connected(application, trio.testing.lockstep_stream_pair()) as client:
        await client.send_all(GET)
        await client.receive_some()
        began = trio.current_time()
        await given_up.wait()
        assert_waited(began, STALL_S)


async def test_a_client_that_reads_slowly_is_served(autojump_clock: trio.testing.MockClock) -> None:
    size = 6

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        for index in range(size):
            await send({"type": "http.response.body", "body": b"b", "more_body": index < size - 1})

    async with connected(application, trio.testing.lockstep_stream_pair()) as client:
        await client.send_all(GET)
        received = b""
        while received.count(b"b") < size:
            await trio.sleep(STALL_S - 1)
            received += bytes(await client.receive_some())


async def test_a_closing_connection_waits_for_the_rest_of_a_body_but_not_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        event: Event = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
        await send(event)
        await send({"type": "http.response.body", "body": b"ok"})

    async with connected(application) as client:
        await client.send_all(POST + b"abc")
        assert await client.receive_some() == OK
        began = trio.current_time()
        assert await read_to_end(client) == b""
        assert_waited(began, DISCARD_S)


async def test_zero_means_no_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answer_ok, head_s=0, idle_s=0, stall_s=0) as client:
        for _ in range(2):
            await trio.sleep(100)
            await client.send_all(POST)
            await trio.sleep(100)
            await client.send_all(b"abcdef")
            assert await client.receive_some() == OK


# Over real sockets.


@pytest.mark.parametrize(
    ("framing", "sent", "arrives"),
    [
        (b"Content-Length: 10", b"abc", b"abc"),
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n", b"3\r\nabc\r\n"),
        (b"Content-Length: 1000000", b"b" * 100_000, b"b" * 100_000),  # by a pipe
    ],
)
async def test_an_endpoint_sees_the_cut_of_a_body_that_stalls(framing: bytes, sent: bytes, arrives: bytes) -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, client_idle_timeout="200ms") as golb,
            await golb.connect() as client,
        ):
            await client.send(b"POST /function/f HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + sent)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                assert await endpoint.read_exactly(len(arrives)) == arrives
                assert (await client.read_response()).status == 408
                assert await client.read_to_end() == b""
                assert await endpoint.read_to_end() == b""


async def test_a_tls_handshake_that_comes_in_drops_gets_no_more_time(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with (
        running_server(answer_ok, request_header_timeout="300ms", **tls.variables) as server,
        await connect(server.port) as client,
    ):
        began = trio.current_time()
        await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the begin of a ClientHello of 512 bytes
        with suppress(trio.BrokenResourceError):  # golb has closed; if it never does, the test runs out of time
            while True:
                await client.send(b"\x00")
                await trio.sleep(0.05)
        assert 0.3 <= trio.current_time() - began < 5


async def test_urgent_bytes_keep_their_place() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        data = b""
        while (event := await receive())["type"] == "http.request":
            data += event["body"]
            if not event["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": data})

    async with running_server(application) as server, await server.connect() as client:
        assert isinstance(client.stream, trio.SocketStream)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        await settle()
        for piece, flags in ((b"ab", 0), (b"c", socket.MSG_OOB), (b"de", 0)):
            await client.stream.socket.send(piece, flags)
            await settle()
        assert (await client.read_response()).body == b"abcde"

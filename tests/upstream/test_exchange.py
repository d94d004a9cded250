"""One request through golb, on the wire on both sides: heads, bodies, and who waits for whom."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from attrs import frozen
from support.endpoint import ScriptedEndpoint, scripted_endpoint
from support.stack import RunningGolb, running_golb

from golb.errors import UpstreamTimeoutError
from golb.forwarding import Call
from golb.weights import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.wire import Wire

    from golb.asgi import Event

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SIZE = 3 << 20
DATA = bytes(range(256)) * (SIZE // 256)
CONTINUE = b"HTTP/1.1 100 Continue"


def request(*lines: bytes, method: bytes = b"GET", rest: bytes = b"/", version: bytes = b"HTTP/1.1") -> bytes:
    first_line = method + b" /function/f" + rest + b" " + version
    return b"\r\n".join([first_line, b"Host: golb", *lines]) + b"\r\n\r\n"


def answer(*lines: bytes, status: bytes = b"200 OK", body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([version + b" " + status, *lines]) + b"\r\n\r\n" + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


@frozen
class Parties:
    """Everyone around one golb."""

    golb: RunningGolb
    client: Wire
    pod: ScriptedEndpoint


@asynccontextmanager
async def parties(**variables: str) -> AsyncIterator[Parties]:
    """Put a client, a golb and an endpoint together."""
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **variables) as golb, await golb.connect() as client:
            yield Parties(golb, client, pod)


@asynccontextmanager
async def asked(data: bytes, **variables: str) -> AsyncIterator[tuple[Wire, Wire]]:
    """Send a request, and yield the client's connection and the endpoint's."""
    async with parties(**variables) as around:
        await around.client.send(data)
        async with await around.pod.accept() as endpoint:
            yield around.client, endpoint


async def expect_goes_on(client: Wire, endpoint: Wire) -> None:
    """See both connections carry another request."""
    await client.send(request(rest=b"/next"))
    assert (await endpoint.read_request()).head.first_line == b"GET /next HTTP/1.1"
    await endpoint.send(OK)
    assert (await client.read_response()).body == b"ok"


# Heads.


async def test_the_endpoint_gets_the_request_with_golbs_headers_in_front() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(request(b"x-one: 1", b"User-Agent: test", b"x-one: 2", rest=b"/a%20b?c=%2F"))
            async with await pod.accept() as endpoint:
                head = await endpoint.read_head()
                authority = pod.authority.encode()
                assert head.first_line == b"GET /a%20b?c=%2F HTTP/1.1"
                assert head.headers[:3] == [
                    (b"Host", authority),
                    (b"X-Final-Host", authority),
                    (b"X-Forwarded-For", b"eb-a, 127.0.0.1"),
                ]
                assert head.headers[3][0] == b"X-Forwarded-Host-Eb-A"
                assert head.headers[4:] == [(b"X-One", b"1"), (b"User-Agent", b"test"), (b"X-One", b"2")]


async def test_the_client_gets_the_answer_with_golbs_headers_in_front() -> None:
    lines = [b"x-start: 1", b"SERVER: pod", b"Set-Cookie: a", b"Set-Cookie: b", b"Content-Length: 2"]
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(request())
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                await endpoint.send(answer(*lines, status=b"202 Whatever", body=b"ok"))
                response = await client.read_response()
                assert response.head.first_line == b"HTTP/1.1 202 Accepted"
                assert response.head.headers[:2] == [
                    (b"X-Final-Host", pod.authority.encode()),
                    (b"X-Forwarded-For", b"eb-a"),
                ]
                assert response.head.headers[2][0] == b"X-Forwarded-Host-Eb-A"
                assert response.head.headers[3:] == [
                    (b"X-Start", b"1"),
                    (b"Server", b"pod"),
                    (b"Set-Cookie", b"a"),
                    (b"Set-Cookie", b"b"),
                    (b"Content-Length", b"2"),
                ]


async def test_what_belongs_to_the_clients_hop_does_not_reach_the_endpoint() -> None:
    lines = [
        b"Connection: keep-alive, X-Mine, Host, Content-Length, X-Forwarded-For, X-Forwarded-Host-Eb-B",
        b"Connection: TE",
        b"X-Mine: 1",
        b"X-Yours: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: x",
        b"TE: gzip, trailers",
        b"Upgrade: h2c",
        b"X-Forwarded-For: eb-b, 10.0.0.1",
        b"X-Forwarded-Host-Eb-B: 1.5",
        b"Content-Length: 0",
    ]
    async with asked(request(*lines)) as (client, endpoint):
        head = await endpoint.read_head()
        assert head.names() == [
            b"Host",
            b"X-Final-Host",
            b"X-Forwarded-For",
            b"X-Forwarded-Host-Eb-A",
            b"X-Yours",
            b"X-Forwarded-Host-Eb-B",
            b"TE",
            b"Connection",
            b"Content-Length",
        ]
        assert head.values(b"TE") == [b"trailers"]
        assert head.values(b"Connection") == [b"TE"]
        assert head.values(b"X-Forwarded-For") == [b"eb-b, 10.0.0.1, eb-a, 127.0.0.1"]
        assert head.values(b"X-Forwarded-Host-Eb-B") == [b"1.5"]
        assert head.values(b"Content-Length") == [b"0"]
        await endpoint.send(OK)
        assert (await client.read_response()).status == 200


async def test_what_belongs_to_the_endpoints_hop_does_not_reach_the_client() -> None:
    lines = [
        b"Connection: keep-alive, X-Mine, Content-Length, X-Final-Host",
        b"X-Mine: 1",
        b"X-Yours: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: x",
        b"Upgrade: h2c",
        b"X-Final-Host: 10.42.0.8:9080",
        b"Content-Length: 2",
    ]
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(*lines, body=b"ok"))
        response = await client.read_response()
        assert response.head.names() == [
            b"X-Final-Host",
            b"X-Final-Host",
            b"X-Forwarded-For",
            b"X-Forwarded-Host-Eb-A",
            b"X-Yours",
            b"Content-Length",
        ]
        await expect_goes_on(client, endpoint)


async def test_two_hops_leave_their_lines_side_by_side() -> None:
    lines = [
        b"X-Forwarded-For: eb-b",
        b"X-Final-Host: 10.42.0.8:9080",
        b"X-Forwarded-Host-Eb-B: 1.5",
        b"Content-Length: 0",
    ]
    async with parties() as around:
        await around.client.send(request())
        async with await around.pod.accept() as endpoint:
            await endpoint.read_request()
            await endpoint.send(answer(*lines))
            head = (await around.client.read_response()).head
            assert head.headers[:4] == [
                (b"X-Final-Host", around.pod.authority.encode()),
                (b"X-Final-Host", b"10.42.0.8:9080"),
                (b"X-Forwarded-For", b"eb-a"),
                (b"X-Forwarded-For", b"eb-b"),
            ]
            assert head.names()[4:] == [b"X-Forwarded-Host-Eb-A", b"X-Forwarded-Host-Eb-B", b"Content-Length"]


# Bodies of requests.


@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE"])
async def test_a_body_that_has_come_goes_on_in_one_piece(method: bytes) -> None:
    async with asked(request(b"Content-Length: 5", method=method) + b"hello") as (client, endpoint):
        got = await endpoint.read_request()
        assert (got.body, got.head.values(b"Content-Length")) == (b"hello", [b"5"])
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


async def test_a_body_goes_on_as_it_comes() -> None:
    async with asked(request(b"Content-Length: 10", method=b"POST")) as (client, endpoint):
        assert (await endpoint.read_head()).values(b"Content-Length") == [b"10"]
        for piece in (b"he", b"llo", b"world"):
            await client.send(piece)
            assert await endpoint.read_exactly(len(piece)) == piece
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


async def test_chunks_go_on_as_they_come_with_their_trailers() -> None:
    async with asked(request(b"Transfer-Encoding: chunked", b"Trailer: X-Sum", method=b"PUT")) as (client, endpoint):
        head = await endpoint.read_head()
        assert (head.values(b"Transfer-Encoding"), head.values(b"Trailer")) == ([b"chunked"], [b"X-Sum"])
        for piece in (b"hello", b"world"):
            await client.send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
            assert await endpoint.read_chunk() == piece
        await client.send(b"0\r\nx-sum: 1\r\nX-Empty:\r\n\r\n")
        assert await endpoint.read_chunked() == (b"", [(b"X-Sum", b"1"), (b"X-Empty", b"")])
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


@pytest.mark.parametrize("at_once", [True, False])
async def test_trailers_bring_nothing_past_what_the_head_decided(*, at_once: bool) -> None:
    trailers = b"X-Sum: 1\r\nX-Forwarded-Host-Eb-B: 1\r\nX-Forwarded-For: b\r\nHost: b\r\nTE: x\r\n"
    head, body = request(b"Transfer-Encoding: chunked", method=b"POST"), chunked(b"hello", trailers=trailers)
    async with asked(head + body if at_once else head) as (client, endpoint):
        await endpoint.read_head()
        if not at_once:
            await client.send(body)
        assert await endpoint.read_chunked() == (b"hello", [(b"X-Sum", b"1")])


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_large_bodies_pass_both_ways(framing: str) -> None:
    if framing == "length":
        line, framed = b"Content-Length: %d" % SIZE, DATA
    else:
        line, framed = b"Transfer-Encoding: chunked", chunked(*[DATA[i : i + 70000] for i in range(0, SIZE, 70000)])
    async with asked(request(line, method=b"POST")) as (client, endpoint):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, framed)
            got = await endpoint.read_request()
        assert got.body == DATA
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.send, answer(line, body=framed))
            response = await client.read_response()
        assert response.body == DATA
        await expect_goes_on(client, endpoint)


async def test_an_endpoint_that_does_not_read_does_not_make_golb_collect_the_body() -> None:
    async with asked(request(b"Content-Length: %d" % (1 << 40), method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        sent = 0
        with trio.move_on_after(0.3):
            while True:
                await client.send(bytes(65536))
                sent += 65536
        assert sent < 64 << 20


# Answers while the request is on its way, and the other way round.


async def test_an_endpoint_may_answer_as_it_is_asked() -> None:
    async with asked(request(b"Transfer-Encoding: chunked", method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        await endpoint.send(answer(b"Transfer-Encoding: chunked"))
        assert (await client.read_head()).status == 200  # before any of the body was sent
        for word in (b"one", b"two", b"three"):
            await client.send(b"%x\r\n%b\r\n" % (len(word), word))
            assert await endpoint.read_chunk() == word
            await endpoint.send(b"%x\r\n%b\r\n" % (len(word), word.upper()))
            assert await client.read_chunk() == word.upper()
        await client.send(chunked())
        assert await endpoint.read_chunked() == (b"", [])
        await endpoint.send(chunked(b"bye"))
        assert await client.read_chunked() == (b"bye", [])
        await expect_goes_on(client, endpoint)


async def test_the_head_of_an_answer_does_not_wait_for_its_body() -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_head()
        await endpoint.send(answer(b"Content-Length: 2"))
        assert (await client.read_head()).values(b"Content-Length") == [b"2"]
        await endpoint.send(b"ok")
        assert await client.read_exactly(2) == b"ok"
        await expect_goes_on(client, endpoint)


async def test_pieces_of_an_answer_do_not_wait_for_each_other() -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_head()
        await endpoint.send(answer(b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked"))
        await client.read_head()
        for number in range(3):
            await endpoint.send(b"1\r\n%d\r\n" % number)
            assert await client.read_chunk() == b"%d" % number


@pytest.mark.parametrize("framing", [b"Content-Length: 11", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_comes_while_the_request_is_on_its_way_is_passed_on(framing: bytes) -> None:
    async with asked(request(framing, method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        await client.send(b"5\r\nhello\r\n")
        await endpoint.read_exactly(10)
        await endpoint.send(answer(b"Content-Length: 8", status=b"413 Content Too Large", body=b"too much"))
        response = await client.read_response()
        assert (response.status, response.body) == (413, b"too much")
        assert await endpoint.read_to_end() == b""  # it waits for the rest, so it is not used again


async def test_a_client_goes_on_after_an_answer_that_came_early() -> None:
    async with parties() as around:
        await around.client.send(request(b"Content-Length: 10", method=b"POST") + b"hello")
        async with await around.pod.accept() as endpoint:
            await endpoint.read_head()
            await endpoint.send(answer(b"Content-Length: 0", status=b"400 Bad Request"))
        assert (await around.client.read_response()).status == 400
        await around.client.send(b"world" + request())
        async with await around.pod.accept() as endpoint:
            await endpoint.read_request()
            await endpoint.send(OK)
            assert (await around.client.read_response()).body == b"ok"


async def test_an_answer_of_an_endpoint_that_reads_no_more_is_passed_on() -> None:
    async with asked(request(b"Content-Length: %d" % SIZE, method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_until_broken, DATA)
            await trio.testing.wait_all_tasks_blocked()
            await endpoint.send(answer(b"Content-Length: 2", b"Connection: close", status=b"403 Forbidden", body=b"no"))
            await endpoint.close()  # with unread bytes: it resets
            response = await client.read_response()
            assert (response.status, response.body) == (403, b"no")
            nursery.cancel_scope.cancel()


# More than the kernel holds for a connection, however it is tuned.
SIZE_BEYOND_BUFFERS = 64 << 20


def large_call(events: list[Event], **body: Any) -> tuple[Call, list[Event]]:
    """Make a call whose client sends these events, and the list into which its answer goes."""
    answered: list[Event] = []

    async def receive() -> Event:
        if not events:
            await trio.sleep_forever()
        return events.pop(0)

    async def send(event: Event) -> None:
        answered.append(event)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE_BEYOND_BUFFERS
    call = Call("POST", [], receive, send, {})
    call.head = head
    for name, value in body.items():
        setattr(call, name, value)
    return call, answered


async def test_a_connection_whose_request_was_cut_short_by_an_early_answer_is_not_used_again() -> None:
    # All of the body has been taken from the client, but golb is still writing it when the answer is complete.
    with scripted_endpoint() as pod:
        async with running_golb() as golb, trio.open_nursery() as nursery:
            pool = golb.upstream.open(parse_endpoint(pod.authority))
            event = {"type": "http.request", "body": bytes(SIZE_BEYOND_BUFFERS), "more_body": False}
            upload, answered = large_call([event], body=b"", more_body=True, bytes_left=SIZE_BEYOND_BUFFERS)
            nursery.start_soon(golb.upstream.forward, pool, upload)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await trio.testing.wait_all_tasks_blocked()
                await endpoint.send(OK)
                assert len(await _rest(endpoint)) < SIZE_BEYOND_BUFFERS
            assert (answered[-1]["body"], len(pool)) == (b"ok", 0)


async def test_an_endpoint_that_does_not_read_a_body_that_has_come_is_late_as_well() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(response_timeout="100ms") as golb:
            pool = golb.upstream.open(parse_endpoint(pod.authority))
            late, _ = large_call([], body=bytes(SIZE_BEYOND_BUFFERS), more_body=False, bytes_left=0)
            with pytest.raises(UpstreamTimeoutError):
                await golb.upstream.forward(pool, late)


async def _rest(wire: Wire) -> bytes:
    parts = []
    try:
        while data := await wire.read_some():
            parts.append(data)
    except trio.BrokenResourceError:
        pass
    return b"".join(parts)


# Expect: 100-continue.


def expecting(length: int = 5) -> bytes:
    return request(b"Content-Length: %d" % length, b"Expect: 100-continue", method=b"POST")


async def test_the_client_is_told_to_continue_when_the_endpoint_says_so() -> None:
    async with asked(expecting()) as (client, endpoint):
        assert (await endpoint.read_head()).values(b"Expect") == [b"100-continue"]
        await endpoint.send(CONTINUE + b"\r\nX-Y: 1\r\n\r\n")
        head = await client.read_head()
        assert (head.first_line, head.headers) == (CONTINUE, [])
        await client.send(b"hello")
        assert await endpoint.read_exactly(5) == b"hello"
        await endpoint.send(OK)
        assert (await client.read_response()).status == 200
        await expect_goes_on(client, endpoint)


async def test_an_endpoints_final_answer_instead_of_continue_is_passed_on_and_no_body_is_sent() -> None:
    async with asked(expecting()) as (client, endpoint):
        await endpoint.read_head()
        await endpoint.send(answer(b"Content-Length: 2", status=b"417 Expectation Failed", body=b"no"))
        response = await client.read_response()
        assert (response.status, response.body, response.head.values(b"Connection")) == (417, b"no", [b"close"])
        assert await endpoint.read_to_end() == b""
        assert await client.read_to_end() == b""


async def test_an_endpoint_that_never_says_continue_gets_the_body_after_a_second() -> None:
    async with asked(expecting()) as (client, endpoint):
        await endpoint.read_head()
        began = trio.current_time()
        assert (await client.read_head()).first_line == CONTINUE
        assert 0.9 < trio.current_time() - began < 2
        await client.send(b"hello")
        assert await endpoint.read_exactly(5) == b"hello"
        await endpoint.send(OK)
        assert (await client.read_response()).status == 200
        await expect_goes_on(client, endpoint)


async def test_the_wait_for_continue_is_not_taken_from_the_endpoints_time_to_answer() -> None:
    async with asked(expecting(), response_timeout="0.5") as (client, endpoint):
        await endpoint.read_head()
        assert (await client.read_head()).first_line == CONTINUE
        await client.send(b"hello")
        assert await endpoint.read_exactly(5) == b"hello"
        await endpoint.send(OK)
        assert (await client.read_response()).status == 200


async def test_a_body_that_came_without_waiting_goes_on_without_waiting() -> None:
    async with asked(expecting() + b"hello") as (client, endpoint):
        got = await endpoint.read_request()
        assert (got.body, got.head.values(b"Expect")) == (b"hello", [])
        await endpoint.send(OK)
        assert (await client.read_response()).status == 200


async def test_an_unknown_expectation_is_the_endpoints_to_judge() -> None:
    async with asked(request(b"Expect: miracles")) as (_, endpoint):
        assert (await endpoint.read_head()).values(b"Expect") == [b"miracles"]


async def test_a_continue_that_nobody_waits_for_is_swallowed() -> None:
    async with asked(request(b"Content-Length: 5", method=b"POST") + b"hello") as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(CONTINUE + b"\r\n\r\n" + OK)
        assert (await client.read_response()).status == 200
        await expect_goes_on(client, endpoint)


async def test_early_hints_are_passed_on() -> None:
    hints = answer(b"link: </a.css>", b"Connection: x", b"X-Final-Host: y", status=b"103 Early Hints")
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        for rest in (b"", OK):
            await endpoint.send(hints + rest)
            head = await client.read_head()
            assert (head.first_line, head.headers) == (b"HTTP/1.1 103 Early Hints", [(b"Link", b"</a.css>")])
        assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


# How answers are framed.


@pytest.mark.parametrize(
    ("method", "status", "lines"),
    [
        (b"HEAD", b"200 OK", [b"Content-Length: 5"]),
        (b"HEAD", b"200 OK", [b"Transfer-Encoding: chunked"]),
        (b"GET", b"204 No Content", []),
        (b"GET", b"304 Not Modified", [b"Content-Length: 5"]),
        (b"GET", b"304 Not Modified", []),
        (b"GET", b"200 OK", [b"Content-Length: 0"]),
    ],
)
async def test_an_answer_without_a_body_is_whole_with_its_head(
    method: bytes, status: bytes, lines: list[bytes]
) -> None:
    async with asked(request(method=method)) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(*lines, status=status))
        response = await client.read_response(to=method)
        assert (response.status, response.body) == (int(status[:3]), b"")
        if lines and lines[0].startswith(b"Content-Length"):
            assert response.head.values(b"Content-Length") == [lines[0].removeprefix(b"Content-Length: ")]
        await expect_goes_on(client, endpoint)


async def test_an_answer_to_head_without_a_length_is_whole_with_its_head() -> None:
    async with asked(request(method=b"HEAD")) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer())
        assert (await client.read_response(to=b"HEAD")).status == 200
        await client.send(request())  # over a new connection to the endpoint, or the same


async def test_chunks_are_passed_on_with_their_trailers() -> None:
    trailers = b"x-sum: 1\r\nX-Forwarded-Host-Eb-B: 2\r\nX-Final-Host: b\r\nKeep-Alive: 1\r\n"
    async with asked(request(b"TE: trailers")) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Transfer-Encoding: chunked", b"Trailer: X-Sum", body=b"5\r\nhello\r\n"))
        head = await client.read_head()
        assert head.values(b"Trailer") == [b"X-Sum"]
        await endpoint.send(chunked(b"world", trailers=trailers))
        assert await client.read_chunked() == (b"helloworld", [(b"X-Sum", b"1")])
        await expect_goes_on(client, endpoint)


async def test_trailers_that_came_with_everything_else_are_passed_on() -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Transfer-Encoding: chunked", body=chunked(b"hello", trailers=b"X-Sum: 1\r\n")))
        response = await client.read_response()
        assert (response.body, response.trailers) == (b"hello", [(b"X-Sum", b"1")])


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_an_answer_may_end_with_its_connection(version: bytes) -> None:
    async with parties() as around:
        for _ in range(2):
            await around.client.send(request())
            async with await around.pod.accept() as endpoint:
                await endpoint.read_request()
                await endpoint.send(answer(body=b"hello ", version=version))
                assert (await around.client.read_head()).values(b"Transfer-Encoding") == [b"chunked"]
                await endpoint.send(b"world")
            assert await around.client.read_chunked() == (b"hello world", [])


@pytest.mark.parametrize("line", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
async def test_http_1_0_clients_get_what_they_understand(line: bytes) -> None:
    body = chunked(b"hello", trailers=b"X: y\r\n") if b"chunked" in line else b"hello"
    async with asked(request(version=b"HTTP/1.0")) as (client, endpoint):
        assert (await endpoint.read_request()).head.first_line == b"GET / HTTP/1.1"
        await endpoint.send(answer(line, body=body))
        await endpoint.send_eof()
        head = await client.read_head()
        assert (head.values(b"Transfer-Encoding"), head.values(b"Connection")) == ([], [b"close"])
        assert await client.read_to_end() == b"hello"


# Answers that break off: the client must never take a part for the whole.


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([b"Content-Length: 10"], b"hello"),
        ([b"Transfer-Encoding: chunked"], b"5\r\nhello\r\n"),
        ([b"Transfer-Encoding: chunked"], b"a\r\nhello"),
        ([b"Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\nX-Sum"),
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_an_answer_that_breaks_off_ends_the_clients_connection_visibly(
    way: str, lines: list[bytes], body: bytes, version: bytes
) -> None:
    async with asked(request(version=version)) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(*lines, body=body))
        head = await client.read_head()
        await getattr(endpoint, way)()
        if head.values(b"Content-Length"):
            assert len(await _rest(client)) < 10
        elif head.values(b"Transfer-Encoding"):
            assert not (await _rest(client)).endswith(b"0\r\n\r\n")
        else:
            with pytest.raises(trio.BrokenResourceError):
                await client.read_to_end()


async def test_a_close_delimited_answer_that_is_reset_is_not_taken_for_whole() -> None:
    for version in (b"HTTP/1.0", b"HTTP/1.1"):
        async with asked(request(version=version)) as (client, endpoint):
            await endpoint.read_request()
            await endpoint.send(answer(body=b"hello"))
            head = await client.read_head()
            await client.read_until(b"hello")
            await endpoint.reset()
            if head.values(b"Transfer-Encoding"):
                assert await client.read_to_end() == b"\r\n"
            else:
                with pytest.raises(trio.BrokenResourceError):
                    await client.read_to_end()


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nhelloX", b"-1\r\n"])
async def test_a_body_that_becomes_malformed_breaks_off(rest: bytes) -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
        await client.read_head()
        assert await client.read_chunk() == b"hello"
        await endpoint.send(rest)
        assert not (await client.read_to_end()).endswith(b"0\r\n\r\n")


async def test_trailers_without_an_end_break_off() -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n"))
        await client.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.send_until_broken, b"X: " + b"a" * 1000 + b"\r\n")
            assert await _rest(client) == b"5\r\nhello\r\n"


async def test_an_answer_that_pauses_too_long_breaks_off() -> None:
    async with asked(request(), response_timeout="100ms") as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Content-Length: 10", body=b"hello"))
        await client.read_head()
        assert await client.read_to_end() == b"hello"
        assert await endpoint.read_to_end() == b""


async def test_an_answer_may_take_long_if_it_never_pauses() -> None:
    async with asked(request(), response_timeout="250ms") as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Content-Length: 6"))
        await client.read_head()
        for _ in range(6):
            await trio.sleep(0.1)  # the timeout is what is tested
            await endpoint.send(b"a")
        assert await client.read_exactly(6) == b"aaaaaa"


async def test_an_upload_that_goes_on_keeps_the_answers_time_from_running() -> None:
    async with asked(request(b"Content-Length: 6", method=b"POST"), response_timeout="250ms") as (client, endpoint):
        await endpoint.read_head()
        for _ in range(6):
            await trio.sleep(0.1)  # the timeout is what is tested
            await client.send(b"a")
        assert await endpoint.read_exactly(6) == b"aaaaaa"
        await endpoint.send(OK)
        assert (await client.read_response()).status == 200


async def test_a_client_that_pauses_in_its_body_is_not_taken_for_an_endpoint_that_does_not_answer() -> None:
    variables = {"response_timeout": "100ms", "rest_after": "1"}
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **variables) as golb, await golb.connect() as client:
            await client.send(request(b"Content-Length: 4", method=b"POST") + b"bo")
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await trio.sleep(0.3)  # the timeout is what is tested
                await client.send(b"dy")
                assert await endpoint.read_exactly(4) == b"body"
                assert (await client.read_head()).status == 504
                assert len(golb.upstream.resting) == 1


async def test_an_answer_that_pauses_too_long_behind_a_body_that_was_not_wanted_breaks_off() -> None:
    async with asked(expecting(), response_timeout="100ms") as (client, endpoint):
        await endpoint.read_head()
        await endpoint.send(answer(b"Content-Length: 2", body=b"n"))
        await client.read_head()
        with pytest.raises(EOFError):
            await client.read_exactly(2)


async def test_an_endpoint_that_does_not_read_the_body_gets_504() -> None:
    request_bytes = request(b"Content-Length: %d" % (64 << 20), method=b"POST")
    async with asked(request_bytes, response_timeout="200ms") as (client, endpoint):
        await endpoint.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_until_broken, bytes(65536))
            assert (await client.read_head()).status == 504
            nursery.cancel_scope.cancel()


# Clients that go away.


async def test_a_client_that_goes_away_cancels_its_call() -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        await client.close()
        assert await endpoint.read_to_end() == b""


async def test_a_client_that_goes_away_in_its_body_cancels_its_call() -> None:
    async with asked(request(b"Content-Length: 10", method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        await client.send(b"hello")
        await client.close()
        assert await endpoint.read_to_end() == b"hello"


async def test_a_client_that_goes_away_after_its_body_cancels_its_call() -> None:
    async with asked(request(b"Content-Length: 5", method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        await client.send(b"hello")
        assert await endpoint.read_exactly(5) == b"hello"
        await client.close()
        assert await endpoint.read_to_end() == b""


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_goes_away_in_an_answer_cancels_its_call(way: str) -> None:
    async with asked(request()) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
        await client.read_head()
        await getattr(client, way)()
        assert await endpoint.read_to_end() == b""


async def test_a_malformed_request_body_cancels_the_call_and_gets_400() -> None:
    async with asked(request(b"Transfer-Encoding: chunked", method=b"POST")) as (client, endpoint):
        await endpoint.read_head()
        await client.send(b"5\r\nhello\r\nzz\r\n")
        assert not (await endpoint.read_to_end()).endswith(b"0\r\n\r\n")
        assert (await client.read_response()).status == 400


async def test_a_request_pipelined_behind_a_slow_one_is_served() -> None:
    async with asked(request() + request(rest=b"/second")) as (client, endpoint):
        await endpoint.read_request()
        await trio.sleep(0.2)  # golb watches the client by now
        await client.send(request(rest=b"/third"))
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        for rest in (b"/second", b"/third"):
            assert (await endpoint.read_request()).head.first_line == b"GET " + rest + b" HTTP/1.1"
            await endpoint.send(OK)
            assert (await client.read_response()).body == b"ok"


# Answers that cannot be used.


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", b"the endpoint closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: y", b"the endpoint closed without an answer"),
        (b"nonsense\r\n\r\n", b"the answer is malformed: "),
        (b"\x00\x01\x02\x03", b"the answer is malformed: "),
        (answer(b"X : y"), b"the answer is malformed: "),
        (answer(b"X: a\x00b"), b"the answer is malformed: "),
        (answer(b"Content-Length: 1", b"Content-Length: 2", body=b"ab"), b"the answer is malformed: "),
        (answer(b"Content-Length: 2", b"Content-Length: 2", body=b"ab"), b"the answer is malformed: "),
        (answer(b"Content-Length: x"), b"the answer is malformed: "),
        (answer(b"Content-Length: -1"), b"the answer is malformed: "),
        (answer(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"ab"), b"the answer is malformed: "),
        (answer(b"Transfer-Encoding: gzip", body=b"ab"), b"the answer's Transfer-Encoding is not chunked"),
        (answer(b"Transfer-Encoding: gzip, chunked", body=chunked()), b"the answer's Transfer-Encoding is not chunked"),
        (
            answer(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", body=chunked()),
            b"the answer's Transfer-Encoding is not chunked",
        ),
        (answer(version=b"HTTP/2.0"), b"the answer is HTTP/2.0"),
        (answer(version=b"HTTP/0.9"), b"the answer is HTTP/0.9"),
        (answer(status=b"099 Low"), b"the answer's status is 099"),
        (answer(*[b"X: y"] * 201), b"the answer has more than 200 headers"),
        (answer(b"X: " + b"a" * 70000), b"the answer's head or trailers are longer than 65536 bytes"),
        (
            answer(b"Connection: Upgrade", b"Upgrade: x", status=b"101 Switching Protocols"),
            b"the endpoint switched to another protocol without being asked",
        ),
        (
            answer(status=b"101 Switching Protocols"),
            b"the endpoint switched to another protocol without being asked",
        ),
    ],
)
async def test_an_answer_that_cannot_be_used_gets_502_and_the_cause(data: bytes, cause: bytes) -> None:
    async with parties() as around:
        await around.client.send(request())
        async with await around.pod.accept() as endpoint:
            await endpoint.read_request()
            if data:
                await endpoint.send(data)
            await endpoint.send_eof()
            response = await around.client.read_response()
            assert response.status == 502
            where = b"golb: function f in zone zone-a: endpoint %b: " % around.pod.authority.encode()
            assert response.body.startswith(where + cause)
            assert response.body.endswith(b"\n")
            assert response.head.values(b"Content-Type") == [b"text/plain; charset=utf-8"]
            assert await _rest(endpoint) == b""
        await around.client.send(request())  # the client's connection goes on
        async with await around.pod.accept() as endpoint:
            await endpoint.read_request()
            await endpoint.send(OK)
            assert (await around.client.read_response()).body == b"ok"


async def test_a_failed_call_leaves_others_alone() -> None:
    async with parties() as around, await around.golb.connect() as other:
        await around.client.send(request())
        first = await around.pod.accept()
        await other.send(request())
        second = await around.pod.accept()
        async with first, second:
            for endpoint in (first, second):
                await endpoint.read_request()
            await first.send(b"nonsense\r\n\r\n")
            assert (await around.client.read_response()).status == 502
            await second.send(OK)
            assert (await other.read_response()).body == b"ok"

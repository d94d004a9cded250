"""TLS: HTTP/2 by hypercorn, to whose version 0.18 these tests hold golb, and HTTP/1.1 by golb's own connection."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from support.endpoint import scripted_endpoint
from support.http2 import Answer, Http2Client, connect_http2
from support.stack import RunningServer, running_golb, running_server
from support.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from golb.asgi import Application, Receive, Scope, Send

GET = b"GET /path HTTP/1.1\r\nHost: localhost\r\n\r\n"
SIZE = 3 << 20
DATA = bytes(range(256)) * (SIZE // 256)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def http2_client(server: RunningServer, tls: TlsFiles, *, strict: bool = True) -> AsyncIterator[Http2Client]:
    client = await connect_http2(server.port, tls.client_context("h2"), strict=strict)
    try:
        yield client
    finally:
        await trio.aclose_forcefully(client.stream)


async def respond(send: Send, text: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    all_headers = [*headers, (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": text})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    parts = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        parts.append(event["body"])
        if not event["more_body"]:
            break
    text = b"%b %b %b" % (scope["http_version"].encode(), scope["method"].encode(), b"".join(parts))
    await respond(send, text, (b"x-path", scope["raw_path"]))


async def ignore(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, whatever the body."""
    await respond(send, b"no", status=404)


def test_the_version_of_hypercorn_is_the_one_that_these_tests_are_about() -> None:
    assert version("hypercorn").startswith("0.18.")


async def test_a_usual_client_speaks_http_2(tls: TlsFiles) -> None:
    async with running_server(echo, **tls.variables) as server:
        async with httpx.AsyncClient(http2=True, verify=tls.client_context()) as client:
            url = f"https://localhost:{server.port}/path?query"
            responses = [await client.get(url), await client.post(url, content=DATA)]
        assert [response.http_version for response in responses] == ["HTTP/2", "HTTP/2"]
        assert [response.content for response in responses] == [b"2 GET ", b"2 POST " + DATA]
        assert set(responses[0].headers) == {"content-length", "x-path"}


async def test_http_1_1_over_tls_is_golbs_own(tls: TlsFiles) -> None:
    async with (
        running_server(echo, **tls.variables) as server,
        await server.connect(tls.client_context("http/1.1")) as client,
    ):
        for _ in range(2):
            await client.send(GET)
            response = await client.read_response()
            assert response.head.headers == [(b"X-Path", b"/path"), (b"Content-Length", b"8")]
            assert response.body == b"1.1 GET "


async def test_a_client_that_negotiates_nothing_gets_http_1_1(tls: TlsFiles) -> None:
    async with running_server(echo, **tls.variables) as server, await server.connect(tls.client_context()) as client:
        await client.send(GET)
        assert (await client.read_response()).body == b"1.1 GET "


async def test_the_end_of_a_close_delimited_response_is_an_end_of_tls_too(tls: TlsFiles) -> None:
    # Without TLS's own end an attacker could cut the response, and clients would be right to complain.
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["scheme"] == "https"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"text"})

    async with running_server(application, **tls.variables) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        strict = trio.SSLStream(stream, tls.client_context(), server_hostname="localhost")
        await strict.send_all(b"GET / HTTP/1.0\r\n\r\n")
        received = b""
        while data := await strict.receive_some():  # trio.BrokenResourceError where that end is missing
            received += data
        assert received.endswith(b"\r\n\r\ntext")
        await strict.aclose()


async def test_a_cut_of_a_close_delimited_response_is_no_end_of_tls(tls: TlsFiles) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"text", "more_body": True})
        raise ValueError("a defect")

    async with (
        running_server(application, **tls.variables) as server,
        await server.connect(tls.client_context()) as client,
    ):
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await client.read_to_end()


async def test_a_large_upload_over_tls_passes(tls: TlsFiles) -> None:
    async with (
        running_server(echo, **tls.variables) as server,
        await server.connect(tls.client_context()) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.send, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (SIZE, DATA))
        assert (await client.read_response()).body == b"1.1 PUT " + DATA


async def test_a_refusal_over_tls_reaches_a_client_that_is_still_sending(tls: TlsFiles) -> None:
    async with running_server(echo, **tls.variables) as server, await server.connect(tls.client_context()) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 800)
        assert (await client.read_response()).status == 431


async def test_a_head_over_tls_that_does_not_come_to_its_end_gets_408(tls: TlsFiles) -> None:
    async with (
        running_server(echo, request_header_timeout="100ms", **tls.variables) as server,
        await server.connect(tls.client_context()) as client,
    ):
        await client.send(GET[:10])
        assert (await client.read_response()).status == 408


@pytest.mark.parametrize("first", ["client", "endpoint"])
async def test_a_tunnel_over_tls_ends_when_either_side_does(tls: TlsFiles, first: str) -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, **tls.variables) as golb,
            await golb.connect(tls.client_context()) as client,
        ):
            upgrade = b"Connection: upgrade\r\nUpgrade: proto\r\n\r\n"
            await client.send(b"GET /function/f HTTP/1.1\r\nHost: a\r\n" + upgrade + b"early")
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade)
                await client.read_head()
                assert await endpoint.read_exactly(5) == b"early"
                await endpoint.send(b"answer")
                assert await client.read_exactly(6) == b"answer"
                if first == "client":
                    await client.close()
                    assert await endpoint.read_to_end() == b""
                else:
                    await endpoint.send_eof()
                    assert await client.read_to_end() == b""


async def test_who_speaks_no_tls_or_says_nothing_leaves_others_alone(tls: TlsFiles) -> None:
    async with running_server(echo, request_header_timeout="100ms", **tls.variables) as server:
        async with await server.connect() as plain, await server.connect() as silent:
            await plain.send(GET)
            with pytest.raises((trio.BrokenResourceError, EOFError)):
                await plain.read_head()
            assert await silent.read_to_end() == b""
        with pytest.raises(trio.BrokenResourceError) as caught:
            await server.connect(ssl.create_default_context())  # trusts nobody here
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        async with await server.connect(tls.client_context()) as client:
            await client.send(GET)
            assert (await client.read_response()).status == 200


async def test_streams_are_served_side_by_side(tls: TlsFiles) -> None:
    go_on = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["raw_path"] == b"/slow":
            await go_on.wait()
        await echo(scope, receive, send)

    async with running_server(application, **tls.variables) as server, http2_client(server, tls) as client:
        slow = await client.request(b"/slow")
        for _ in range(3):
            assert (await client.answer(await client.request())).status == 200
        go_on.set()
        assert (await client.answer(slow)).body == b"2 GET "


async def test_a_connection_carries_any_number_of_requests(tls: TlsFiles) -> None:
    async with running_server(ignore, **tls.variables) as server, http2_client(server, tls) as client:
        for _ in range(13):
            streams = [await client.request() for _ in range(80)]
            for stream_id in streams:
                assert (await client.answer(stream_id)).body == b"no"


async def test_a_function_is_called_over_http_2_as_over_http_1_1(tls: TlsFiles) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **tls.variables) as golb, http2_client(golb, tls) as client:
            stream_id = await client.request(
                b"/function/f/a%20b?c", (b"x-mine", b"1"), (b"te", b"trailers"), (b"x-forwarded-for", b"10.0.0.1")
            )
            async with await pod.accept() as endpoint:
                head = await endpoint.read_head()
                assert head.first_line == b"GET /a%20b?c HTTP/1.1"
                assert head.values(b"Host") == head.values(b"X-Final-Host") == [pod.authority.encode()]
                assert head.values(b"X-Forwarded-For") == [b"10.0.0.1, eb-a, 127.0.0.1"]
                assert (head.values(b"X-Mine"), head.values(b"TE")) == ([b"1"], [b"trailers"])
                assert not head.values(b"Content-Length")
                assert not head.values(b"Transfer-Encoding")
                await endpoint.send(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Start: 2\r\n\r\n"
                    b"5\r\nhello\r\n0\r\nX-Sum: 3\r\n\r\n"
                )
                answer = await client.answer(stream_id)
                assert (answer.status, answer.body, answer.trailers) == (200, b"hello", [(b"x-sum", b"3")])
                assert answer.names == [
                    b":status",
                    b"x-final-host",
                    b"x-forwarded-for",
                    b"x-forwarded-host-eb-a",
                    b"x-start",
                ]


@pytest.mark.parametrize("with_length", [True, False])
async def test_bodies_pass_both_ways_at_once(tls: TlsFiles, *, with_length: bool) -> None:
    # The endpoint sends back what it gets as it gets it: whoever waits for one direction to end would wait for ever.
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **tls.variables) as golb, http2_client(golb, tls) as client:
            extra = [(b"content-length", b"%d" % SIZE)] if with_length else []
            stream_id = await client.request(b"/function/f", *extra, method=b"POST", end=False)
            async with trio.open_nursery() as nursery:

                async def send_back() -> None:
                    async with await pod.accept() as endpoint:
                        head = await endpoint.read_head()
                        await endpoint.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                        if head.values(b"Content-Length"):
                            left = SIZE
                            while left:
                                data = await endpoint.read_some()
                                left -= len(data)
                                await endpoint.send(data)
                        else:
                            while data := await endpoint.read_chunk():
                                await endpoint.send(data)

                nursery.start_soon(send_back)
                await client.upload(stream_id, DATA)
                assert (await client.answer(stream_id)).body == DATA


async def test_a_request_without_an_answer_gets_502(tls: TlsFiles) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **tls.variables) as golb, http2_client(golb, tls) as client:
            stream_id = await client.request(b"/function/f")
            await (await pod.accept()).reset()
            answer = await client.answer(stream_id)
            assert (answer.status, answer.ended) == (502, True)
            assert answer.body.startswith(b"golb: function f in zone zone-a: endpoint ")


async def test_an_answer_that_breaks_off_resets_its_stream_only(tls: TlsFiles) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **tls.variables) as golb, http2_client(golb, tls) as client:
            cut = await client.request(b"/function/f/cut")
            first = await pod.accept()
            whole = await client.request(b"/function/f/whole")
            second = await pod.accept()
            async with first, second:
                await first.read_head()
                await first.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                await first.send_eof()
                answer = await client.answer(cut)
                assert (answer.status, answer.ended, answer.reset) == (200, False, ErrorCodes.INTERNAL_ERROR)
                await second.read_head()
                await second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert (await client.answer(whole)).body == b"ok"


async def test_a_client_that_resets_its_stream_cancels_the_call(tls: TlsFiles) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **tls.variables) as golb, http2_client(golb, tls) as client:
            stream_id = await client.request(b"/function/f")
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                client.h2.reset_stream(stream_id)
                await client.flush()
                assert await endpoint.read_to_end() == b""
            other = await client.request(b"/function/f")
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                await endpoint.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert (await client.answer(other)).body == b"ok"


async def test_a_client_that_goes_away_cancels_its_calls(tls: TlsFiles) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **tls.variables) as golb:
            async with http2_client(golb, tls) as client:
                await client.request(b"/function/f")
                endpoint = await pod.accept()
                await endpoint.read_head()
            async with endpoint:
                assert await endpoint.read_to_end() == b""


async def test_a_client_that_goes_away_in_the_middle_of_an_answer_ends_its_calls(tls: TlsFiles) -> None:
    ended = trio.Event()
    application = endless_until(ended)
    async with running_server(application, client_idle_timeout="0", **tls.variables) as server:
        async with http2_client(server, tls) as client:
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
            client.h2.increment_flow_control_window(1 << 30)
            await client.request()
            while not client.answers[1].body:
                await client.read_once()
        await ended.wait()


# Applications that fail.


async def test_an_application_that_fails_is_answered_for(tls: TlsFiles) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["raw_path"] == b"/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"some", "more_body": True})
        raise ValueError("a defect")

    async with running_server(application, **tls.variables) as server, http2_client(server, tls) as client:
        answer = await client.answer(await client.request(b"/early"))
        assert (answer.status, answer.body) == (500, b"golb: the request could not be answered\n")
        answer = await client.answer(await client.request(b"/late"))
        assert (answer.status, answer.reset) == (200, ErrorCodes.INTERNAL_ERROR)
        assert (await client.answer(await client.request(b"/early"))).status == 500


# What HTTP/1.1 could not carry.


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (b"/a b", b"GET", 400),
        (b"/ HTTP/1.1", b"GET", 400),
        (b"/a#b", b"GET", 400),
        (b"/\xc3\xa9", b"GET", 400),
        (b"a", b"GET", 400),
        (b"*", b"GET", 400),
        (b"/", b"G T", 400),
        (b"/", b"G\xc3\xa9T", 400),
        (b"/" + b"a" * 32768, b"GET", 414),
        (b"*", b"OPTIONS", 200),
        (b"/" + b"a" * 32767, b"GET", 200),
    ],
)
async def test_a_target_that_could_not_stand_in_a_request_line_is_refused(
    tls: TlsFiles, path: bytes, method: bytes, status: int
) -> None:
    async with running_server(echo, **tls.variables) as server, http2_client(server, tls, strict=False) as client:
        assert (await client.answer(await client.request(path, method=method))).status == status
        assert (await client.answer(await client.request())).status == 200


async def test_too_many_headers_are_refused(tls: TlsFiles) -> None:
    async with running_server(echo, **tls.variables) as server, http2_client(server, tls) as client:
        extra = [(b"x-%d" % number, b"1") for number in range(201)]
        assert (await client.answer(await client.request(b"/", *extra))).status == 431


async def test_connect_is_refused_and_websockets_are_not_announced(tls: TlsFiles) -> None:
    async with running_server(echo, **tls.variables) as server, http2_client(server, tls, strict=False) as client:
        stream_id = client.h2.get_next_available_stream_id()
        client.answers[stream_id] = Answer()
        client.h2.send_headers(stream_id, [(b":method", b"CONNECT"), (b":authority", b"a:80")])
        await client.flush()
        assert (await client.answer(stream_id)).status == 501
        assert client.h2.remote_settings.enable_connect_protocol == 0


# Clients that misbehave.


async def expect_serves(server: RunningServer, tls: TlsFiles) -> None:
    async with http2_client(server, tls) as client:
        assert (await client.answer(await client.request())).ended


async def test_data_behind_an_answer_ends_nothing(tls: TlsFiles) -> None:
    async with running_server(ignore, **tls.variables) as server, http2_client(server, tls) as client:
        stream_id = await client.request(method=b"POST", end=False)
        assert (await client.answer(stream_id)).status == 404
        await client.upload(stream_id, DATA)
        assert (await client.answer(await client.request())).status == 404  # on the same connection
        await expect_serves(server, tls)


async def test_a_body_that_nobody_reads_blocks_no_other_stream(tls: TlsFiles) -> None:
    hold = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await hold.wait()
        await ignore(scope, receive, send)

    async with running_server(application, **tls.variables) as server, http2_client(server, tls) as client:
        stream_id = await client.request(method=b"POST", end=False)
        async with trio.open_nursery() as nursery:

            async def fill() -> None:
                while window := client.h2.local_flow_control_window(stream_id):
                    client.send_data(stream_id, bytes(min(window, 1000)), end=False)
                    await client.flush()

            nursery.start_soon(fill)
        assert (await client.answer(await client.request())).status == 404
        assert client.h2.local_flow_control_window(stream_id) == 0  # what is not taken is not asked for
        hold.set()
        assert (await client.answer(stream_id)).status == 404
        await client.upload(stream_id, DATA)
        assert (await client.answer(await client.request())).status == 404


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x00\x00\x04\x08\x00\x00\x00\x00\x09\x00\x00\x00\x01", id="window of an unused stream"),
        pytest.param(b"\x00\x00\x01\x00\x00\x00\x00\x00\x09a", id="data on an unused stream"),
        pytest.param(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", id="frame too large"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="another protocol"),
        pytest.param(b"\x00\x00\x00\x09\x04\x00\x00\x00\x01", id="continuation of nothing"),
        pytest.param(b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x01\x10", id="stream depends on itself"),
    ],
)
async def test_frames_that_are_wrong_end_their_connection_at_most(tls: TlsFiles, junk: bytes) -> None:
    async with running_server(ignore, **tls.variables) as server, http2_client(server, tls) as client:
        await client.answer(await client.request())
        await client.stream.send_all(junk)
        await client.stream.send_all(client.h2.data_to_send())
        await trio.testing.wait_all_tasks_blocked()
        await expect_serves(server, tls)
        server.server.drain()
        await server.stopped.wait()


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})


def endless_until(ended: trio.Event) -> Application:
    """Return the same, which says by the event that it has come to an end all the same."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await endless(scope, receive, send)
        finally:
            ended.set()

    return application


async def test_a_client_that_opens_no_window_is_given_up(tls: TlsFiles) -> None:
    ended = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["raw_path"] != b"/endless":
            await echo(scope, receive, send)
            return
        try:
            await endless(scope, receive, send)
        finally:
            ended.set()

    async with (
        running_server(application, client_idle_timeout="200ms", **tls.variables) as server,
        http2_client(server, tls) as client,
    ):
        stream_id = await client.request(b"/endless")
        answer = client.answers[stream_id]
        while answer.reset is None:
            await client.read_once(acknowledge=False)
        assert ended.is_set()
        assert len(answer.body) == 65535
        await expect_serves(server, tls)


async def test_a_body_that_stalls_gets_408_and_the_endpoint_sees_it_cut(tls: TlsFiles) -> None:
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, client_idle_timeout="200ms", **tls.variables) as golb,
            http2_client(golb, tls) as client,
        ):
            stream_id = await client.request(b"/function/f", method=b"POST", body=b"begun", end=False)
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                assert await endpoint.read_chunk() == b"begun"
                answer = await client.answer(stream_id)
                assert (answer.status, answer.ended) == (408, True)
                assert await endpoint.read_to_end() == b""


async def test_a_client_that_stops_reading_is_given_up(tls: TlsFiles) -> None:
    ended = trio.Event()
    application = endless_until(ended)
    async with (
        running_server(application, client_idle_timeout="200ms", **tls.variables) as server,
        http2_client(server, tls) as client,
    ):
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        client.h2.increment_flow_control_window(1 << 30)
        await client.request()
        await ended.wait()
        server.server.drain()
        await server.stopped.wait()


# Drain.


async def test_a_drain_lets_a_request_in_flight_finish_and_refuses_new_ones(tls: TlsFiles) -> None:
    finish = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await finish.wait()
        await respond(send, DATA)

    async with running_server(application, **tls.variables) as server, http2_client(server, tls) as client:
        stream_id = await client.request()
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        await trio.testing.wait_all_tasks_blocked()
        refused = await client.request()
        assert (await client.answer(refused)).reset == ErrorCodes.REFUSED_STREAM
        finish.set()
        answer = await client.answer(stream_id)
        assert (answer.ended, answer.body) == (True, DATA)
        await client.read_to_end()
        assert client.terminated
        await server.stopped.wait()


async def test_a_drain_closes_idle_connections(tls: TlsFiles) -> None:
    async with (
        running_server(ignore, **tls.variables) as server,
        http2_client(server, tls) as used,
        http2_client(server, tls) as fresh,
    ):
        await used.answer(await used.request())
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        for client in (used, fresh):
            await client.read_to_end()
            assert client.terminated
        await server.stopped.wait()


@pytest.mark.parametrize("opens_windows", [True, False], ids=["stops reading", "opens no window"])
async def test_a_client_that_does_not_read_does_not_block_a_drain(tls: TlsFiles, *, opens_windows: bool) -> None:
    async with (
        running_server(endless, drain_timeout="200ms", **tls.variables) as server,
        http2_client(server, tls) as client,
    ):
        if opens_windows:
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
            client.h2.increment_flow_control_window(1 << 30)
        await client.request()
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        await server.stopped.wait()


async def test_a_client_in_its_handshake_does_not_block_a_drain(tls: TlsFiles) -> None:
    async with running_server(echo, drain_timeout="100ms", **tls.variables) as server, await server.connect() as client:
        await client.send(b"\x16")
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        await server.stopped.wait()
        assert await client.read_to_end() == b""


async def test_a_client_that_ends_without_a_word_does_not_block_a_drain(tls: TlsFiles) -> None:
    async with running_server(echo, **tls.variables) as server:
        async with http2_client(server, tls) as client:
            await client.request(method=b"POST", end=False)
            await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        await server.stopped.wait()


async def test_idle_connections_are_closed_after_their_time(tls: TlsFiles) -> None:
    async with (
        running_server(ignore, keep_alive_timeout="100ms", **tls.variables) as server,
        http2_client(server, tls) as client,
    ):
        await client.answer(await client.request())
        await client.read_to_end()
        assert client.terminated
        with pytest.raises(ProtocolError):
            await client.request()

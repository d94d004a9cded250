"""golb's own HTTP/1.1 connection, over real sockets, with small ASGI applications."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from support.stack import running_server
from support.wire import parse_head

from golb.deadlines import Deadlines
from golb.poller import Poller
from golb.server.connection import Connection, Peer
from golb.server.timeouts import Timeouts
from golb.sockets import SocketStream

if TYPE_CHECKING:
    from support.wire import Wire

    from golb.asgi import Application, Event, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SIZE = 3 << 20


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: object) -> Event:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data: bytes = b"", *, more: bool = False) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


def post(*lines: bytes, data: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *lines]) + b"\r\n\r\n" + data


def answering(*events: Event) -> Application:
    """Make an application that sends these events, whatever the request."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events:
            await send(event)

    return application


async def read_body(receive: Receive) -> tuple[bytes, Event]:
    """Return the body of a request and its last event."""
    parts: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return b"".join(parts), event
        parts.append(event["body"])
        if not event["more_body"]:
            return b"".join(parts), event


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the request was, once it has come whole."""
    data, last = await read_body(receive)
    if last["type"] == "http.disconnect":
        return
    trailers = b"".join(b" %b=%b" % trailer for trailer in last.get("trailers", []))
    text = b"%b %b %b%b" % (scope["method"].encode(), scope["golb.target"], data, trailers)
    await send(start((b"content-length", b"%d" % len(text))))
    await send(body(text))


async def expect_end(client: Wire) -> None:
    """See the connection end, in order, with nothing more on it."""
    assert await client.read_to_end() == b""


async def test_a_connection_carries_one_request_after_the_other() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        for number in range(3):
            await client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            response = await client.read_response()
            assert (response.status, response.body) == (200, b"GET /%d " % number)
            assert response.head.names() == [b"Content-Length"]


PIPELINE = (
    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    b"GET /4 HTTP/1.1\r\nHost: a\r\nUpgrade: proto\r\nConnection: upgrade\r\n\r\n"
    b"DELETE /5 HTTP/1.1\r\nHost: a\r\n\r\n"
)
PIPELINED = [b"GET /1 ", b"POST /2 hello", b"PUT /3 abcde x-t=1", b"GET /4 ", b"DELETE /5 "]


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 50, 64, 1000])
async def test_pipelined_requests_are_answered_in_order_in_any_cuts(piece_bytes: int) -> None:
    async with running_server(echo) as server, await server.connect() as client:
        for begin in range(0, len(PIPELINE), piece_bytes):
            await client.send(PIPELINE[begin : begin + piece_bytes])
            await trio.testing.wait_all_tasks_blocked()
        assert [(await client.read_response()).body for _ in PIPELINED] == PIPELINED


async def test_every_two_part_cut_of_pipelined_requests_is_answered_alike() -> None:
    async with running_server(echo) as server:
        for cut in range(1, len(PIPELINE)):
            async with await server.connect() as client:
                await client.send(PIPELINE[:cut])
                await trio.testing.wait_all_tasks_blocked()
                await client.send(PIPELINE[cut:])
                assert [(await client.read_response()).body for _ in PIPELINED] == PIPELINED


async def test_http_1_0_ends_with_its_response() -> None:
    async with running_server(answering(start(), body(b"text"))) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        head = await client.read_head()
        assert (head.first_line, head.headers) == (b"HTTP/1.1 200 OK", [(b"Connection", b"close")])
        assert await client.read_to_end() == b"text"


async def test_http_1_0_with_keep_alive_goes_on_where_the_length_is_known() -> None:
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    async with running_server(echo) as server, await server.connect() as client:
        for _ in range(2):
            await client.send(request)
            response = await client.read_response()
            assert (response.body, response.head.values(b"Connection")) == (b"GET / ", [b"keep-alive"])


async def test_http_1_0_with_keep_alive_ends_where_the_length_is_not_known() -> None:
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    async with running_server(answering(start(), body(b"text"))) as server, await server.connect() as client:
        await client.send(request)
        head = await client.read_head()
        assert head.headers == [(b"Connection", b"close")]
        assert await client.read_to_end() == b"text"


async def test_a_client_that_asks_for_it_has_its_connection_closed() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        response = await client.read_response()
        assert response.head.values(b"Connection") == [b"close"]
        await expect_end(client)


async def test_bytes_behind_the_last_request_do_not_cost_its_response() -> None:
    # Closing a socket with unread bytes resets it, and what the client has not received yet is lost.
    async with running_server(answering(start(), body(b"b" * SIZE))) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await client.read_head()
        await client.send(GET)
        received, _ = await client.read_chunked()
        assert len(received) == SIZE
        await expect_end(client)


@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
@pytest.mark.parametrize("status", [204, 304])
async def test_some_statuses_have_no_body(method: bytes, status: int) -> None:
    events = [start((b"content-length", b"4"), (b"etag", b'"x"'), status=status), body(b"body")]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        for _ in range(2):
            await client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await client.read_head()
            assert head.status == status
            assert head.values(b"Content-Length") == ([] if status == 204 else [b"4"])
            assert not head.values(b"Transfer-Encoding")


async def test_a_response_to_head_has_the_length_and_no_body() -> None:
    events = [start((b"content-length", b"4")), body(b"body")]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        for _ in range(2):
            assert (await client.read_head()).values(b"Content-Length") == [b"4"]


async def test_a_body_of_unknown_length_goes_out_in_chunks() -> None:
    events = [start(), body(b"abc", more=True), body(b"", more=True), body(b"de", more=True), body()]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        await client.send(GET * 2)
        for _ in range(2):
            head = await client.read_head()
            assert head.headers == [(b"Transfer-Encoding", b"chunked")]
            assert [await client.read_chunk() for _ in range(3)] == [b"abc", b"de", b""]
            assert await client.read_exactly(2) == b"\r\n"


async def test_a_body_of_known_length_goes_out_as_it_is() -> None:
    events = [start((b"Content-length", b"5")), body(b"abc", more=True), body(b"de")]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        await client.send(GET)
        assert await client.read_until(b"abcde") == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"


async def test_head_and_first_piece_leave_in_one_write() -> None:
    async with (
        running_server(answering(start((b"content-length", b"2")), body(b"ok"))) as server,
        await server.connect() as client,
    ):
        await client.send(GET)
        assert await client.read_some() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_an_empty_piece_lets_the_head_go_at_once() -> None:
    go_on = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(more=True))
        await go_on.wait()
        await send(body(b"late"))

    async with running_server(application) as server, await server.connect() as client:
        await client.send(GET)
        assert (await client.read_head()).status == 200
        go_on.set()
        assert await client.read_chunked() == (b"late", [])


async def test_trailers_follow_the_last_chunk() -> None:
    trailers: Event = {"type": "http.response.trailers", "headers": [(b"x-checksum", b"1"), (b"connection", b"x")]}
    events = [start(trailers=True), body(b"abc"), trailers]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        await client.send(GET * 2)
        for _ in range(2):
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"abc", [(b"X-Checksum", b"1")])


async def test_trailers_have_no_place_in_http_1_0() -> None:
    events = [start(trailers=True), body(b"abc"), {"type": "http.response.trailers", "headers": [(b"x", b"1")]}]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.read_head()
        assert await client.read_to_end() == b"abc"


async def test_chunked_request_bodies_arrive_with_their_trailers() -> None:
    request = post(b"Transfer-Encoding: chunked", data=b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n")
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(request)
        assert (await client.read_response()).body == b"POST / abcd x-a=1 x-b="


async def test_large_bodies_pass_both_ways() -> None:
    data = bytes(range(256)) * (SIZE // 256)
    framed = [
        post(b"Content-Length: %d" % SIZE, data=data),
        post(b"Transfer-Encoding: chunked", data=b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, data)),
    ]
    async with running_server(echo) as server, await server.connect() as client:
        for request in framed:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, request)
                assert (await client.read_response()).body == b"POST / " + data


# Expect: 100-continue.

EXPECTING = post(b"Content-Length: 5", b"Expect: 100-continue")


async def test_a_client_is_told_to_continue_only_when_its_body_is_read() -> None:
    read_now = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await read_now.wait()
        await echo(scope, receive, send)

    async with running_server(application) as server, await server.connect() as client:
        await client.send(EXPECTING)
        with trio.move_on_after(0.05) as waited:
            await client.read_some()
        assert waited.cancelled_caught
        read_now.set()
        assert await client.read_head() == parse_head(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.send(b"hello")
        assert (await client.read_response()).body == b"POST / hello"
        await client.send(GET)
        assert (await client.read_response()).body == b"GET / "


async def test_a_body_that_was_sent_without_waiting_needs_no_continue() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(EXPECTING + b"hello")
        assert (await client.read_response()).body == b"POST / hello"


async def test_a_final_answer_instead_of_continue_ends_the_connection() -> None:
    async with (
        running_server(answering(start((b"content-length", b"0"), status=417), body())) as server,
        await server.connect() as client,
    ):
        await client.send(EXPECTING)
        response = await client.read_response()
        assert (response.status, response.head.values(b"Connection")) == (417, [b"close"])
        await expect_end(client)


async def test_http_1_0_is_not_told_to_continue() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"hello")
        assert (await client.read_response()).body == b"POST / hello"


# Informational responses.


async def test_early_hints_precede_the_response() -> None:
    hints: Event = {"type": "golb.informational", "status": 103, "headers": [(b"link", b"</a.css>")]}
    async with (
        running_server(answering(hints, hints, start(), body(b"ok"))) as server,
        await server.connect() as client,
    ):
        await client.send(GET)
        for _ in range(2):
            head = await client.read_head()
            assert (head.status, head.headers) == (103, [(b"Link", b"</a.css>")])
        assert (await client.read_response()).body == b"ok"


async def test_http_1_0_gets_no_informational_response() -> None:
    hints: Event = {"type": "golb.informational", "status": 103, "headers": []}
    async with running_server(answering(hints, start(), body(b"ok"))) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read_head()).status == 200


# Tunnels.

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: proto\r\n\r\n"


async def shout(scope: Scope, receive: Receive, send: Send) -> None:
    """Switch protocols, send everything back in capitals, and say goodbye at its end."""
    assert "golb.tunnel" in scope["extensions"]
    await send(start((b"upgrade", b"proto"), status=101))
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        if not event["more_body"]:
            break
        await send(body(event["body"].upper(), more=True))
    await send(body(b"bye", more=True))
    await send(body())


async def test_a_tunnel_carries_bytes_both_ways_and_ends_each_way_by_itself() -> None:
    async with running_server(shout) as server, await server.connect() as client:
        await client.send(UPGRADE)
        head = await client.read_head()
        assert head.first_line == b"HTTP/1.1 101 Switching Protocols"
        assert head.headers == [(b"Connection", b"Upgrade"), (b"Upgrade", b"proto")]
        for word in (b"hello", b"\x00\xff GET / HTTP/1.1\r\n\r\n"):
            await client.send(word)
            assert await client.read_exactly(len(word)) == word.upper()
        await client.send_eof()
        assert await client.read_to_end() == b"bye"


async def test_bytes_sent_ahead_of_the_switch_reach_the_tunnel() -> None:
    async with running_server(shout) as server, await server.connect() as client:
        await client.send(UPGRADE + b"early")
        await client.read_head()
        await client.send(b"later")
        assert await client.read_exactly(10) == b"EARLYLATER"


async def test_bytes_sent_while_the_application_watches_for_the_client_reach_the_tunnel() -> None:
    switch = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
            nursery.start_soon(receive)
            await switch.wait()
            nursery.cancel_scope.cancel()
        await shout(scope, receive, send)

    async with running_server(application) as server, await server.connect() as client:
        await client.send(UPGRADE + b"ear")
        await client.send(b"ly")
        await trio.testing.wait_all_tasks_blocked()
        switch.set()
        await client.read_head()
        assert await client.read_exactly(5) == b"EARLY"


async def test_a_tunnel_ends_from_the_servers_side_first() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"upgrade", b"proto"), status=101))
        await send(body(b"bye"))
        assert (await read_body(receive))[0] == b"still here"

    async with running_server(application) as server, await server.connect() as client:
        await client.send(UPGRADE)
        await client.read_head()
        assert await client.read_to_end() == b"bye"
        await client.send(b"still here")
        await client.send_eof()


async def test_a_tunnel_that_breaks_off_is_reset() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"upgrade", b"proto"), status=101))

    async with running_server(application) as server, await server.connect() as client:
        await client.send(UPGRADE)
        with pytest.raises(trio.BrokenResourceError):
            await client.read_to_end()


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"Connection: Upgrade", b"X: y"),
        UPGRADE.replace(b"Host: a", b"Host: a\r\nContent-Length: 2") + b"ab",
    ],
    ids=["not asked for", "HTTP/1.0", "not named in Connection", "with a body"],
)
async def test_nobody_is_switched_who_has_not_asked(request_bytes: bytes) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert "golb.tunnel" not in scope["extensions"]
        await send(start((b"upgrade", b"proto"), status=101))

    async with running_server(application) as server, await server.connect() as client:
        await client.send(request_bytes)
        assert (await client.read_response()).status == 500
        await expect_end(client)


# Applications that fail.


async def test_an_application_that_fails_before_its_response_is_answered_for() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a defect")

    async with running_server(application) as server, await server.connect() as client:
        await client.send(GET)
        response = await client.read_response()
        assert (response.status, response.head.values(b"Connection")) == (500, [b"close"])
        assert response.body == b"golb: the request could not be answered\n"
        await expect_end(client)


async def test_an_application_that_answers_nothing_is_answered_for() -> None:
    async with running_server(answering()) as server, await server.connect() as client:
        await client.send(GET)
        assert (await client.read_response()).status == 500


async def test_an_application_that_fails_after_the_start_ends_the_connection_visibly() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"some", more=True))
        raise ValueError("a defect")

    async with running_server(application) as server:
        async with await server.connect() as client:
            await client.send(GET)
            await client.read_head()
            assert await client.read_to_end() == b"4\r\nsome\r\n"  # no last chunk
        async with await server.connect() as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.read_head()
            with pytest.raises(trio.BrokenResourceError):  # an end would be the body's
                await client.read_to_end()


async def test_one_failing_request_leaves_other_connections_alone() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise ValueError("a defect")
        await echo(scope, receive, send)

    async with running_server(application) as server, await server.connect() as other:
        async with await server.connect() as client:
            await client.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_response()).status == 500
        await other.send(GET)
        assert (await other.read_response()).status == 200


@pytest.mark.parametrize("data", [b"abc", b"abcdef"], ids=["too short", "too long"])
async def test_a_body_of_another_length_than_promised_is_never_whole(data: bytes) -> None:
    events = [start((b"content-length", b"5")), body(b"", more=True), body(data)]
    async with running_server(answering(*events)) as server, await server.connect() as client:
        await client.send(GET)
        await client.read_head()
        assert len(await client.read_to_end()) < 5


@pytest.mark.parametrize(
    "events",
    [
        [start((b"x", b"a\r\nSet-Cookie: b"))],
        [start((b"x", b"a\nb"))],
        [start((b"x", b"a\rb"))],
        [start((b"x\r\nset-cookie", b"b"))],
        [start((b"x: y", b"b"))],
        [start((b"", b"b"))],
        [start((b"content-length", b"1"), (b"content-length", b"2"))],
        [start(status=1000)],
        [{"type": "golb.informational", "status": 103, "headers": [(b"x", b"a\r\nSet-Cookie: b")]}],
    ],
    ids=[
        "CRLF in a value",
        "LF in a value",
        "CR in a value",
        "CRLF in a name",
        "colon in a name",
        "no name",
        "two lengths",
        "no status",
        "CRLF in an informational one",
    ],
)
async def test_a_response_is_not_split(events: list[Event]) -> None:
    async with running_server(answering(*events, body(b"ok"))) as server, await server.connect() as client:
        await client.send(GET)
        response = await client.read_response()
        assert (response.status, response.head.names()) == (500, [b"Content-Type", b"Content-Length", b"Connection"])


async def test_trailers_split_nothing() -> None:
    trailers: Event = {"type": "http.response.trailers", "headers": [(b"x", b"a\r\n\r\nHTTP/1.1 200 OK")]}
    async with (
        running_server(answering(start(trailers=True), body(b"abc"), trailers)) as server,
        await server.connect() as client,
    ):
        await client.send(GET)
        await client.read_head()
        assert await client.read_to_end() == b"3\r\nabc\r\n"


async def test_events_out_of_order_are_refused() -> None:
    refused = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        out_of_order: list[list[Event]] = [
            [body(b"x")],
            [{"type": "http.response.trailers", "headers": []}],
            [start(), start()],
            [{"type": "golb.informational", "status": 103, "headers": []}],
            [{"type": "websocket.accept"}],
            [body(b"ok"), body(b"x")],
        ]
        for *good, bad in out_of_order:
            for event in good:
                await send(event)
            with pytest.raises((RuntimeError, ValueError)) as caught:
                await send(bad)
            refused.append(caught.type)

    async with running_server(application) as server, await server.connect() as client:
        await client.send(GET)
        assert (await client.read_response()).body == b"ok"
        await trio.testing.wait_all_tasks_blocked()
        assert refused == [RuntimeError, RuntimeError, RuntimeError, RuntimeError, ValueError, RuntimeError]


# Clients that go away, and bodies that nobody reads.


async def test_receive_tells_that_the_client_has_gone() -> None:
    events: list[Event] = []
    gone = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        events.extend([await receive(), await receive(), await receive()])
        gone.set()

    async with running_server(application) as server:
        async with await server.connect() as client:
            await client.send(GET)
            await trio.testing.wait_all_tasks_blocked()
        await gone.wait()
    assert [event["type"] for event in events] == ["http.request", "http.disconnect", "http.disconnect"]


async def test_receive_tells_that_the_client_went_away_in_its_body() -> None:
    events: list[Event] = []
    gone = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        events.extend([await receive(), await receive()])
        gone.set()

    async with running_server(application) as server:
        async with await server.connect() as client:
            await client.send(post(b"Content-Length: 5", data=b"hel"))
            await trio.testing.wait_all_tasks_blocked()
            await client.reset()
        await gone.wait()
    assert [event["type"] for event in events] == ["http.request", "http.disconnect"]


async def test_sending_to_a_client_that_has_gone_is_an_oserror() -> None:
    failures = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        try:
            await send(start())
            while True:
                await send(body(b"data", more=True))
        except OSError as exc:
            failures.append(exc)
            raise

    async with running_server(application) as server:
        async with await server.connect() as client:
            await client.send(GET)
            await trio.testing.wait_all_tasks_blocked()
            await client.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert len(failures) == 1


async def test_a_pipelined_request_is_not_taken_for_a_client_that_goes() -> None:
    answered = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/slow":
            await echo(scope, receive, send)
            return
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await receive()
                await receive()
                raise AssertionError("the client is still there")

            nursery.start_soon(watch)
            await answered.wait()
            nursery.cancel_scope.cancel()
        await send(start((b"content-length", b"4")))
        await send(body(b"slow"))

    async with running_server(application) as server, await server.connect() as client:
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET[:10])
        await trio.testing.wait_all_tasks_blocked()
        await client.send(GET[10:])
        await trio.testing.wait_all_tasks_blocked()
        answered.set()
        assert (await client.read_response()).body == b"slow"
        assert (await client.read_response()).body == b"GET / "


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        (b"Content-Length: 200000", b"a" * 200000),
        (b"Transfer-Encoding: chunked", b"30d40\r\n" + b"a" * 200000 + b"\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_that_was_not_read_is_got_past(framing: bytes, data: bytes) -> None:
    async with (
        running_server(answering(start((b"content-length", b"2")), body(b"ok"))) as server,
        await server.connect() as client,
    ):
        for _ in range(2):
            await client.send(post(framing, data=data))
            assert (await client.read_response()).body == b"ok"


async def test_a_body_that_was_not_read_and_is_too_long_ends_the_connection() -> None:
    async with (
        running_server(answering(start((b"content-length", b"2")), body(b"ok"))) as server,
        await server.connect() as client,
    ):
        await client.send(post(b"Content-Length: 1000000000"))
        assert (await client.read_response()).body == b"ok"
        await client.send_until_broken(b"a" * 65536)


# Refusals, on the wire.


async def test_a_refusal_is_answered_in_words_and_ends_the_connection() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(GET + b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        assert (await client.read_response()).status == 200
        response = await client.read_response()
        assert (response.status, response.body) == (400, b"golb: a request target has no fragment\n")
        assert response.head.headers == [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(response.body)),
            (b"Connection", b"close"),
        ]
        await expect_end(client)


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 800)
        assert (await client.read_response()).status == 431
        await expect_end(client)


async def test_a_malformed_body_is_answered_if_there_is_no_response_yet() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(post(b"Transfer-Encoding: chunked", data=b"3\r\nabc\r\n"))
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"zz\r\n")
        assert (await client.read_response()).status == 400
        await expect_end(client)


async def test_a_malformed_body_ends_a_response_that_has_begun() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"begun", more=True))
        await read_body(receive)

    async with running_server(application) as server, await server.connect() as client:
        await client.send(post(b"Transfer-Encoding: chunked"))
        await client.read_head()
        await client.send(b"zz\r\n")
        assert await client.read_to_end() == b"5\r\nbegun\r\n"


async def test_a_malformed_body_that_nobody_reads_ends_the_connection_behind_the_response() -> None:
    async with (
        running_server(answering(start((b"content-length", b"2")), body(b"ok"))) as server,
        await server.connect() as client,
    ):
        await client.send(post(b"Transfer-Encoding: chunked"))
        assert (await client.read_response()).body == b"ok"
        await client.send(b"zz\r\n" + GET)
        await expect_end(client)


# The end of the server.


async def test_a_drain_lets_a_request_in_flight_finish_and_closes_idle_connections() -> None:
    finish = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await finish.wait()
        await send(start((b"content-length", b"2")))
        await send(body(b"ok"))

    async with running_server(application) as server:
        async with await server.connect() as idle, await server.connect() as busy, await server.connect() as streaming:
            finish.set()
            for client in (idle, streaming):
                await client.send(GET)
                await client.read_response()
            finish = trio.Event()
            await busy.send(GET)
            await trio.testing.wait_all_tasks_blocked()
            server.server.drain()
            await expect_end(idle)
            await expect_end(streaming)
            assert not server.stopped.is_set()
            finish.set()
            response = await busy.read_response()
            assert (response.body, response.head.values(b"Connection")) == (b"ok", [b"close"])
            await expect_end(busy)
        await server.stopped.wait()


async def test_a_connection_whose_request_is_on_its_way_is_served_by_a_draining_server() -> None:
    async with running_server(echo) as server, await server.connect() as client:
        await client.send(GET[:20])
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        await trio.testing.wait_all_tasks_blocked()
        await client.send(GET[20:])
        assert (await client.read_response()).status == 200
        await expect_end(client)
        await client.close()
        await server.stopped.wait()


async def test_a_client_that_reads_slowly_has_all_of_its_answer_after_a_drain() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"2")))
        await send(body(b"ok"))

    poller, deadlines = Poller(), Deadlines()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        stream = SocketStream(listener.accept()[0], poller)
        connection = Connection(
            application,
            stream,
            Peer(client=None, server=None, scheme="http"),
            Timeouts(deadlines, head_s=10, idle_s=10, stall_s=10),
            stop_reading=stream.stop_reading,
            abort=lambda reset: stream.abort(reset=reset),
            is_draining=lambda: False,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)  # or the kernel lets it grow
            filled, is_full = 0, False
            while not is_full:  # at both ends
                while sent := stream.send_now(bytes(1000)):
                    filled += sent
                with trio.move_on_after(0.1) as patience:
                    await stream.wait_send_all_might_not_block()
                is_full = patience.cancelled_caught
            client.sendall(GET)
            async with trio.open_nursery() as serving:
                serving.start_soon(connection.run)
                await trio.testing.wait_all_tasks_blocked()
                assert not stream.is_flushed
                connection.stop_waiting()
                await trio.testing.wait_all_tasks_blocked()
                received = await trio.to_thread.run_sync(_read_to_end, client)
            nursery.cancel_scope.cancel()
    assert received[filled:].endswith(b"\r\n\r\nok")


def _read_to_end(sock: socket.socket) -> bytes:
    with sock.makefile("rb") as file:
        return file.read()


async def test_a_drain_has_an_end() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep_forever()

    async with running_server(application, drain_timeout="0.1") as server, await server.connect() as client:
        await client.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        server.server.drain()
        await expect_end(client)
        await server.stopped.wait()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("length", [[], [[b"content-length", b"4"]]], ids=["in chunks", "of known length"])
async def test_an_application_may_send_lists_for_pairs_and_whatever_holds_bytes_or_is_true_or_false(
    kind: type, length: list[list[bytes]]
) -> None:
    begin = {"type": "http.response.start", "status": 200, "headers": (each for each in [[b"x-a", b"1"], *length])}
    application = answering(begin, {**body(kind(b"bo")), "more_body": 1}, {**body(kind(b"dy")), "more_body": None})
    async with running_server(application) as server, await server.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await client.read_response()
        assert (response.head.values(b"X-A"), response.body) == ([b"1"], b"body")

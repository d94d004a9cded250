"""What observers learn of a call: counted where it passes, noted by the handler, told when all is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from support.stack import running_server

from golb.errors import AnswerBroken, ClientGone
from golb.observed import Observed
from golb.pipes import Pipe
from golb.weights import Endpoint

if TYPE_CHECKING:
    from golb.asgi import Application, Event, Receive, Scope, Send
    from golb.calls import CallRecord

NODE = "eb-a"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 201 with the request's body, as its pieces come, and note what a handler would."""
    notes = scope["golb.notes"]
    notes.function = b"f"
    notes.ask(Endpoint("10.42.0.5", 8080), b"/", b"eb-a, 127.0.0.1", [])
    await send({"type": "http.response.start", "status": 201, "headers": []})
    while (event := await receive()).get("more_body"):
        await send({"type": "http.response.body", "body": event["body"], "more_body": True})
    notes.own_s = 0.5
    await send({"type": "http.response.body", "body": event["body"]})


async def observed_call(application: Application, request: bytes) -> tuple[bytes, list[CallRecord]]:
    """Send a request, read to the end, and return what came and the records."""
    records: list[CallRecord] = []
    async with running_server(Observed(application, NODE, [records.append])) as server, await server.connect() as wire:
        await wire.send(request)
        answer = await wire.read_to_end()
    return answer, records


async def direct_call(application: Application, **changes: Any) -> CallRecord:
    """Make a call without a server; its client sends one body, and takes all that is sent."""
    records: list[CallRecord] = []
    scope = {
        "type": "http",
        "http_version": "2",
        "method": "POST",
        "raw_path": b"/function/f%20g",
        "query_string": b"",
        "headers": [],
        "client": ("::1", 1234),
        **changes,
    }

    async def receive() -> Event:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"abc", "more_body": False}

    async def send(event: Event) -> None:
        await trio.lowlevel.checkpoint()

    await Observed(application, NODE, [records.append])(scope, receive, send)
    return records[0]


async def test_a_call_is_told_of_with_what_passed_and_what_the_handler_noted() -> None:
    request = (
        b"POST /function/f/x?y=1 HTTP/1.1\r\nHost: golb\r\nConnection: close\r\nX-Request-Id: order-7\r\n"
        b"Traceparent: 00-1-2-01\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    )
    answer, (record,) = await observed_call(echo, request)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert (record.function, record.endpoint, record.node) == ("f", "10.42.0.5:8080", NODE)
    assert (record.client, record.method, record.target) == ("127.0.0.1", "POST", "/function/f/x?y=1")
    assert (record.status, record.bytes_in, record.bytes_out) == (201, 7, 7)
    assert (record.request_id, record.traceparent) == ("order-7", "00-1-2-01")
    assert (record.path, record.http_version, record.retries) == ("eb-a, 127.0.0.1", "1.1", 0)
    assert (record.own_s, record.error) == (0.5, None)
    assert record.began_s > 1_700_000_000
    assert record.first_byte_s is not None
    assert 0 < record.first_byte_s <= record.duration_s < 10


async def test_calls_without_a_request_id_are_told_apart() -> None:
    request = b"GET / HTTP/1.1\r\nHost: golb\r\n\r\nGET / HTTP/1.1\r\nHost: golb\r\nConnection: close\r\n\r\n"
    _, records = await observed_call(echo, request)
    assert len({record.request_id for record in records}) == len(records) == 2


async def test_a_defect_is_told_of_as_the_500_that_its_client_gets() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a defect")

    answer, (record,) = await observed_call(fail, b"GET / HTTP/1.1\r\nHost: golb\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert (record.status, record.error, record.first_byte_s) == (500, "a defect", None)


async def test_an_answer_that_breaks_off_is_told_of_with_its_status_and_the_cause() -> None:
    async def break_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise AnswerBroken("the endpoint closed early")

    _, (record,) = await observed_call(break_off, b"GET / HTTP/1.1\r\nHost: golb\r\n\r\n")
    assert (record.status, record.bytes_out, record.error) == (200, 4, "the endpoint closed early")


async def test_a_client_that_went_away_has_no_status() -> None:
    async def miss(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientGone("the client went away")

    records: list[CallRecord] = []
    async with running_server(Observed(miss, NODE, [records.append])) as server, await server.connect() as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: golb\r\n\r\n")
        assert await wire.read_to_end() == b""
    assert [(record.status, record.error) for record in records] == [(0, "the client went away")]


async def test_a_call_that_is_cancelled_is_told_of() -> None:
    began = trio.Event()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        await trio.sleep_forever()

    records: list[CallRecord] = []
    async with running_server(Observed(hang, NODE, [records.append])) as server:
        wire = await server.connect()
        await wire.send(b"GET / HTTP/1.1\r\nHost: golb\r\n\r\n")
        await began.wait()
        assert records == []
    await wire.close()
    assert [record.status for record in records] == [0]
    assert records[0].error


async def test_what_goes_by_a_pipe_is_counted_both_ways() -> None:
    pipe = Pipe()
    try:

        async def by_pipe(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            assert await scope["golb.receive_into"](pipe) == 1000
            pipe.held = 70_000
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "golb.pipe": pipe, "more_body": True})
            await send({"type": "http.response.body", "body": b"end"})

        async def receive_into(pipe: Pipe) -> int:
            await trio.lowlevel.checkpoint()
            return 1000

        record = await direct_call(by_pipe, **{"golb.receive_into": receive_into})
        assert (record.bytes_in, record.bytes_out) == (1003, 70_003)
    finally:
        pipe.close()


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({}, "/function/f%20g"),
        ({"query_string": b"a=%2F"}, "/function/f%20g?a=%2F"),
        ({"golb.target": b"/function/f?"}, "/function/f?"),
    ],
)
async def test_the_target_is_told_as_it_came(changes: dict[str, Any], target: str) -> None:
    assert (await direct_call(echo, **changes)).target == target


async def test_a_client_without_an_address_is_an_empty_text() -> None:
    assert (await direct_call(echo, client=None)).client == ""


async def test_what_is_no_http_is_left_alone() -> None:
    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        assert "golb.notes" not in scope
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        await direct_call(lifespan, type="lifespan")

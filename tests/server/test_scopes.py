"""What golb's own HTTP/1.1 connection tells an application of a request: the ASGI scope, whatever was called before."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import trio
import trio.testing
from support.stack import running_server

if TYPE_CHECKING:
    from golb.asgi import Receive, Scope, Send


class Recorder:
    """An application that keeps a copy of each scope, spoils the scope itself, and answers with method and target."""

    runs_in_fibers = False

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(dict(scope))
        event = await receive()
        while event["more_body"]:
            event = await receive()
        text = b"%b %b" % (scope["method"].encode(), scope["golb.target"])
        scope["path"], scope["method"], scope["mine"] = "/spoilt", "SPOILT", 1
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})


async def test_the_scope_tells_what_was_asked() -> None:
    recorder = Recorder()
    async with running_server(recorder) as server, await server.connect() as client:
        await client.send(b"GET /a%20b%2F?c=%20? HTTP/1.1\r\nHost: a\r\nX-Y: 1\r\n\r\n")
        await client.read_response()
        assert isinstance(client.stream, trio.SocketStream)
        address = client.stream.socket.getsockname()
        (scope,) = recorder.scopes
        assert {name: scope[name] for name in ("type", "http_version", "method", "scheme", "path", "root_path")} == {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/a b/",
            "root_path": "",
        }
        assert (scope["raw_path"], scope["query_string"]) == (b"/a%20b%2F", b"c=%20?")
        assert scope["golb.target"] == b"/a%20b%2F?c=%20?"
        assert scope["headers"] == [(b"host", b"a"), (b"x-y", b"1")]
        assert (scope["client"], scope["server"]) == (address, ("127.0.0.1", server.port))


async def test_each_scope_tells_its_own_call_whatever_was_called_before_and_done_to_earlier_scopes() -> None:
    recorder = Recorder()
    long = b"/" + b"l" * 1000
    calls = [
        (b"GET", b"/a?b"),
        (b"GET", b"/a?b"),
        (b"POST", b"/a?b"),
        (b"POST", b"/a?b"),
        (b"GET", b"/"),
        (b"PUT", b"/"),
    ]
    calls += [(b"GET", long), (b"GET", long), (b"GET", b"/a?b"), (b"DELETE", b"/a?b"), (b"DELETE", b"/%61?b")]
    # Usual requests, and those that a parser reads.
    calls_with_lines = [(method, target, line) for method, target in calls for line in (b"", b"Expect: 1\r\n")]
    async with running_server(recorder) as server, await server.connect() as client:
        for method, target, line in calls_with_lines:
            await client.send(b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, target, line))
            response = await client.read_response()
            assert response.body == b"%b %b" % (method, target)
    for (method, target, _), scope in zip(calls_with_lines, recorder.scopes, strict=True):
        path, _, query = target.partition(b"?")
        assert (scope["method"], scope["golb.target"]) == (method.decode(), target)
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == (unquote(path.decode()), path, query)
        assert "mine" not in scope


async def test_an_application_that_runs_in_fibers_is_told_the_target_alone() -> None:
    recorder = Recorder()
    recorder.runs_in_fibers = True
    long = b"/" + b"l" * 1000
    calls = [(b"GET", b"/a?b"), (b"PUT", b"/a?b"), (b"PUT", b"/%61"), (b"GET", long), (b"POST", b"/%61")]
    async with running_server(recorder) as server, await server.connect() as client:
        for method, target in calls:
            await client.send(b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target))
            assert (await client.read_response()).body == b"%b %b" % (method, target)
    for scope in recorder.scopes:
        assert not {"path", "raw_path", "query_string"} & scope.keys()
        assert "mine" not in scope


@pytest.mark.parametrize("in_fibers", [False, True])
async def test_only_an_application_that_runs_in_fibers_may_write_lines_itself(*, in_fibers: bool) -> None:
    recorder = Recorder()
    recorder.runs_in_fibers = in_fibers
    async with running_server(recorder) as server, await server.connect() as client:
        for message in (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ):
            await client.send(message)
            await client.read_response()
    for scope in recorder.scopes:
        assert ("golb.lines" in scope["extensions"]) is in_fibers
        assert "golb.pipe" in scope["extensions"]


async def test_lines_that_an_application_has_written_leave_as_they_are() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        lines = [b"\r\nX-one: 1\r\nX-Two: 2", b"\r\ncontent-length: 2"]
        await send({"type": "http.response.start", "status": 200, "golb.lines": lines, "golb.length": 2})
        await send({"type": "http.response.body", "body": b"ok"})

    async with running_server(application) as server, await server.connect() as client:
        for method, end in ((b"GET", b"ok"), (b"HEAD", b"")):
            await client.send(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method)
            expected = b"HTTP/1.1 200 OK\r\nX-one: 1\r\nX-Two: 2\r\ncontent-length: 2\r\n\r\n" + end
            assert await client.read_exactly(len(expected)) == expected


@pytest.mark.parametrize("target", [b"/a", b"/b"])
async def test_what_is_seldom_in_a_scope_does_not_stay_for_the_next_call(target: bytes) -> None:
    recorder = Recorder()
    seldom = [
        b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: proto\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
    ]
    usual = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target
    async with running_server(recorder) as server, await server.connect() as client:
        for one in seldom:
            await client.send(one)
            if one.startswith(b"POST"):
                await trio.testing.wait_all_tasks_blocked()  # its body comes after its head has been read
                await client.send(b"ab")
            await client.read_response()
            await client.send(usual)
            await client.read_response()
    of_seldom, of_usual = recorder.scopes[::2], recorder.scopes[1::2]
    assert [scope["http_version"] for scope in of_seldom] == ["1.0", "1.1", "1.1"]
    assert ["golb.tunnel" in scope["extensions"] for scope in of_seldom] == [False, True, False]
    assert ["golb.receive_into" in scope for scope in of_seldom] == [False, False, True]
    assert [scope["golb.body_ready"] for scope in of_seldom] == [True, True, False]
    for scope in of_usual:
        assert (scope["http_version"], scope["golb.body_ready"]) == ("1.1", True)
        assert "golb.tunnel" not in scope["extensions"]
        assert "golb.receive_into" not in scope

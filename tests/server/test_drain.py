"""The end of a server: who may still say something, who is waited for, who is cut, and what is told of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
from support.http2 import connect_http2
from support.stack import BOUND_S, make_config, running_server, settle
from support.tls import make_tls_files
from support.wire import connect

from golb.deadlines import TICK_S, Deadlines
from golb.poller import Poller
from golb.server import Server, Timeouts
from golb.server import drain as drain_module
from golb.server.drain import Drain
from golb.server.tunnels import Tunnels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.stack import RunningServer
    from support.wire import Wire

    from golb.asgi import Event, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
# A quarter of this is the moment that idle connections have.
TIMEOUT = "800ms"
MOMENT_S = 0.2


class Application:
    """Answers at once, or when it may; a tunnel returns what it is sent."""

    def __init__(self) -> None:
        self.may_answer = trio.Event()
        self.may_end = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/tunnel":
            await self._tunnel(receive, send)
            return
        if scope["path"] == "/held":
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        if scope["path"] == "/begun":
            await self.may_end.wait()
        await send({"type": "http.response.body", "body": b"k"})

    async def _tunnel(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 101, "headers": [(b"upgrade", b"echo")]})
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            await send({"type": "http.response.body", "body": event["body"], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def request(path: bytes) -> bytes:
    return GET.replace(b"/ ", path + b" ", 1)


async def ask(client: Wire) -> list[bytes]:
    """Make a request, and return what its answer says of the connection."""
    await client.send(GET)
    response = await client.read_response()
    assert (response.status, response.body) == (200, b"ok")
    return response.head.values(b"Connection")


async def open_tunnel(client: Wire) -> None:
    await client.send(UPGRADE)
    assert (await client.read_head()).status == 101
    await expect_echo(client)


async def expect_echo(client: Wire) -> None:
    await client.send(b"ping")
    assert await client.read_exactly(4) == b"ping"


async def expect_cut(client: Wire) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await client.read_to_end()


async def drain_and_wait(server: RunningServer) -> float:
    """Return how long it took the server to end, in seconds."""
    began_s = trio.current_time()
    server.server.drain()
    await server.stopped.wait()
    return trio.current_time() - began_s


# Idle connections.


async def test_an_idle_connection_has_one_more_request_whose_answer_is_its_last() -> None:
    async with running_server(Application()) as server, await server.connect() as client:
        assert await ask(client) == []
        server.server.drain()
        await settle()
        assert await ask(client) == [b"close"]
        assert await client.read_to_end() == b""
        await client.close()
        await server.stopped.wait()


async def test_a_connection_that_was_never_used_has_its_first_request() -> None:
    async with running_server(Application()) as server, await server.connect() as client:
        await settle()
        server.server.drain()
        await settle()
        assert await ask(client) == [b"close"]


@pytest.mark.parametrize("is_used", [True, False])
async def test_a_connection_that_stays_silent_is_closed_when_its_moment_is_over(*, is_used: bool) -> None:
    async with running_server(Application(), drain_timeout=TIMEOUT) as server, await server.connect() as client:
        if is_used:
            await ask(client)
        await settle()
        took_s = await drain_and_wait(server)
        assert await client.read_to_end() == b""
        assert MOMENT_S <= took_s < 0.8


async def test_a_connection_that_has_never_said_anything_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "ASLEEP_S", 0.1)
    async with running_server(Application()) as server, await server.connect() as client:
        await trio.sleep(0.2)
        assert await drain_and_wait(server) < drain_module.LAST_REQUEST_S / 2
        assert await client.read_to_end() == b""


async def test_a_connection_that_has_slept_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "ASLEEP_S", 0.2)
    async with (
        running_server(Application()) as server,
        await server.connect() as asleep,
        await server.connect() as awake,
    ):
        assert await ask(asleep) == []
        await trio.sleep(0.3)
        assert await ask(awake) == []
        began_s = trio.current_time()
        server.server.drain()
        assert await asleep.read_to_end() == b""
        assert trio.current_time() - began_s < drain_module.LAST_REQUEST_S / 2
        assert await ask(awake) == [b"close"]


async def test_a_connection_that_has_been_idle_for_a_while_has_a_moment_too() -> None:
    async with running_server(Application(), drain_timeout="2s") as server, await server.connect() as client:
        assert await ask(client) == []
        await trio.sleep(0.6)  # longer than its moment
        server.server.drain()
        await trio.sleep(3 * TICK_S)
        assert await ask(client) == [b"close"]


async def test_a_connection_whose_answer_had_begun_has_one_more_request_behind_it() -> None:
    application = Application()
    async with running_server(application) as server, await server.connect() as client:
        await client.send(request(b"/begun"))
        assert (await client.read_head()).values(b"Connection") == []
        server.server.drain()
        await settle()
        application.may_end.set()
        assert await client.read_exactly(2) == b"ok"
        assert await ask(client) == [b"close"]
        assert await client.read_to_end() == b""


async def test_clients_that_keep_asking_lose_no_request_to_a_drain() -> None:
    async with running_server(Application()) as server:
        answered = 0

        async def keep_asking() -> None:
            nonlocal answered
            async with await server.connect() as client:
                while await ask(client) == []:
                    answered += 1
                assert await client.read_to_end() == b""

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(keep_asking)
            while answered < 200:
                await trio.lowlevel.checkpoint()
            server.server.drain()
        await server.stopped.wait()


async def test_a_client_in_its_handshake_is_not_waited_for_beyond_its_moment(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with (
        running_server(Application(), drain_timeout=TIMEOUT, **tls.variables) as server,
        await server.connect() as client,
    ):
        await client.send(b"\x16")
        await settle()
        assert await drain_and_wait(server) < 0.8


# Tunnels.


async def test_tunnels_outlive_the_requests_and_are_cut_in_their_own_time() -> None:
    async with (
        running_server(Application(), drain_timeout="200ms", tunnel_drain_timeout="500ms") as server,
        await server.connect() as tunnel,
        await server.connect() as held,
    ):
        await open_tunnel(tunnel)
        await held.send(request(b"/held"))
        await settle()
        began_s = trio.current_time()
        server.server.drain()
        assert await held.read_to_end() == b""
        await expect_echo(tunnel)
        await expect_cut(tunnel)
        await server.stopped.wait()
        assert trio.current_time() - began_s >= 0.5


async def test_requests_outlive_the_tunnels_where_they_may_take_longer() -> None:
    application = Application()
    async with (
        running_server(application, tunnel_drain_timeout="100ms") as server,
        await server.connect() as tunnel,
        await server.connect() as held,
    ):
        await open_tunnel(tunnel)
        await held.send(request(b"/held"))
        await settle()
        server.server.drain()
        await expect_cut(tunnel)
        application.may_answer.set()
        assert (await held.read_response()).body == b"ok"
        await held.close()
        await server.stopped.wait()


async def test_tunnels_without_a_time_of_their_own_end_with_the_last_request() -> None:
    application = Application()
    async with (
        running_server(application, tunnel_drain_timeout="0") as server,
        await server.connect() as tunnel,
        await server.connect() as held,
    ):
        await open_tunnel(tunnel)
        await held.send(request(b"/held"))
        await settle()
        server.server.drain()
        await settle()
        await expect_echo(tunnel)
        application.may_answer.set()
        assert (await held.read_response()).body == b"ok"
        await held.close()
        await expect_cut(tunnel)
        await server.stopped.wait()


async def test_a_tunnel_that_ends_by_itself_is_waited_for_no_longer() -> None:
    async with running_server(Application()) as server, await server.connect() as tunnel:
        await open_tunnel(tunnel)
        server.server.drain()
        await settle()
        assert not server.stopped.is_set()
        await tunnel.send_eof()
        assert await tunnel.read_to_end() == b""
        await server.stopped.wait()


async def test_what_becomes_a_tunnel_behind_the_cut_ends_as_a_request_does() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 101, "headers": []})
        await trio.sleep(5)

    async def send(event: Event) -> None:
        await trio.lowlevel.checkpoint()

    async def receive() -> Event:
        raise AssertionError

    tunnels = Tunnels()
    tunnels.cut()
    with trio.move_on_after(0.02) as scope:
        await tunnels.call(application, {}, receive, send, lambda: True)
    assert scope.cancelled_caught
    assert len(tunnels) == 0


@asynccontextmanager
async def cancellable_server() -> AsyncIterator[tuple[Server, int, trio.CancelScope]]:
    """Run a server whose end, by cancellation, is waited for on leaving."""
    poller, deadlines = Poller(), Deadlines()
    server = Server(make_config(), Application(), poller, deadlines)
    sockets = server.open_sockets()
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as parts:
            await parts.start(poller.run)
            await parts.start(deadlines.run)
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run, sockets)
                yield server, sockets[0].getsockname()[1], nursery.cancel_scope
            parts.cancel_scope.cancel()


@pytest.mark.parametrize("is_draining", [False, True])
async def test_what_cancels_the_server_cuts_tunnels_as_well(*, is_draining: bool) -> None:
    async with cancellable_server() as (server, port, scope), await connect(port) as tunnel:
        await open_tunnel(tunnel)
        if is_draining:
            server.drain()
            await settle()
        scope.cancel()
        with trio.CancelScope(shield=True):
            await expect_cut(tunnel)


# What other workers have passed.


async def test_a_drain_ends_only_when_nothing_is_left_of_what_was_passed() -> None:
    passed = [True, True, False]
    deadlines = Deadlines()
    server = Server(make_config(), Application(), Poller(), deadlines)
    drain = Drain(
        admission=server.admission,
        timeouts=Timeouts(deadlines, head_s=1, idle_s=1, stall_s=1),
        tunnels=Tunnels(),
        waiting_for=server.waiting_for,
        take_passed=lambda: passed.pop(0),
        cut_requests=server.drain,
        requests_s=5,
        tunnels_s=5,
    )
    with trio.fail_after(2):
        await drain.run()
    assert passed == []


# What is told.


async def test_a_server_tells_what_it_waits_for(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    application = Application()
    trust = tls.client_context()
    async with (
        running_server(application, **tls.variables) as server,
        await server.connect(trust) as idle,
        await server.connect(trust) as busy,
        await server.connect(trust) as tunnel,
        await server.connect() as silent,
    ):
        await ask(idle)
        await busy.send(request(b"/held"))
        await open_tunnel(tunnel)
        multiplexed = await connect_http2(server.port, tls.client_context("h2"))
        for _ in range(3):
            await multiplexed.request(b"/held")
        unused = await connect_http2(server.port, tls.client_context("h2"))
        await settle()
        assert server.server.waiting_for() == {"requests": 4, "idle": 3, "tunnels": 1}
        assert server.server.admission.open == 6
        application.may_answer.set()
        await busy.read_response()
        for stream_id in list(multiplexed.answers):
            await multiplexed.answer(stream_id)
        await settle()
        assert server.server.waiting_for() == {"requests": 0, "idle": 5, "tunnels": 1}
        for stream in (multiplexed.stream, unused.stream, silent.stream):
            await trio.aclose_forcefully(stream)


def told(logs: list[Any]) -> list[dict[str, Any]]:
    """Return what was logged of a drain, without times that vary."""
    return [{name: value for name, value in line.items() if name != "waited_s"} for line in logs]


async def test_the_log_says_what_is_waited_for_again_and_again_and_what_was_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain_module, "_TELL_EVERY_S", 0.3)
    times = {"drain_timeout_s": 0.5, "tunnel_drain_timeout_s": 0.8}
    with structlog.testing.capture_logs() as logs:
        async with (
            running_server(Application(), drain_timeout="500ms", tunnel_drain_timeout="800ms") as server,
            await server.connect() as tunnel,
            await server.connect() as held,
            await server.connect() as idle,
        ):
            await open_tunnel(tunnel)
            await held.send(request(b"/held"))
            await ask(idle)
            await drain_and_wait(server)
    draining = {"event": "draining", "log_level": "info", **times}
    assert told(logs) == [
        {**draining, "requests": 1, "idle": 1, "tunnels": 1},
        {**draining, "requests": 1, "idle": 0, "tunnels": 1},
        {
            "event": "drain timeout, requests were cut off",
            "log_level": "warning",
            "requests": 1,
            "idle": 0,
            "drain_timeout_s": 0.5,
        },
        {**draining, "requests": 0, "idle": 0, "tunnels": 1},
        {
            "event": "tunnel drain timeout, tunnels were cut off",
            "log_level": "warning",
            "tunnels": 1,
            "tunnel_drain_timeout_s": 0.8,
        },
    ]


async def test_the_log_says_nothing_where_nothing_is_waited_for() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_server(Application()) as server:
            await drain_and_wait(server)
    assert logs == []

"""What a running server takes over from a new configuration, and from when on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import trio.testing
from attrs import fields_dict
from support.http2 import connect_http2
from support.stack import make_config, running_server, settle
from support.tls import make_tls_files

from golb.config import Config
from golb.errors import ConfigError
from golb.server import drain as drain_module
from golb.server.server import RECONFIGURABLE

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from support.tls import TlsFiles
    from support.wire import Wire

    from golb.asgi import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    while (event := await receive()).get("more_body"):
        pass
    if event["type"] == "http.disconnect":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(client: Wire) -> None:
    await client.send(GET)
    assert (await client.read_response()).body == b"ok"


def other_tls_files(folder: Path) -> TlsFiles:
    folder.mkdir()
    return make_tls_files(folder)


def test_what_can_change_is_a_part_of_the_configuration() -> None:
    assert fields_dict(Config).keys() >= RECONFIGURABLE


async def test_new_connections_get_the_new_certificate_and_the_others_go_on(tmp_path: Path) -> None:
    old, new = make_tls_files(tmp_path), other_tls_files(tmp_path / "new")
    async with (
        running_server(answer_ok, **old.variables) as server,
        await server.connect(old.client_context()) as before,
    ):
        await ask(before)
        server.server.reconfigure(make_config(**new.variables))
        async with await server.connect(new.client_context()) as after:
            await ask(after)
        await ask(before)


@pytest.mark.parametrize("what", ["tls_cert", "tls_key"])
async def test_a_bad_tls_file_is_refused_and_everything_stays_as_it_was(tmp_path: Path, what: str) -> None:
    tls = make_tls_files(tmp_path)
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing\n")
    async with running_server(answer_ok, **tls.variables) as server:
        limit = server.server.admission.limit
        config = make_config(**{**tls.variables, what: str(bad)}, max_connections="1")
        with pytest.raises(ConfigError, match=f"eb_go_lb_{what} is '{bad}'"):
            server.server.reconfigure(config)
        assert server.server.admission.limit == limit
        async with await server.connect(tls.client_context()) as client:
            await ask(client)


@pytest.mark.parametrize("was_on", [True, False])
async def test_tls_is_not_switched_on_or_off_and_the_log_says_so(tmp_path: Path, *, was_on: bool) -> None:
    tls = make_tls_files(tmp_path)
    variables: tuple[dict[str, str], dict[str, str]] = (tls.variables, {}) if was_on else ({}, tls.variables)
    async with running_server(answer_ok, **variables[0]) as server:
        with structlog.testing.capture_logs() as logs:
            server.server.reconfigure(make_config(**variables[1], max_connections="7"))
        assert [line["event"] for line in logs] == ["TLS is switched on or off by a restart only"]
        assert server.server.admission.limit == 7
        context: ssl.SSLContext | None = tls.client_context() if was_on else None
        async with await server.connect(context) as client:
            await ask(client)


async def test_a_new_time_between_requests_holds_for_connections_that_are_idle_already() -> None:
    async with running_server(answer_ok) as server, await server.connect() as client:
        await ask(client)
        await trio.testing.wait_all_tasks_blocked()
        server.server.reconfigure(make_config(keep_alive_timeout="100ms"))
        assert await client.read_to_end() == b""


async def test_a_new_time_between_requests_holds_for_http2(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with running_server(answer_ok, **tls.variables) as server:
        client = await connect_http2(server.port, tls.client_context("h2"))
        await client.answer(await client.request())
        server.server.reconfigure(make_config(**tls.variables, keep_alive_timeout="100ms"))
        await client.read_to_end()
        assert client.terminated
        await trio.aclose_forcefully(client.stream)


async def test_a_new_time_for_heads_holds_for_one_that_is_coming() -> None:
    async with running_server(answer_ok) as server, await server.connect() as client:
        await client.send(GET[:10])
        await settle()
        server.server.reconfigure(make_config(request_header_timeout="100ms"))
        assert (await client.read_response()).status == 408


async def test_a_new_time_for_bodies_holds_for_one_that_has_stalled() -> None:
    async with running_server(answer_ok) as server, await server.connect() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        await settle()
        server.server.reconfigure(make_config(client_idle_timeout="100ms"))
        assert (await client.read_response()).status == 408


async def test_who_waits_for_a_place_gets_one_when_there_are_more() -> None:
    async with (
        running_server(held, max_connections="1") as server,
        await server.connect() as first,
        await server.connect() as second,
    ):
        await first.send(GET)
        while not server.server.admission.delayed:
            await trio.lowlevel.checkpoint()
        server.server.reconfigure(make_config(max_connections="2"))
        while server.server.admission.open < 2:
            await trio.lowlevel.checkpoint()
        await second.send(GET)


async def held(scope: Scope, receive: Receive, send: Send) -> None:
    await trio.sleep_forever()


async def test_with_fewer_places_who_has_one_keeps_it() -> None:
    async with (
        running_server(answer_ok) as server,
        await server.connect() as first,
        await server.connect() as second,
    ):
        for client in (first, second):
            await ask(client)
        server.server.reconfigure(make_config(max_connections="1"))
        await ask(first)
        await ask(second)
        async with await server.connect() as third:
            await ask(third)  # once both have been idle for long enough to give way
        assert server.server.admission.closed_for_room == 2


async def test_a_drain_goes_by_the_newest_times() -> None:
    async with running_server(held) as server, await server.connect() as client:
        await client.send(GET)
        await settle()
        server.server.reconfigure(make_config(drain_timeout="100ms"))
        server.server.drain()
        await server.stopped.wait()


async def test_a_drain_under_way_keeps_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "LAST_REQUEST_S", 0.2)
    async with running_server(answer_ok) as server, await server.connect() as client:
        await ask(client)
        began_s = trio.current_time()
        server.server.drain()
        await trio.testing.wait_all_tasks_blocked()
        server.server.reconfigure(make_config(drain_timeout="0", keep_alive_timeout="1h"))
        assert await client.read_to_end() == b""
        assert 0.2 <= trio.current_time() - began_s < 2
        await server.stopped.wait()

"""How the admin port is served: where, with TLS as on the data port, over HTTP/1.1 only, and bounded by itself."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
from admin.fakes import FakeParts
from attrs import evolve
from support.golb_process import free_port
from support.stack import make_config
from support.tls import make_tls_files
from support.wire import connect

from golb.admin import MAX_CONNECTIONS, admin_application, admin_config
from golb.deadlines import Deadlines
from golb.errors import ListenError
from golb.poller import Poller
from golb.server import Server

if TYPE_CHECKING:
    from pathlib import Path


def make_server(**variables: str) -> Server:
    config = make_config(**variables)
    return Server(admin_config(config), admin_application(config, FakeParts().sources()), Poller(), Deadlines())


# hypercorn leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_where_the_port_is_taken_the_error_names_the_variable_of_the_admin_port() -> None:
    address = f"127.0.0.1:{free_port()}"
    taken = make_server(admin_listen=address).open_sockets()
    with pytest.raises(ListenError) as caught:
        make_server(admin_listen=address).open_sockets()
    told = str(caught.value)
    for sock in taken:
        sock.close()
    del caught
    gc.collect()
    assert told == (
        f"eb_go_lb_admin_listen is {address}, but golb cannot listen on {address}: Address already in use; "
        "it accepts a host and port that is free on this node"
    )


async def test_tls_is_as_on_the_data_port_and_http_1_1_is_all_that_is_spoken(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    port = free_port()
    config = make_config(admin_listen=f"127.0.0.1:{port}", admin_token="c2VjcmV0", **tls.variables)
    poller, deadlines = Poller(), Deadlines()
    server = Server(admin_config(config), admin_application(config, FakeParts().sources()), poller, deadlines)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            await nursery.start(deadlines.run)
            sockets = server.open_sockets()
            await nursery.start(lambda task_status: server.run(sockets, task_status=task_status))
            async with await connect(port, tls.client_context("h2", "http/1.1")) as wire:
                assert isinstance(wire.stream, trio.SSLStream)
                assert wire.stream.selected_alpn_protocol() == "http/1.1"
                await wire.send(b"GET /healthz HTTP/1.1\r\nHost: golb\r\n\r\n")
                assert (await wire.read_response()).status == 200
            async with httpx.AsyncClient(verify=False) as client:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(f"http://127.0.0.1:{port}/healthz")
            nursery.cancel_scope.cancel()


def test_what_bounds_the_data_port_does_not_unbound_the_admin_port() -> None:
    config = make_config(client_idle_timeout="0", request_header_timeout="0", max_connections="5000")
    bounded = admin_config(config)
    assert (bounded.client_idle_timeout, bounded.request_header_timeout) == (10, 10)
    assert bounded.max_connections == MAX_CONNECTIONS
    unbounded = evolve(
        bounded,
        **{
            name: getattr(config, name)
            for name in (
                "listen_host",
                "listen_port",
                "client_idle_timeout",
                "request_header_timeout",
                "max_connections",
            )
        },
    )
    assert unbounded == config

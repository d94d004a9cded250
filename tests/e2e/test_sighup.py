"""golb as a process whose file of variables changes: what SIGHUP puts in force while clients go on calling, and what it leaves."""

from __future__ import annotations

import json
import signal
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import define
from handlers.around import Endpoint, get, until
from support.golb_process import GolbProcess, free_port
from support.tls import make_tls_files
from support.wire import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.wire import Message

MARK = b"X-Forwarded-Host-Eb-B: 1.0"
# Between two calls: some 20 a second.
PAUSE_S = 0.05
# Under load; together they make some 200 calls a second, a third of them on new connections.
KEPT, FRESH = 64, 4
KEPT_PAUSE_S = 0.5
RENEWALS = 3
CONNECTIONS = 8
"""So many that each worker has some."""


@define
class Reloadable:
    """A golb of two functions, `f` and `hang`, whose variables stand in a file."""

    golb: GolbProcess
    file: Path
    endpoint: Endpoint
    hanging: Endpoint
    ssl_context: ssl.SSLContext | None
    """Of the clients."""
    hangups: int = 0

    async def reload(self, *lines: str) -> dict[str, Any]:
        """Replace what the file holds, and return what golb says of it."""
        self.file.write_text("\n".join(lines))
        assert self.golb.process is not None
        self.golb.process.send_signal(signal.SIGHUP)
        self.hangups += 1
        await until(lambda: len(self._told()) == self.hangups)
        return self._told()[-1]

    def _told(self) -> list[dict[str, Any]]:
        whole_lines = self.golb.log_path.read_text().rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in whole_lines if "reloaded" in line]

    async def call(self, data: bytes) -> Message:
        async with await connect(self.golb.port, self.ssl_context) as client:
            await client.send(data)
            return await client.read_response()

    async def target(self, *lines: bytes) -> bytes:
        """Call `f`, and return the target that its endpoint got."""
        assert (await self.call(get("f", *lines))).status == 200
        return self.endpoint.requests[-1].head.first_line.split()[1]

    async def keep_calling(self, statuses: Counter[int]) -> None:
        while True:
            statuses[(await self.call(get("f"))).status] += 1
            await trio.sleep(PAUSE_S)


@asynccontextmanager
async def reloadable(
    tmp_path: Path, *lines: str, ssl_context: ssl.SSLContext | None = None, **variables: str
) -> AsyncIterator[Reloadable]:
    """Run one, called 20 times a second; none of these calls may fail, and none of what golb logs may be a traceback."""
    endpoint, hanging = Endpoint(), Endpoint()
    hanging.does = "hang"
    weights, file = tmp_path / "weights.json", tmp_path / "golb.env"
    ips = {"f": endpoint.authority, "hang": hanging.authority}
    weights.write_text(json.dumps({function: {"ips": [ip], "weights": [1]} for function, ip in ips.items()}))
    file.write_text("\n".join(lines))
    variables |= {"weight_updater": "file", "weights_file": str(weights), "env_file": str(file)}
    statuses = Counter[int]()
    async with trio.open_nursery() as nursery:
        for each in (endpoint, hanging):
            await nursery.start(each.serve)
        with GolbProcess(**variables) as golb, trio.fail_after(30):
            around = Reloadable(golb, file, endpoint, hanging, ssl_context)
            nursery.start_soon(around.keep_calling, statuses)
            yield around
            seen = statuses.total()
            await until(lambda: statuses.total() > seen)
            nursery.cancel_scope.cancel()
            assert set(statuses) == {200}
            assert golb.stop() == 0
            assert not [line for line in golb.log() if "exception" in line]
    for each in (endpoint, hanging):
        each.close()


async def test_a_gateway_is_known_as_one_from_the_signal_on(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as around:
        assert await around.target(MARK) == b"/"
        authority = around.endpoint.authority
        told = await around.reload(f"eb_go_lb_gateways={authority}")
        assert (told["message"], told["level"]) == ("reloaded", "info")
        assert told["taken"] == [f"eb_go_lb_gateways=->{authority}"]
        assert await around.target() == b"/function/f"
        assert (await around.call(get("f", MARK))).status == 503
        await around.reload()
        assert await around.target(MARK) == b"/"


async def test_all_workers_follow(tmp_path: Path) -> None:
    async with reloadable(tmp_path, workers="2") as around:
        await around.reload(f"eb_go_lb_gateways={around.endpoint.authority}")
        statuses = {200}
        while statuses != {503}:
            # Each on a connection of its own, so that both workers have some.
            statuses = {(await around.call(get("f", MARK))).status for _ in range(8)}


async def test_a_limit_lets_those_go_on_who_wait_by_the_old_one(tmp_path: Path) -> None:
    lines = ("eb_go_lb_endpoint_max_inflight=1", "eb_go_lb_queue_timeout=1m")
    async with reloadable(tmp_path, *lines) as around, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(around.call, get("hang"))
        await around.hanging.called(1)
        told = await around.reload("eb_go_lb_endpoint_max_inflight=2", "eb_go_lb_queue=0")
        assert "eb_go_lb_endpoint_max_inflight=1->2" in told["taken"]
        await around.hanging.called(2)
        assert (await around.call(get("hang"))).status == 503
        around.hanging.released.set()


async def test_a_level_counts_for_who_has_logged_before(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as around:

        def logged_calls() -> int:
            return around.golb.log_path.read_text().count('"message": "called"')

        await around.call(get("f"))
        assert logged_calls() == 0
        await around.reload("eb_go_lb_log_level=debug")
        await until(lambda: logged_calls() >= 2)
        await around.reload("eb_go_lb_log_level=info")
        calls = logged_calls()
        await around.call(get("f"))
        assert logged_calls() == calls


async def test_what_needs_a_restart_is_named_and_stays_as_it_was(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as around:
        for _ in range(2):
            told = await around.reload("eb_go_lb_listen_port=1", "eb_go_lb_admin_token=s3cret")
            assert told["level"] == "warning"
            assert told["needs_restart"] == ["eb_go_lb_listen_port", "eb_go_lb_admin_token"]
        assert "s3cret" not in around.golb.log_path.read_text()
        told = await around.reload()
        assert told["message"] == "reloaded, no variable has changed"


async def test_a_file_with_a_bad_line_changes_nothing(tmp_path: Path) -> None:
    async with reloadable(tmp_path) as around:
        told = await around.reload(
            f"eb_go_lb_gateways={around.endpoint.authority}", "eb_go_lb_queue=many", "eb_go_lb_mode=x"
        )
        assert (told["message"], told["level"]) == ("not reloaded, all stays as it was", "warning")
        assert [line.split()[0] for line in told["problems"]] == ["eb_go_lb_mode", "eb_go_lb_queue"]
        assert await around.target() == b"/"


async def test_a_renewed_certificate_is_shown_to_new_clients_and_a_bad_one_to_none(tmp_path: Path) -> None:
    old = make_tls_files(tmp_path)
    admin_port = free_port()
    variables = old.variables | {"admin_listen": f"127.0.0.1:{admin_port}"}
    async with reloadable(tmp_path, ssl_context=old.client_context(), **variables) as around:
        async with await connect(around.golb.port, old.client_context()) as connected:
            new = make_tls_files(tmp_path)
            around.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            for files in (old, new):
                files.authority.configure_trust(around.ssl_context)
            told = await around.reload()
            assert told["certificate"] == "read again"
            for port in (around.golb.port, admin_port):
                await (await connect(port, new.client_context())).close()
                with pytest.raises(trio.BrokenResourceError):
                    await connect(port, old.client_context())
            await connected.send(get("f"))  # it goes on with what it was shown
            assert (await connected.read_response()).status == 200
        (tmp_path / "cert.pem").write_text("none")
        told = await around.reload("eb_go_lb_queue=0")
        assert told["message"] == "not reloaded, all stays as it was"
        assert (await around.call(get("f"))).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_certificates_renewed_under_load_cost_no_call(tmp_path: Path, workers: str) -> None:
    files = make_tls_files(tmp_path)
    trusts_all = files.client_context()
    kept = Counter[int]()

    async def keep_calling_on_one_connection(port: int, client: int) -> None:
        async with await connect(port, trusts_all) as wire:
            while True:
                await wire.send(get("f"))
                response = await wire.read_response()
                assert (response.status, response.head.values(b"Connection")) == (200, [])
                kept[client] += 1
                await trio.sleep(KEPT_PAUSE_S)

    async def all_are_answered() -> None:
        before = kept.copy()
        await until(lambda: all(kept[client] > before[client] for client in range(KEPT)))

    async with reloadable(tmp_path, ssl_context=trusts_all, workers=workers, **files.variables) as around:
        fresh = Counter[int]()
        async with trio.open_nursery() as nursery:
            for client in range(KEPT):
                nursery.start_soon(keep_calling_on_one_connection, around.golb.port, client)
            for _ in range(FRESH):
                nursery.start_soon(around.keep_calling, fresh)
            for _ in range(RENEWALS):
                await all_are_answered()
                replaced, files = files, make_tls_files(tmp_path)
                files.authority.configure_trust(trusts_all)
                assert (await around.reload())["certificate"] == "read again"
                for _ in range(CONNECTIONS):
                    await (await connect(around.golb.port, files.client_context())).close()
                    with pytest.raises(trio.BrokenResourceError):
                        await connect(around.golb.port, replaced.client_context())
            (tmp_path / "key.pem").write_text("none")
            told = await around.reload()
            assert told["message"] == "not reloaded, all stays as it was"
            assert told["problems"][0].endswith("but the second holds no private key")
            await (await connect(around.golb.port, files.client_context())).close()
            await all_are_answered()
            nursery.cancel_scope.cancel()
        assert set(fresh) == {200}

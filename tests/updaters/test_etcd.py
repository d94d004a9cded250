"""Weights from a real etcd, through what happens to it."""

from __future__ import annotations

import json
import uuid
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs
from support.following import Following, wait_for_logs

from demo.etcd import EtcdProcess
from demo.ports import choose_ports
from golb.config import Config
from golb.trio_etcd import Compare, DeleteOp, EtcdClient, PutOp
from golb.updaters import EtcdWeightUpdater
from golb.weights import Endpoint, Weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from support.following import Logs

    from golb.trio_etcd import Op

A, B = Endpoint("10.42.0.5", 8080), Endpoint("10.0.3.1", 8080)
DEADLINE_S = 10


def value(*weights: float) -> bytes:
    """Return weights of A, and of B if there are two."""
    return json.dumps({"ips": [str(A), str(B)][: len(weights)], "weights": weights}).encode()


class Zone:
    """One zone in etcd, as its writers see it."""

    def __init__(self, name: str, client: EtcdClient) -> None:
        self.name = name
        self.client = client

    def key(self, function: str) -> str:
        return f"golb/function/{self.name}/{function}"

    async def put(self, function: str, content: bytes) -> int:
        """Return the revision of the put."""
        return (await self.client.put(self.key(function), content)).header.revision

    async def delete(self, function: str) -> int:
        return (await self.client.delete(self.key(function))).header.revision


@asynccontextmanager
async def zone_in(url: str, name: str = "") -> AsyncIterator[Zone]:
    async with EtcdClient([url]) as client:
        yield Zone(name or f"zone-{uuid.uuid4().hex}", client)


@pytest.fixture
async def zone(etcd: EtcdProcess) -> AsyncIterator[Zone]:
    async with zone_in(etcd.client_url) as zone:
        yield zone


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


@asynccontextmanager
async def following(zone: str, url: str, **variables: str) -> AsyncIterator[Following]:
    """Run an updater, and yield what follows it; `variables` of golb's are named without their prefix."""
    variables |= {"zone": zone, "etcd_host": url}
    config = Config.from_environ({f"eb_go_lb_{name}": text for name, text in variables.items()})
    following = Following()
    with trio.fail_after(4 * DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(EtcdWeightUpdater(config).run, following.publish)
            yield following
            nursery.cancel_scope.cancel()


async def test_the_table_comes_first_and_then_each_put_and_delete(zone: Zone, etcd: EtcdProcess) -> None:
    await zone.put("f", value(3, 1))
    await zone.put("g", value(1))
    async with following(zone.name, etcd.client_url) as follower:
        assert await follower.next_call() == {"f": Weights({A: 3, B: 1}), "g": Weights({A: 1})}
        revision = await zone.put("f", value(5, 1))
        assert await follower.next_call() == {"f": Weights({A: 5, B: 1})}
        assert follower.revisions["f"] == revision
        await zone.put("h", value())
        assert await follower.next_call() == {"h": Weights()}
        revision = await zone.delete("g")
        assert await follower.next_call() == {"g": None}
        assert follower.revisions["g"] == revision


async def test_an_empty_zone_is_a_table_too(zone: Zone, etcd: EtcdProcess) -> None:
    async with following(zone.name, etcd.client_url) as follower:
        assert await follower.next_call() == {}
        await zone.put("f", value(1))
        assert await follower.next_call() == {"f": Weights({A: 1})}


async def test_the_changes_of_one_transaction_come_together(zone: Zone, etcd: EtcdProcess) -> None:
    await zone.put("gone", value(1))
    async with following(zone.name, etcd.client_url) as follower:
        await follower.next_call()
        changes: list[Op] = [PutOp(zone.key("f"), value(1)), PutOp(zone.key("g"), value(2)), DeleteOp(zone.key("gone"))]
        await zone.client.txn([Compare.version(zone.key("gone"), "!=", 0)], changes)
        assert await follower.next_call() == {"f": Weights({A: 1}), "g": Weights({A: 2}), "gone": None}


async def test_a_value_outside_the_networks_for_endpoints_is_refused_and_the_others_are_followed(
    zone: Zone, etcd: EtcdProcess, logs: Logs
) -> None:
    async with following(zone.name, etcd.client_url, target_networks="10.0.3.0/24 10.42.0.0/16") as follower:
        await follower.next_call()
        await zone.put("f", b'{"ips": ["10.42.0.5:8080", "10.0.4.1:8080"], "weights": [1, 1]}')
        await zone.put("g", value(3, 1))
        assert await follower.next_call() == {"g": Weights({A: 3, B: 1})}
    (log,) = (log for log in logs if log["event"] == "refused")
    assert log["reason"] == "ips[1] is '10.0.4.1:8080'; 10.0.4.1 lies in no network of eb_go_lb_target_networks"


async def test_equal_puts_publish_nothing(zone: Zone, etcd: EtcdProcess, logs: Logs) -> None:
    await zone.put("f", value(3, 1))
    async with following(zone.name, etcd.client_url) as follower:
        await follower.next_call()
        for _ in range(20):
            await zone.put("f", value(3, 1))
        await zone.put("f", b'{"weights": [1.0, 3.0], "ips": ["http://10.0.3.1:8080", "10.42.0.5:8080"]}')
        await zone.put("last", value(1))
        assert await follower.next_call() == {"last": Weights({A: 1})}
    assert [log["function"] for log in logs if log["event"] == "weights changed"] == ["f", "last"]


async def test_another_zone_whose_name_begins_the_same_is_another_zone(zone: Zone, etcd: EtcdProcess) -> None:
    longer = Zone(f"{zone.name}2", zone.client)
    await longer.put("f", value(9))
    async with following(zone.name, etcd.client_url) as follower:
        assert await follower.next_call() == {}
        await longer.put("g", value(9))
        await zone.put("h", value(1))
        assert await follower.next_call() == {"h": Weights({A: 1})}


async def test_a_key_that_is_no_functions_is_ignored_and_logged(zone: Zone, etcd: EtcdProcess, logs: Logs) -> None:
    reason = f"the key is not golb/function/{zone.name}/<function>, four segments"
    revision = await zone.put("listed/early", value(1))
    async with following(zone.name, etcd.client_url) as follower:
        assert await follower.next_call() == {}
        for function in ("a/b", "", "a/"):
            await zone.put(function, value(1))
        await zone.client.put(f"golb/function/{zone.name}/".encode() + b"\xff", value(1))
        await zone.put("f", value(1))
        assert await follower.next_call() == {"f": Weights({A: 1})}
    refused = {log["name"]: log["reason"] for log in logs if log["event"] == "refused"}
    assert refused == {
        **{ascii(zone.key(function)): reason for function in ("listed/early", "a/b", "", "a/")},
        ascii(zone.key("") + "\\xff"): "the key is not UTF-8",
    }
    first = next(log for log in logs if log["event"] == "refused")
    assert (first["log_level"], first["revision"]) == ("warning", revision)


@pytest.mark.parametrize("bad", [b"", b"{}", b"\xff", b'{"ips": ["10.42.0.5:8080"], "weights": [-1]}'])
async def test_a_bad_value_keeps_the_last_good_one(bad: bytes, zone: Zone, etcd: EtcdProcess, logs: Logs) -> None:
    await zone.put("f", value(1))
    await zone.put("bad from the start", bad)
    async with following(zone.name, etcd.client_url) as follower:
        assert await follower.next_call() == {"f": Weights({A: 1})}
        revision = await zone.put("f", bad)
        await zone.put("last", value(1))
        assert await follower.next_call() == {"last": Weights({A: 1})}
        await zone.put("bad from the start", value(2))
        assert await follower.next_call() == {"bad from the start": Weights({A: 2})}
        await zone.delete("f")
        assert await follower.next_call() == {"f": None}
    refused = [(log["name"], log["revision"], log["kept"]) for log in logs if log["event"] == "refused"]
    assert refused[1:] == [("f", revision, True)]
    assert refused[0][0::2] == ("bad from the start", False)


@asynccontextmanager
async def gate_to(port: int, before: Callable[[bytes], Awaitable[None]]) -> AsyncIterator[str]:
    """Yield the URL of a way to etcd that calls `before` with each piece of a request before it passes it on."""

    async def pass_on(client: trio.SocketStream) -> None:
        async with client, await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:

            async def answers() -> None:
                async for data in server:
                    await client.send_all(data)

            nursery.start_soon(answers)
            async for data in client:
                await before(bytes(data))
                await server.send_all(data)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, pass_on, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_what_is_put_between_the_list_and_the_watch_is_not_lost(zone: Zone, etcd: EtcdProcess) -> None:
    await zone.put("f", value(1))
    await zone.put("g", value(1))

    async def put_before_the_watch(request: bytes) -> None:
        if b"/v3/watch" in request:
            await zone.put("f", value(2))
            await zone.delete("g")
            await zone.put("h", value(3))

    async with (
        gate_to(etcd.port, put_before_the_watch) as url,
        following(zone.name, url) as follower,
    ):
        assert await follower.next_call() == {"f": Weights({A: 1}), "g": Weights({A: 1})}
        seen = await follower.next_call()
        while len(seen) < 3:  # etcd may send them in one batch or in several
            seen |= await follower.next_call()
        assert seen == {"f": Weights({A: 2}), "g": None, "h": Weights({A: 3})}


async def test_a_large_table_comes_whole(zone: Zone, etcd: EtcdProcess) -> None:
    # More keys than the client reads in one page.
    names = [f"f{number:04}" for number in range(2100)]
    for start in range(0, len(names), 100):
        await zone.client.txn([], [PutOp(zone.key(name), value(1)) for name in names[start : start + 100]])
    async with following(zone.name, etcd.client_url) as follower:
        assert await follower.next_call() == dict.fromkeys(names, Weights({A: 1}))
    await zone.client.delete_prefix(zone.key(""))


async def test_while_etcd_is_away_at_start_nothing_is_published_until_it_comes(logs: Logs) -> None:
    etcd = EtcdProcess(port=choose_ports([None])[0])
    try:
        async with following("zone-a", f"127.0.0.1:{etcd.port}") as follower:
            (*_, second) = await wait_for_logs(logs, 2, event="etcd not reached")
            assert second["log_level"] == "warning"
            assert "127.0.0.1" in second["cause"]
            assert 0.1 <= second["retry_in_s"] <= 0.2
            assert not follower.unread
            await trio.to_thread.run_sync(etcd.start)
            assert await follower.next_call() == {}
            async with zone_in(etcd.client_url, "zone-a") as zone:
                await zone.put("f", value(1))
                assert await follower.next_call() == {"f": Weights({A: 1})}
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(etcd.stop)


async def test_after_a_restart_only_what_differs_is_published(tmp_path: Path, logs: Logs) -> None:
    # The same store on another port meanwhile, where the updater does not look: so it cannot see the changes come.
    etcd = EtcdProcess(data_dir=tmp_path / "data")
    elsewhere = EtcdProcess(data_dir=tmp_path / "data")
    start, stop = EtcdProcess.start, EtcdProcess.stop
    try:
        await trio.to_thread.run_sync(start, etcd)
        async with zone_in(etcd.client_url, "zone-a") as zone:
            for function in ("same", "put again", "changed", "gone", "turns bad"):
                await zone.put(function, value(1))
        async with following("zone-a", etcd.client_url) as follower:
            assert len(await follower.next_call()) == 5
            await trio.to_thread.run_sync(stop, etcd)
            await wait_for_logs(logs, 1, event="etcd lost")
            await trio.to_thread.run_sync(start, elsewhere)
            async with zone_in(elsewhere.client_url, "zone-a") as zone:
                await zone.put("put again", value(1))
                await zone.put("changed", value(2))
                await zone.put("turns bad", b"7")
                revision = await zone.delete("gone")
                await zone.put("new", value(3))
            await trio.to_thread.run_sync(stop, elsewhere)
            await trio.to_thread.run_sync(start, etcd)
            assert await follower.next_call() == {
                "changed": Weights({A: 2}),
                "gone": None,
                "new": Weights({A: 3}),
            }
            assert follower.revisions["changed"] < revision < follower.revisions["new"]
            async with zone_in(etcd.client_url, "zone-a") as zone:
                await zone.put("last", value(1))
                assert await follower.next_call() == {"last": Weights({A: 1})}
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(stop, etcd)
            await trio.to_thread.run_sync(stop, elsewhere)
    assert [log["name"] for log in logs if log["event"] == "refused"] == ["turns bad"]

"""What is served is etcd's truth: through compaction, lost events, a store that went back, and a zone that is quiet."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from support.etcd_cluster import EtcdCluster
from updaters.etcd_follower import ZONE, following, key, value, weights

from demo.etcd import EtcdProcess
from golb.trio_etcd import EtcdClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def own_etcd(tmp_path: Path) -> AsyncIterator[EtcdProcess]:
    """An etcd of the test's own, to be stopped and started."""
    etcd = EtcdProcess(data_dir=tmp_path / "data")
    await trio.to_thread.run_sync(etcd.start)
    try:
        yield etcd
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(etcd.stop)


async def put(etcd: EtcdProcess, function: str, content: bytes) -> int:
    async with EtcdClient([etcd.client_url]) as client:
        return (await client.put(key(function), content)).header.revision


async def test_what_was_compacted_while_etcd_was_away_is_listed_and_only_the_difference_published(
    own_etcd: EtcdProcess, tmp_path: Path
) -> None:
    for function in ("same", "changed", "gone"):
        await put(own_etcd, function, value(1))
    # The same store on another port meanwhile, where golb does not look.
    elsewhere = EtcdProcess(data_dir=tmp_path / "data")
    async with following(own_etcd.client_url, timeout_s=20) as follower:
        assert len(await follower.next_call()) == 3
        await follower.logged("watch opened")
        await trio.to_thread.run_sync(own_etcd.stop)
        await trio.to_thread.run_sync(elsewhere.start)
        try:
            await put(elsewhere, "changed", value(2))
            async with EtcdClient([elsewhere.client_url]) as client:
                revision = (await client.delete(key("gone"))).header.revision
                await client.compact(revision)
        finally:
            await trio.to_thread.run_sync(elsewhere.stop)
        await trio.to_thread.run_sync(own_etcd.start)
        assert await follower.next_call() == {"gone": None, "changed": weights(2)}
        listed = await follower.logged("weights listed", 2)
        assert (listed["zone"], listed["functions"], listed["revision"], listed["changed"]) == (ZONE, 2, revision, 2)
        compacted = follower.all_logged("weights to be listed")[0]
        assert compacted["log_level"] == "info"
        assert "compacted" in compacted["cause"]
        await put(own_etcd, "last", value(1))
        assert await follower.next_call() == {"last": weights(1)}
    assert not follower.all_logged("etcd went back")


async def test_a_compaction_does_not_disturb_a_watch(etcd: EtcdProcess) -> None:
    # Other tests' old revisions are none of their business.
    async with following(etcd.client_url) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        async with EtcdClient([etcd.client_url]) as client:
            await client.compact((await client.put(key("f"), value(1))).header.revision)
            assert await follower.next_call() == {"f": weights(1)}
            await client.delete(key("f"))
        assert await follower.next_call() == {"f": None}
    assert len(follower.all_logged("weights listed")) == 1


async def test_a_zone_that_is_quiet_while_others_are_not_is_known_to_be_current(own_etcd: EtcdProcess) -> None:
    await put(own_etcd, "f", value(1))
    await put(own_etcd, "bad", b"")
    await put(own_etcd, "no/function", value(1))
    async with following(own_etcd.client_url, timeout_s=1) as follower, EtcdClient([own_etcd.client_url]) as client:
        await follower.next_call()
        began_at = trio.current_time()
        while trio.current_time() < began_at + 1.3:
            revision = (await client.put("another", b"")).header.revision
        await follower.confirmed_after(trio.current_time())
        assert follower.knowledge.revision >= revision
        await client.delete(key("bad"))
        await client.put("another", b"")
        await follower.confirmed_after(trio.current_time())
        await client.put(key("f"), value(2))
        await client.put("another", b"")
        assert await follower.next_call() == {"f": weights(2)}
        await follower.confirmed_after(trio.current_time())
    assert not follower.all_logged("weights stale")
    assert not follower.all_logged("etcd lost")
    assert len(follower.all_logged("weights listed")) == 1


class Swallowing:
    """A way to etcd that swallows the next piece of a watch with an event in it, when it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.is_armed = False

    async def start(self, nursery: trio.Nursery) -> str:
        listeners = await nursery.start(partial(trio.serve_tcp, self._pass_on, 0, host="127.0.0.1"))
        return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"

    async def _pass_on(self, client: trio.SocketStream) -> None:
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", self._port) as server,
            trio.open_nursery() as nursery,
        ):

            async def answers() -> None:
                async for data in server:
                    # A line of a watch is one chunk, so the stream stays whole without it.
                    if self.is_armed and b'"events"' in data:
                        self.is_armed = False
                        continue
                    await client.send_all(data)

            nursery.start_soon(answers)
            async for data in client:
                await server.send_all(data)
            nursery.cancel_scope.cancel()


async def test_a_watch_that_does_not_deliver_is_opened_again_from_the_next_revision(
    own_etcd: EtcdProcess, nursery: trio.Nursery
) -> None:
    await put(own_etcd, "f", value(1))
    swallowing = Swallowing(own_etcd.port)
    url = await swallowing.start(nursery)
    async with following(url, timeout_s=2) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        swallowing.is_armed = True
        async with EtcdClient([own_etcd.client_url]) as client:
            await client.delete(key("f"))
        assert await follower.next_call() == {"f": None}
        await follower.confirmed_after(trio.current_time())
        assert "does not deliver" in (await follower.logged("etcd lost"))["cause"]
    assert not follower.all_logged("weights stale")
    assert len(follower.all_logged("weights listed")) == 1
    nursery.cancel_scope.cancel()


async def test_a_list_now_and_then_makes_up_for_an_event_that_was_lost(
    own_etcd: EtcdProcess, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golb.updaters.etcd._LIST_EVERY_S", 0.5)
    await put(own_etcd, "f", value(1))
    await put(own_etcd, "g", value(1))
    swallowing = Swallowing(own_etcd.port)
    url = await swallowing.start(nursery)
    async with following(url, timeout_s=100) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        swallowing.is_armed = True
        lost = await put(own_etcd, "f", value(2))
        assert await follower.next_call() == {"f": weights(2)}
        assert follower.revisions["f"] == lost
        await follower.logged("weights listed", changed="1")
        listed = [log for log in follower.all_logged("weights listed") if log["changed"]]
        assert [log["changed"] for log in listed] == [2, 1]
        await put(own_etcd, "g", value(2))
        assert await follower.next_call() == {"g": weights(2)}
        assert len(follower.all_logged("watch opened")) == 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("as_new_cluster", [False, True])
async def test_a_store_restored_from_a_backup_is_the_new_truth(*, as_new_cluster: bool, tmp_path: Path) -> None:
    async with EtcdCluster(tmp_path, size=1) as cluster:
        await cluster.put(key("restored"), value(1))
        await cluster.put(key("f"), value(1))
        await cluster.snapshot(tmp_path / "snapshot")
        await cluster.delete(key("restored"))
        await cluster.put(key("lost"), value(1))
        await cluster.put(key("f"), value(2))
        async with following(*cluster.client_urls) as follower:
            assert await follower.next_call() == {"f": weights(2), "lost": weights(1)}
            opened = await follower.logged("watch opened")
            old_id = follower.knowledge.cluster_id
            await cluster.restore(tmp_path / "snapshot", as_new_cluster=as_new_cluster)
            await cluster.wait_until_healthy()
            healthy_at = trio.current_time()
            assert await follower.next_call() == {"f": weights(1), "lost": None, "restored": weights(1)}
            assert trio.current_time() - healthy_at < 2
            await follower.logged("weights listed", 2)
            back = await follower.logged("etcd went back")
            assert back["log_level"] == "error"
            assert back["was_revision"] == opened["revision"] > back["is_revision"] == follower.knowledge.revision
            assert back["was_cluster_id"] == old_id
            assert back["is_cluster_id"] == follower.knowledge.cluster_id
            assert (old_id != follower.knowledge.cluster_id) == as_new_cluster
            await cluster.put(key("f"), value(3))
            assert await follower.next_call() == {"f": weights(3)}
        assert len(follower.all_logged("etcd went back")) == 1


async def test_a_restored_store_that_has_passed_the_old_revision_is_listed_after_a_long_absence(
    own_etcd: EtcdProcess, tmp_path: Path
) -> None:
    await put(own_etcd, "f", value(1))
    async with following(own_etcd.client_url, timeout_s=0.5) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        await trio.to_thread.run_sync(own_etcd.stop)
        await follower.logged("weights stale")
        shutil.rmtree(tmp_path / "data")
        # A new store, which is as far before golb looks again.
        elsewhere = EtcdProcess(data_dir=tmp_path / "data")
        await trio.to_thread.run_sync(elsewhere.start)
        try:
            for _ in range(10):
                await put(elsewhere, "g", value(1))
        finally:
            await trio.to_thread.run_sync(elsewhere.stop)
        await trio.to_thread.run_sync(own_etcd.start)
        seen = await follower.next_call()
        while "f" not in seen:
            seen |= await follower.next_call()
        assert seen == {"f": None, "g": weights(1)}


async def test_each_try_is_logged_and_says_whether_etcd_was_ever_reached() -> None:
    async with following("http://127.0.0.1:1") as follower:
        lines = [await follower.logged("etcd not reached", count) for count in (1, 2, 3)]
        assert all(line["log_level"] == "warning" and "127.0.0.1:1" in line["cause"] for line in lines)
        assert [0.05 <= line["retry_in_s"] / 2**n <= 0.1 for n, line in enumerate(lines)] == [True] * 3  # it is rounded
        assert follower.knowledge.connection in ("lost", "connecting")
        assert follower.knowledge.source == "none"
        assert follower.knowledge.age_s == float("inf")
    assert not follower.all_logged("etcd lost")
    assert not follower.all_logged("weights stale")

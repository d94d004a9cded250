"""Members that die, freeze, lag and lose their leader: the weights go on, and golb knows how old they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from support.etcd_cluster import EtcdCluster
from support.relay import open_relay
from trio_etcd.faults import Answering
from updaters.etcd_follower import following, key, value, weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.etcd_cluster import Member
    from updaters.etcd_follower import Follower

    from demo.etcd import EtcdProcess

TIMEOUT_S = 1.2
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    async with EtcdCluster(tmp_path) as cluster:
        await cluster.put(key("f"), value(1))
        yield cluster


@pytest.fixture
def first_host_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golb.updaters.etcd_client.randrange", lambda _: 0)


def watched(cluster: EtcdCluster, follower: Follower) -> Member:
    return next(member for member in cluster.members if member.client_url == follower.knowledge.member)


async def test_another_member_goes_on_where_a_killed_and_then_a_frozen_one_left_off(cluster: EtcdCluster) -> None:
    # Longer than an election: weights that were stale would be listed once more.
    timeout_s = 4
    async with following(*cluster.client_urls, timeout_s=timeout_s) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        killed = watched(cluster, follower)
        await cluster.kill(killed)
        began_at = trio.current_time()
        await cluster.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        lost = follower.all_logged("etcd lost")[0]
        assert lost["log_level"] == "warning"
        assert killed.client_url in lost["cause"]
        assert 0 < lost["retry_in_s"] <= 0.1
        opened = await follower.logged("watch opened", 2)
        assert opened["member"] != killed.client_url
        await follower.confirmed_after(began_at)
        await cluster.start(killed)
        await cluster.wait_until_healthy()
        await follower.confirmed_after(trio.current_time())

        frozen = watched(cluster, follower)
        cluster.pause(frozen)
        try:
            # If it led, etcd itself has to find another leader first, and loses what is put meanwhile.
            await cluster.leader()
            await cluster.put(key("f"), value(3))
            began_at = trio.current_time()
            assert await follower.next_call() == {"f": weights(3)}
            await follower.confirmed_after(began_at)
            assert trio.current_time() - began_at < timeout_s + 0.5
            assert follower.knowledge.member != frozen.client_url
        finally:
            cluster.resume(frozen)
    # Watches took up where the others had ended.
    assert len(follower.all_logged("weights listed")) == 1
    assert not follower.unread


async def test_without_a_quorum_the_weights_are_called_stale_until_it_is_back(cluster: EtcdCluster) -> None:
    async with following(*cluster.client_urls, timeout_s=TIMEOUT_S) as follower:
        await follower.next_call()
        revision = (await follower.logged("watch opened"))["revision"]
        one, other, _ = cluster.members
        await cluster.kill(one, other)
        began_at = trio.current_time()
        stale = await follower.logged("weights stale")
        assert trio.current_time() - began_at < TIMEOUT_S + 1
        assert (stale["log_level"], stale["revision"]) == ("warning", revision)
        assert TIMEOUT_S <= stale["age_s"] < TIMEOUT_S + 0.5
        assert round(follower.knowledge.age_s, 3) >= stale["age_s"]  # which is rounded so
        assert follower.knowledge.source == "etcd"
        await cluster.start(one, other)
        await cluster.wait_until_healthy()
        healthy_at = trio.current_time()
        await cluster.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        current = await follower.logged("weights current")
        assert trio.current_time() - healthy_at < 2
        assert current["revision"] >= revision
        assert 0 < current["stale_s"] < trio.current_time() - began_at
        assert follower.knowledge.connection == "open"


async def test_members_that_refuse_or_say_nothing_do_not_block_the_start(
    etcd: EtcdProcess, nursery: trio.Nursery, first_host_first: None
) -> None:
    mute = await Answering(b"", hold=True).start(nursery)
    began_at = trio.current_time()
    async with following(NOWHERE, mute, etcd.client_url, timeout_s=1) as follower:
        await follower.next_call()
        assert (await follower.logged("watch opened"))["member"] == etcd.client_url
        assert trio.current_time() - began_at < 2
    assert not follower.all_logged("etcd not reached")


@pytest.mark.parametrize("fault", ["stop_reading", "forget"])
async def test_a_watch_on_a_half_open_connection_is_left_within_the_timeout(
    fault: str, cluster: EtcdCluster, first_host_first: None
) -> None:
    async with open_relay(cluster.members[0].port) as relay:
        async with following(relay.url, cluster.members[1].client_url, timeout_s=TIMEOUT_S) as follower:
            await follower.next_call()
            assert (await follower.logged("watch opened"))["member"] == relay.url
            await follower.confirmed_after(trio.current_time())
            getattr(relay, fault)()
            began_at = trio.current_time()
            await cluster.put(key("f"), value(2))
            assert await follower.next_call() == {"f": weights(2)}
            assert trio.current_time() - began_at < TIMEOUT_S + 0.5
            await follower.confirmed_after(began_at)
            assert follower.all_logged("watch opened")[-1]["member"] == cluster.members[1].client_url
        assert not follower.all_logged("weights stale")
        assert len(follower.all_logged("weights listed")) == 1

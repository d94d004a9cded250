"""The cluster that tests break is a real one, and comes back from whatever is done to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from support.etcd_cluster import EtcdAway, EtcdCluster, EtcdRefused
from support.relay import open_relays

from chaos.arena import make_cluster_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from support.etcd_cluster import ClusterTls
    from support.relay import Relay

BOUND_S = 30.0


@asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    token_ttl_s: int | None = 1,
    tls: ClusterTls | None = None,
    run_relay: Callable[[int], Relay] | None = None,
) -> AsyncIterator[EtcdCluster]:
    with trio.fail_after(BOUND_S):
        async with EtcdCluster(folder, token_ttl_s=token_ttl_s, tls=tls, run_relay=run_relay) as cluster:
            yield cluster


async def cluster_id(cluster: EtcdCluster) -> str:
    status = await cluster.call("/v3/maintenance/status", {})
    return str(status["header"]["cluster_id"])


async def test_members_may_die_hang_and_lose_their_disks(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        await cluster.put("a", b"1")
        leader = await cluster.leader()
        await cluster.kill(leader)
        assert await cluster.leader() is not leader
        await cluster.put("a", b"2")
        await cluster.start(leader)
        await cluster.wait_until_healthy()
        cluster.pause(*cluster.members)
        with pytest.raises(EtcdAway, match="no member runs"):
            await cluster.put("a", b"3")
        cluster.resume(*cluster.members)
        await cluster.wait_until_healthy()
        await cluster.wipe(leader)
        await cluster.wait_until_healthy()
        values, revision = await cluster.read_prefix("a")
        assert (values, revision) == ({"a": b"2"}, 3)
        answer = await cluster.ask(leader, "/v3/kv/range", {"key": "YQ=="})
        assert answer["header"]["revision"] == "3"


async def test_a_leader_that_is_cut_off_confirms_nothing_while_the_others_go_on(tmp_path: Path) -> None:
    # Without tokens: one that expires meanwhile is renewed by all members together, so no longer by the one that is alone.
    async with (
        open_relays() as run_relay,
        running_cluster(tmp_path, token_ttl_s=None, run_relay=run_relay) as cluster,
    ):
        await cluster.put("a", b"1")
        alone = await cluster.leader()
        await cluster.cut_off(alone)
        assert await cluster.leader() is not alone
        revision = await cluster.put("a", b"2")
        with pytest.raises((EtcdAway, EtcdRefused)):
            await cluster.ask(alone, "/v3/kv/range", {"key": "YQ=="}, timeout_s=0.5)
        # Its clients still reach it, and what it holds is old.
        held = await cluster.ask(alone, "/v3/kv/range", {"key": "YQ==", "serializable": True})
        assert held["header"]["revision"] == str(revision - 1)
        cluster.rejoin(alone)
        await cluster.wait_until_healthy()
        answer = await cluster.ask(alone, "/v3/kv/range", {"key": "YQ=="})
        assert answer["header"]["revision"] == str(revision)


async def test_a_member_that_joins_a_restored_cluster_takes_tokens(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        revision = await cluster.put("a", b"1")
        await cluster.snapshot(tmp_path / "snapshot")
        await cluster.restore(tmp_path / "snapshot", as_new_cluster=False)
        await cluster.wait_until_healthy()
        joined = cluster.members[-1]
        await cluster.wipe(joined)
        await cluster.wait_until_healthy()
        answer = await cluster.ask(joined, "/v3/kv/range", {"key": "YQ=="})
        assert answer["header"]["revision"] == str(revision)


async def test_without_a_quorum_nothing_is_read_or_put(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        first, *others = cluster.members
        await cluster.kill(*others)
        with pytest.raises(EtcdAway):
            await cluster.put("a", b"1", timeout_s=0.2)
        await cluster.start(*others)
        await cluster.wait_until_healthy()
        assert await cluster.leader() in (first, *others)


async def test_a_snapshot_brings_the_revision_back_with_the_same_cluster_id_or_another(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        await cluster.put("a", b"1")
        urls, before = cluster.client_urls, await cluster_id(cluster)
        await cluster.snapshot(tmp_path / "snapshot")
        await cluster.put("a", b"2")
        await cluster.restore(tmp_path / "snapshot", as_new_cluster=False)
        await cluster.wait_until_healthy()
        assert await cluster.read_prefix("a") == ({"a": b"1"}, 2)
        assert await cluster_id(cluster) == before
        await cluster.restore(tmp_path / "snapshot", as_new_cluster=True)
        await cluster.wait_until_healthy()
        assert await cluster.read_prefix("a") == ({"a": b"1"}, 2)
        assert await cluster_id(cluster) != before
        assert cluster.client_urls == urls


async def test_a_compacted_revision_is_gone_and_a_defragmented_member_answers(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        await cluster.put("a", b"1")
        revision = await cluster.put("a", b"2")
        await cluster.compact(revision)
        with pytest.raises(EtcdRefused, match="compacted"):
            await cluster.call("/v3/kv/range", {"key": "YQ==", "revision": revision - 1})
        for member in cluster.members:
            await cluster.defragment(member)
        assert await cluster.read_prefix("a") == ({"a": b"2"}, revision)


async def test_a_user_may_do_what_its_role_says_and_its_token_ends(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        await cluster.add_user("golb", "pw", "golb/")
        await cluster.change_password("golb", "pw")
        await cluster.switch_auth(on=False)
        await cluster.put("golb/a", b"1")
        await cluster.switch_auth(on=True)
        # The cluster's own token is void now, and it gets itself another.
        assert (await cluster.read_prefix("golb/"))[0] == {"golb/a": b"1"}


async def test_clients_are_served_over_tls(tmp_path: Path) -> None:
    tls = make_cluster_tls(tmp_path)
    async with running_cluster(tmp_path, tls=tls) as cluster:
        assert cluster.client_urls[0].startswith("https://")
        await cluster.put("a", b"1")
        await cluster.snapshot(tmp_path / "snapshot")
        await cluster.restore(tmp_path / "snapshot", as_new_cluster=True)
        await cluster.wait_until_healthy()
        assert (await cluster.read_prefix("a"))[0] == {"a": b"1"}

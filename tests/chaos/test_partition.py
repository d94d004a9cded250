"""A member that is cut off from a healthy majority still answers golb, and may know nothing new: golb leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from support.etcd_cluster import EtcdCluster
from support.relay import open_relays
from updaters.etcd_follower import following, key, value, weights

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 1.2


@pytest.mark.parametrize("is_leader", [True, False])
async def test_a_watch_at_a_member_that_is_cut_off_is_left_within_the_timeout(
    *, is_leader: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golb.updaters.etcd_client.randrange", lambda _: 0)
    async with open_relays() as run_relay, EtcdCluster(tmp_path, run_relay=run_relay) as cluster:
        await cluster.put(key("f"), value(1))
        leader = await cluster.leader()
        other = next(member for member in cluster.members if member is not leader)
        alone = leader if is_leader else other
        hosts = [alone.client_url, *(url for url in cluster.client_urls if url != alone.client_url)]
        async with following(*hosts, timeout_s=TIMEOUT_S) as follower:
            assert await follower.next_call() == {"f": weights(1)}
            assert (await follower.logged("watch opened"))["member"] == alone.client_url
            await follower.confirmed_after(trio.current_time())
            await cluster.cut_off(alone)
            # If it led, the others have to find another leader first.
            await cluster.leader()
            revision = await cluster.put(key("f"), value(2))
            put_at = trio.current_time()
            assert await follower.next_call() == {"f": weights(2)}
            assert trio.current_time() - put_at < TIMEOUT_S + 0.5
            await follower.confirmed_after(put_at)
            assert follower.revisions["f"] == revision
            assert follower.knowledge.member != alone.client_url
            cluster.rejoin(alone)
            await cluster.wait_until_healthy()
            await cluster.put(key("f"), value(3))
            assert await follower.next_call() == {"f": weights(3)}
        # The watch went on from the next revision: nothing came twice, and nothing was lost.
        assert not follower.unread
        assert not follower.all_logged("etcd went back")

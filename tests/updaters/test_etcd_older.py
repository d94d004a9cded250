"""The essentials against etcd 3.4, which Debian 12 still has: its gateway and its errors are not those of 3.5.

It is the binary that the variable GOLB_TEST_ETCD_3_4 names, else the etcd on the PATH if that is a 3.4.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from support.etcd_cluster import EtcdCluster
from support.relay import open_relay
from trio_etcd.faults import Relay
from updaters.etcd_follower import following, key, value, weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.etcd_cluster import Member
    from updaters.etcd_follower import Follower

VARIABLE = "GOLB_TEST_ETCD_3_4"
USER, PASSWORD = "golb", "s3cret-1"
LOGIN = {"etcd_user": USER, "etcd_password": PASSWORD}
TIMEOUT_S = 1.2


def base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def is_3_4(binary: str) -> bool:
    done = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    return re.match(r"etcd Version: 3\.4\.", done.stdout) is not None


@pytest.fixture(scope="session")
def etcd_3_4() -> Path:
    if named := os.environ.get(VARIABLE):
        assert is_3_4(named), f"{VARIABLE} names {named}, which is no etcd 3.4"
        return Path(named)
    found = shutil.which("etcd")
    if found is None or not is_3_4(found):
        pytest.skip(f"no etcd 3.4: {VARIABLE} names none, and on the PATH is {found or 'no etcd'}")
    return Path(found)


@pytest.fixture
async def single(etcd_3_4: Path, tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    async with EtcdCluster(tmp_path, size=1, binary=etcd_3_4) as cluster:
        await cluster.put(key("f"), value(1))
        yield cluster


@pytest.fixture
async def guarded(etcd_3_4: Path, tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    """One member with authentication; tokens live for a second, and golb's user may read its zone only."""
    async with EtcdCluster(tmp_path, size=1, token_ttl_s=1, binary=etcd_3_4) as cluster:
        await cluster.add_user(USER, PASSWORD, key(""))
        await cluster.put(key("f"), value(1))
        yield cluster


@pytest.fixture
async def cluster(etcd_3_4: Path, tmp_path: Path) -> AsyncIterator[EtcdCluster]:
    async with EtcdCluster(tmp_path, binary=etcd_3_4) as cluster:
        await cluster.put(key("f"), value(1))
        yield cluster


def watched(cluster: EtcdCluster, follower: Follower) -> Member:
    return next(member for member in cluster.members if member.client_url == follower.knowledge.member)


async def test_it_is_a_3_4_that_answers(single: EtcdCluster) -> None:
    status = await single.call("/v3/maintenance/status", {})
    assert status["version"].startswith("3.4.")


async def test_the_table_comes_first_and_then_each_put_and_delete(single: EtcdCluster) -> None:
    async with following(*single.client_urls, timeout_s=1) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        revision = await single.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        assert follower.revisions["f"] == revision
        revision = await single.delete(key("f"))
        assert await follower.next_call() == {"f": None}
        assert follower.revisions["f"] == revision
        # A quiet zone is confirmed too, by the header alone.
        revision = await single.put("another", b"")
        await follower.confirmed_after(trio.current_time())
        assert follower.knowledge.revision >= revision
    assert not follower.all_logged("etcd lost")
    assert not follower.all_logged("weights stale")
    assert len(follower.all_logged("weights listed")) == 1


async def test_a_table_of_many_pages_comes_whole(single: EtcdCluster) -> None:
    # More keys than the client reads in one page.
    names = [f"f{number:04}" for number in range(2100)]
    for start in range(0, len(names), 100):
        puts = [
            {"requestPut": {"key": base64(key(name).encode()), "value": base64(value(1))}}
            for name in names[start : start + 100]
        ]
        await single.call("/v3/kv/txn", {"success": puts})
    async with following(*single.client_urls) as follower:
        assert await follower.next_call() == dict.fromkeys(["f", *names], weights(1))


async def test_a_compaction_does_not_disturb_a_watch(single: EtcdCluster) -> None:
    async with following(*single.client_urls) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        await single.compact(await single.put(key("f"), value(2)))
        assert await follower.next_call() == {"f": weights(2)}
        await single.put(key("f"), value(3))
        assert await follower.next_call() == {"f": weights(3)}
    assert len(follower.all_logged("weights listed")) == 1


async def test_what_was_compacted_while_golb_was_cut_off_is_listed_and_only_the_difference_published(
    single: EtcdCluster,
) -> None:
    for function in ("changed", "gone"):
        await single.put(key(function), value(1))
    async with open_relay(single.members[0].port) as relay, following(relay.url, timeout_s=20) as follower:
        assert len(await follower.next_call()) == 3
        await follower.logged("watch opened")
        relay.refuse()
        await follower.logged("etcd lost")
        await single.put(key("changed"), value(2))
        revision = await single.delete(key("gone"))
        await single.compact(revision)
        relay.heal()
        assert await follower.next_call() == {"gone": None, "changed": weights(2)}
        await follower.logged("weights listed", 2)
        assert "compacted" in follower.all_logged("weights to be listed")[0]["cause"]
        await single.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
    assert not follower.all_logged("etcd went back")


async def test_a_restart_is_caught_up_with(single: EtcdCluster) -> None:
    async with following(*single.client_urls) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        await single.kill(*single.members)
        await follower.logged("etcd lost")
        await single.start(*single.members)
        await single.wait_until_healthy()
        await single.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
    assert not follower.all_logged("etcd went back")


async def test_a_token_that_is_no_more_is_renewed_and_the_watch_goes_on(guarded: EtcdCluster) -> None:
    async with following(*guarded.client_urls, variables=LOGIN) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        # The user's tokens are void, then all are, and the auth revision is another one.
        await guarded.change_password(USER, PASSWORD)
        await follower.confirmed_after(trio.current_time())
        await guarded.switch_auth(on=False)
        await guarded.switch_auth(on=True)
        await follower.confirmed_after(trio.current_time())
        await guarded.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        # A new watch with a token of before the restart.
        await guarded.kill(*guarded.members)
        await guarded.start(*guarded.members)
        await guarded.wait_until_healthy()
        await guarded.put(key("f"), value(3))
        assert await follower.next_call() == {"f": weights(3)}
    assert not follower.all_logged("etcd went back")
    assert PASSWORD not in str(follower.logs)


async def test_a_token_that_has_expired_is_renewed(guarded: EtcdCluster, nursery: trio.Nursery) -> None:
    relay = Relay(guarded.members[0].port)
    url = await relay.start(nursery)
    # With so long a timeout, more than two seconds pass between two reads.
    async with following(url, timeout_s=15, variables=LOGIN) as follower:
        await follower.next_call()
        while relay.received.count(b"POST /v3/auth/authenticate") < 2:  # noqa: ASYNC110 - it sets no event
            await trio.sleep(0.01)
        await guarded.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
    assert not follower.all_logged("etcd lost")
    nursery.cancel_scope.cancel()


async def test_another_member_goes_on_where_a_killed_and_then_a_frozen_one_left_off(cluster: EtcdCluster) -> None:
    timeout_s = 4
    async with following(*cluster.client_urls, timeout_s=timeout_s) as follower:
        assert await follower.next_call() == {"f": weights(1)}
        await follower.logged("watch opened")
        killed = watched(cluster, follower)
        await cluster.kill(killed)
        await cluster.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        await cluster.start(killed)
        await cluster.wait_until_healthy()
        await follower.confirmed_after(trio.current_time())
        frozen = watched(cluster, follower)
        cluster.pause(frozen)
        try:
            await cluster.leader()
            await cluster.put(key("f"), value(3))
            began_at = trio.current_time()
            assert await follower.next_call() == {"f": weights(3)}
            await follower.confirmed_after(began_at)
            assert trio.current_time() - began_at < timeout_s + 0.5
            assert follower.knowledge.member != frozen.client_url
        finally:
            cluster.resume(frozen)


async def test_a_watch_at_a_member_without_a_leader_is_left(cluster: EtcdCluster) -> None:
    async with following(*cluster.client_urls, timeout_s=TIMEOUT_S) as follower:
        await follower.next_call()
        await follower.logged("watch opened")
        alone = watched(cluster, follower)
        others = [member for member in cluster.members if member is not alone]
        # It is alive and says so, and leads nobody.
        await cluster.kill(*others)
        stale = await follower.logged("weights stale")
        assert TIMEOUT_S <= stale["age_s"] < TIMEOUT_S + 1
        await cluster.start(*others)
        await cluster.wait_until_healthy()
        healthy_at = trio.current_time()
        await cluster.put(key("f"), value(2))
        assert await follower.next_call() == {"f": weights(2)}
        await follower.logged("weights current")
        assert trio.current_time() - healthy_at < 2

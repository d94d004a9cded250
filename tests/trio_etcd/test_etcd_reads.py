"""Reads that ask for as much as fits, of one member, and what shows that a zone is unchanged."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING

import pytest
import trio
from support.etcd_cluster import EtcdCluster
from trio_etcd.faults import Answering, Relay, http_answer

from golb.trio_etcd import AnswerTooLong, EtcdClient, PrefixSummary, PutOp, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from demo.etcd import EtcdProcess

DEADLINE_S = 20
NOWHERE = "http://127.0.0.1:1"


def limits(relay: Relay) -> list[int]:
    """Return the pages' sizes that were asked for."""
    return [int(limit) for limit in re.findall(rb'"limit":(\d+)', bytes(relay.received))]


async def test_pages_grow_to_what_is_asked_for_while_values_are_short(etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    prefix = f"{uuid.uuid4()}/"
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            for start in range(0, 1500, 100):
                await client.txn([], [PutOp(f"{prefix}{n:04}", b"") for n in range(start, start + 100)])
            listed = await client.get_prefix(prefix)
            assert [kv.key.decode() for kv in listed.kvs] == [f"{prefix}{n:04}" for n in range(1500)]
            assert limits(relay) == [32, 256, 1000, 1000]
            await client.delete_prefix(prefix)
    nursery.cancel_scope.cancel()


async def test_pages_of_long_values_are_short(etcd: EtcdProcess, nursery: trio.Nursery) -> None:
    prefix = f"{uuid.uuid4()}/"
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            for number in range(40):
                await client.put(f"{prefix}{number:02}", bytes(200_000))
            listed = await client.get_prefix(prefix)
            assert [len(kv.value) for kv in listed.kvs] == [200_000] * 40
            assert limits(relay) == [32, 5, 5]
            await client.delete_prefix(prefix)
    nursery.cancel_scope.cancel()


async def test_a_page_beyond_the_gateways_limit_is_asked_for_in_parts(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway of this etcd has no limit, but the client has one, and both go the same way."""
    prefix = f"{uuid.uuid4()}/"
    monkeypatch.setattr("golb.trio_etcd._transport.MAX_ANSWER_BYTES", 100_000)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([etcd.client_url]) as client:
            for number in range(20):
                await client.put(f"{prefix}{number:02}", bytes(20_000))
            listed = await client.get_prefix(prefix)
            assert [len(kv.value) for kv in listed.kvs] == [20_000] * 20
            await client.put(f"{prefix}10", bytes(90_000))
            with pytest.raises(AnswerTooLong, match="an answer of more than 100000 bytes"):
                await client.get_prefix(prefix)
            await client.delete_prefix(prefix)


async def test_the_gateways_own_word_for_a_long_answer_is_understood(nursery: trio.Nursery) -> None:
    # As grpc-go says it (internal/transport, recvMsg).
    message = "grpc: received message larger than max (5000000 vs. 4194304)"
    body = json.dumps({"error": message, "message": message, "code": 8}).encode()
    gateway = Answering(http_answer(body, status="429 Too Many Requests"))
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await gateway.start(nursery)]) as client:
            with pytest.raises(AnswerTooLong, match="larger than max"):
                await client.get_prefix("k")
    assert gateway.requests == 4  # 32, 8, 2 and 1 keys
    nursery.cancel_scope.cancel()


async def test_a_summary_tells_the_newest_put_and_the_number_of_keys(etcd: EtcdProcess) -> None:
    prefix = f"{uuid.uuid4()}/"
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([etcd.client_url]) as client:
            empty = await client.summarize_prefix(prefix)
            assert (empty.count, empty.newest_revision) == (0, 0)
            await client.put(f"{prefix}b", b"")
            newest = (await client.put(f"{prefix}a", b"")).header.revision
            await client.put(f"{prefix}c", b"")
            await client.delete(f"{prefix}c")
            other = await client.put(str(uuid.uuid4()), b"")
            summary = await client.summarize_prefix(prefix, member=etcd.client_url)
            assert summary == PrefixSummary(summary.header, count=2, newest_revision=newest)
            assert summary.header.revision >= other.header.revision
            await client.delete_prefix(prefix)


async def test_one_member_is_asked_alone(etcd: EtcdProcess) -> None:
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([etcd.client_url, NOWHERE]) as client:
            await client.get("k", member=etcd.client_url)
            with pytest.raises(Unavailable):
                await client.get("k", member=NOWHERE)
            with pytest.raises(Unavailable):
                await client.summarize_prefix("k", member=NOWHERE)
            async with client.watch("k") as watch:
                assert watch.member == etcd.client_url
            client.pass_over(etcd.client_url)
            await client.get("k")


async def test_without_a_leader_a_watch_ends_and_reads_are_refused_at_once(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with EtcdCluster(tmp_path) as cluster:
            left, *others = cluster.members
            async with EtcdClient([left.client_url]) as client:
                async with client.watch("k") as watch:
                    await cluster.kill(*others)
                    with pytest.raises(Unavailable, match="no leader"):
                        await anext(watch)
                for request in (client.get("k"), client.get_prefix("k"), client.summarize_prefix("k")):
                    with pytest.raises(Unavailable, match="no leader"), trio.fail_after(1):
                        await request
                with pytest.raises(Unavailable, match="no leader"):
                    async with client.watch("k"):
                        pass
                # What the member knows by itself, it tells.
                await client.get("k", serializable=True)
                await client.get_prefix("k", serializable=True)

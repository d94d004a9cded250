"""Keys, transactions and leases, against a real etcd."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import trio
from trio_etcd.faults import Relay

from golb.trio_etcd import (
    Compacted,
    Compare,
    DeleteOp,
    DeleteResult,
    EtcdClient,
    Event,
    EventType,
    GetOp,
    LeaseNotFound,
    Op,
    PutOp,
    PutResult,
    RangeResult,
    ServerError,
    Watch,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from demo.etcd import EtcdProcess

DEADLINE_S = 10


@pytest.fixture
async def client(etcd: EtcdProcess) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([etcd.client_url]) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4()}/"


async def next_delete(watch: Watch) -> Event:
    while True:
        for event in (await anext(watch)).events:
            if event.type is EventType.DELETE:
                return event


async def test_a_put_is_read_back_with_its_revision(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        absent = await client.get(prefix)
        assert absent.kv is None
        put = await client.put(prefix, b"\0\xff")
        assert put.header.revision == absent.header.revision + 1
        assert put.prev_kv is None
        again = await client.put(prefix.encode(), b"new", prev_kv=True)
        assert again.prev_kv is not None
        assert again.prev_kv.value == b"\0\xff"
        found = (await client.get(prefix)).kv
        assert found is not None
        assert (found.key, found.value, found.version, found.lease) == (prefix.encode(), b"new", 2, 0)
        assert (found.create_revision, found.mod_revision) == (put.header.revision, again.header.revision)
        old = (await client.get(prefix, revision=put.header.revision)).kv
        assert old is not None
        assert old.value == b"\0\xff"


async def test_a_value_as_large_as_etcd_takes_arrives_whole(client: EtcdClient, prefix: str) -> None:
    value = bytes(range(256)) * 5_600
    with trio.fail_after(DEADLINE_S):
        await client.put(prefix, value)
        found = (await client.get(prefix)).kv
        assert found is not None
        assert found.value == value
        with pytest.raises(ServerError, match=r"too large|larger than max") as caught:
            await client.put(prefix, value * 2)
        assert caught.value.code in (3, 8)


async def test_all_pages_show_the_revision_of_the_first(
    client: EtcdClient, prefix: str, etcd: EtcdProcess, nursery: trio.Nursery
) -> None:
    keys = [f"{prefix}{i}".encode() for i in range(10)]
    changes = 0

    async def change_the_table(_request: bytes) -> None:
        nonlocal changes
        changes += 1
        if changes > 1:
            await client.delete(keys[-1])
            await client.put(keys[-2], b"new")
            await client.put(prefix + "95", b"more")

    relay = Relay(etcd.port, change_the_table)
    with trio.fail_after(DEADLINE_S):
        for key in keys:
            put = await client.put(key, b"old")
        async with EtcdClient([await relay.start(nursery)]) as paging_client:
            table = await paging_client.get_prefix(prefix, page_size=3)
        assert changes == 4
        assert [(kv.key, kv.value) for kv in table.kvs] == [(key, b"old") for key in keys]
        assert table.revision == table.header.revision == put.header.revision
        assert not table.more

        now = await client.get_prefix(prefix, page_size=10)
        assert [kv.value for kv in now.kvs[-2:]] == [b"new", b"more"]
        then = await client.get_prefix(prefix, page_size=7, revision=table.revision)
        assert then.kvs == table.kvs
        assert then.revision == table.revision


async def test_a_prefix_leaves_its_neighbours_alone(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        for key in ("zone-a", "zone-a/f", "zone-a/g", "zone-a2/f", "zone-b/f"):
            await client.put(prefix + key, b"")
        names = await client.get_prefix(prefix + "zone-a/", keys_only=True)
        assert [kv.key for kv in names.kvs] == [f"{prefix}zone-a/{name}".encode() for name in "fg"]
        deleted = await client.delete_prefix(prefix + "zone-a/", prev_kv=True)
        assert deleted.deleted == 2
        assert [kv.key for kv in deleted.prev_kvs] == [kv.key for kv in names.kvs]
        assert (await client.delete(prefix + "zone-b/f")).deleted == 1
        assert (await client.delete(prefix + "zone-b/f")).deleted == 0
        assert len((await client.get_prefix(prefix)).kvs) == 2


async def test_the_empty_prefix_stands_for_all_keys(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        await client.put(prefix, b"")
        everything = await client.get_prefix("", keys_only=True, page_size=5)
        assert prefix.encode() in {kv.key for kv in everything.kvs}


async def test_a_compacted_revision_cannot_be_read(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        old = (await client.put(prefix, b"old")).header.revision
        new = (await client.put(prefix, b"new")).header.revision
        await client.compact(new)
        with pytest.raises(Compacted):
            await client.get_prefix(prefix, revision=old)
        with pytest.raises(Compacted):
            await client.compact(old)


async def test_a_future_revision_is_refused_in_etcds_words(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        with pytest.raises(ServerError, match="future revision") as caught:
            await client.get(prefix, revision=2**60)
        assert caught.value.code == 11


async def test_a_transaction_does_one_of_two_things_at_one_revision(client: EtcdClient, prefix: str) -> None:
    lock, other = prefix + "lock", prefix + "other"
    take: tuple[list[Compare], list[Op], list[Op]] = (
        [Compare.version(lock, "=", 0)],
        [PutOp(lock, b"mine"), PutOp(other, b"1", prev_kv=True), GetOp(prefix, prefix=True, limit=1)],
        [GetOp(lock), DeleteOp(other, prev_kv=True)],
    )
    with trio.fail_after(DEADLINE_S):
        first = await client.txn(*take)
        assert first.succeeded
        put, put_other, table = first.responses
        assert isinstance(put, PutResult)
        assert put.header.revision == first.header.revision
        assert isinstance(put_other, PutResult)
        assert put_other.prev_kv is None
        assert isinstance(table, RangeResult)
        assert [kv.key for kv in table.kvs] == [lock.encode()]
        assert table.more

        second = await client.txn(*take)
        assert not second.succeeded
        got, deleted = second.responses
        assert isinstance(got, RangeResult)
        assert got.kvs[0].create_revision == got.kvs[0].mod_revision == first.header.revision
        assert isinstance(deleted, DeleteResult)
        assert deleted.deleted == 1
        assert deleted.prev_kvs[0].value == b"1"


async def test_each_comparison_compares_what_it_names(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        created = (await client.put(prefix, b"m")).header.revision
        changed = (await client.put(prefix, b"n")).header.revision
        true = [
            Compare.version(prefix, "=", 2),
            Compare.version(prefix, "!=", 1),
            Compare.create_revision(prefix, "=", created),
            Compare.create_revision(prefix, "<", changed),
            Compare.mod_revision(prefix, "=", changed),
            Compare.mod_revision(prefix, ">", created),
            Compare.value(prefix, "=", b"n"),
            Compare.value(prefix, ">", b"m"),
            Compare.version(prefix + "absent", "=", 0),
        ]
        false = [
            Compare.version(prefix, "<", 2),
            Compare.create_revision(prefix, ">", created),
            Compare.mod_revision(prefix, "!=", changed),
            Compare.value(prefix, "=", b""),
            Compare.value(prefix + "absent", "=", b""),
        ]
        assert (await client.txn(true)).succeeded
        for compare in false:
            assert not (await client.txn([*true, compare])).succeeded, compare
        assert (await client.txn([])).responses == ()


async def test_a_transaction_that_puts_a_key_twice_is_refused(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S), pytest.raises(ServerError, match="duplicate key"):
        await client.txn([], [PutOp(prefix, b"1"), PutOp(prefix, b"2")])


async def test_a_lease_takes_its_keys_along_unless_it_is_kept_alive(
    client: EtcdClient, prefix: str, nursery: trio.Nursery
) -> None:
    with trio.fail_after(DEADLINE_S):
        kept = await client.grant_lease(2)
        assert kept.ttl_s == 2
        assert await nursery.start(client.keep_lease_alive, kept.id) == 2
        await client.put(prefix + "kept", b"", lease=kept.id)
        async with client.watch_prefix(prefix) as watch:
            # One after the other they live for longer than the one that is kept alive would by itself.
            for name in ("left 0", "left 1"):
                left = await client.grant_lease(1)
                assert left.id != kept.id
                await client.put(prefix + name, b"", lease=left.id)
                deleted = await next_delete(watch)
                assert deleted.kv.key == (prefix + name).encode()
                with pytest.raises(LeaseNotFound):
                    await client.keep_lease_alive_once(left.id)
        found = (await client.get(prefix + "kept")).kv
        assert found is not None
        assert found.lease == kept.id
        nursery.cancel_scope.cancel()


async def test_a_revoked_lease_ends_its_keys_and_who_keeps_it_alive(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        lease = await client.grant_lease(1, lease=uuid.uuid4().int >> 66)
        await client.put(prefix, b"", lease=lease.id)
        with pytest.RaisesGroup(pytest.RaisesExc(LeaseNotFound, match=f"{lease.id:x}")):
            async with trio.open_nursery() as nursery:
                await nursery.start(client.keep_lease_alive, lease.id)
                await client.revoke_lease(lease.id)
        assert (await client.get(prefix)).kv is None
        with pytest.raises(LeaseNotFound):
            await client.revoke_lease(lease.id)
        with pytest.raises(LeaseNotFound):
            await client.put(prefix, b"", lease=lease.id)


async def test_the_status_names_the_version_and_the_leader(client: EtcdClient) -> None:
    with trio.fail_after(DEADLINE_S):
        status = await client.status()
    assert status.version.startswith("3.")
    assert status.leader == status.header.member_id != 0
    assert status.db_size_bytes >= status.db_size_in_use_bytes > 0
    assert status.raft_index >= status.raft_applied_index > 0
    assert not status.is_learner
    assert status.errors == ()


async def test_many_tasks_share_a_client(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            for i in range(50):
                nursery.start_soon(client.put, f"{prefix}{i}", b"")
        assert len((await client.get_prefix(prefix)).kvs) == 50

"""Watches, against a real etcd."""

from __future__ import annotations

import gc
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio_etcd.faults import Relay

from demo.etcd import EtcdProcess
from golb.trio_etcd import Compacted, EtcdClient, Event, EventType, PutOp, Unavailable, Watch
from golb.trio_etcd import _transport as transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DEADLINE_S = 10


@pytest.fixture
async def client(etcd: EtcdProcess) -> AsyncIterator[EtcdClient]:
    async with EtcdClient([etcd.client_url]) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4()}/"


@pytest.fixture
def own_etcd() -> Iterator[EtcdProcess]:
    """Return an etcd that a test may stop."""
    with EtcdProcess() as process:
        yield process


async def next_events(watch: Watch, count: int) -> list[Event]:
    """Return that many events, whatever batches they come in."""
    events: list[Event] = []
    while len(events) < count:
        events += (await anext(watch)).events
    assert len(events) == count
    return events


async def test_a_watch_from_an_old_revision_brings_every_change_since(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        table = await client.get_prefix(prefix)
        revisions = [(await client.put(f"{prefix}{i % 3}", b"%d" % i)).header.revision for i in range(6)]
        async with client.watch_prefix(prefix, start_revision=table.revision + 1) as watch:
            assert watch.revision == table.revision
            assert watch.header.revision == revisions[-1]
            assert watch.header.cluster_id == table.header.cluster_id
            events = await next_events(watch, 6)
            assert watch.revision == revisions[-1]
            revisions.append((await client.put(prefix, b"6")).header.revision)
            events += await next_events(watch, 1)
    assert [event.kv.mod_revision for event in events] == revisions
    assert [event.kv.value for event in events] == [b"%d" % i for i in range(7)]
    assert {event.type for event in events} == {EventType.PUT}
    assert all(event.prev_kv is None for event in events)


async def test_an_open_watch_misses_nothing_that_comes_after(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch(prefix) as watch:
            before = watch.revision
            put = await client.put(prefix, b"1")
            (event,) = await next_events(watch, 1)
    assert (event.kv.key, event.kv.value) == (prefix.encode(), b"1")
    assert event.kv.mod_revision == put.header.revision == before + 1


async def test_a_delete_names_the_key_its_revision_and_what_was_there(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch_prefix(prefix, prev_kv=True) as watch:
            await client.put(prefix, b"1")
            await client.put(prefix, b"2")
            deleted = await client.delete_prefix(prefix)
            first, second, delete = await next_events(watch, 3)
    assert first.prev_kv is None
    assert second.prev_kv is not None
    assert second.prev_kv.value == b"1"
    assert delete.type is EventType.DELETE
    assert (delete.kv.key, delete.kv.value, delete.kv.version) == (prefix.encode(), b"", 0)
    assert delete.kv.mod_revision == deleted.header.revision
    assert delete.prev_kv == second.kv


async def test_a_watch_does_not_see_keys_beside_its_own(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch_prefix(prefix + "zone-a/") as by_prefix, client.watch(prefix + "zone-a") as by_key:
            for key in ("zone-a2/f", "zone-a", "zone-a/f"):
                await client.put(prefix + key, b"")
            assert [event.kv.key for event in await next_events(by_prefix, 1)] == [f"{prefix}zone-a/f".encode()]
            assert [event.kv.key for event in await next_events(by_key, 1)] == [f"{prefix}zone-a".encode()]


async def test_progress_tells_the_newest_revision_without_events(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch_prefix(prefix + "quiet/") as watch:
            elsewhere = (await client.put(prefix, b"")).header.revision
            while watch.revision < elsewhere:
                batch = await anext(watch)
                assert batch.events == ()
                assert batch.revision == watch.revision


async def test_a_transaction_comes_in_one_batch(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch_prefix(prefix) as watch:
            txn = await client.txn([], [PutOp(f"{prefix}{i:03}", b"") for i in range(128)])
            while not (batch := await anext(watch)).events:
                pass
    assert len(batch.events) == 128
    assert batch.revision == txn.header.revision


async def test_large_changes_come_whole_and_in_order(
    client: EtcdClient, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enough for an event, not for all of them in one line.
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 6 << 20)
    values = [bytes([i]) * 700_000 for i in range(4)]
    keys = [prefix + "a", prefix + "b"]
    with trio.fail_after(DEADLINE_S):
        start_revision = (await client.get(prefix)).header.revision + 1
        for value in values:
            # With the previous values a transaction is more than etcd puts into one message.
            await client.txn([], [PutOp(key, value) for key in keys])
        async with client.watch_prefix(prefix, start_revision=start_revision, prev_kv=True) as watch:
            seen: list[Event] = []
            while len(seen) < len(values) * len(keys):
                batch = await anext(watch)
                # Both changes of a transaction, or of several, but no half of one.
                assert len(batch.events) % len(keys) == 0
                seen += batch.events
    assert [event.kv.value for event in seen] == [value for value in values for _ in keys]
    assert [event.prev_kv.value for event in seen if event.prev_kv] == [value for value in values[:-1] for _ in keys]


async def test_a_compacted_start_revision_names_the_oldest_left(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        old = (await client.put(prefix, b"old")).header.revision
        new = (await client.put(prefix, b"new")).header.revision
        await client.compact(new)
        async with client.watch(prefix, start_revision=old) as watch:
            with pytest.raises(Compacted, match=str(new)) as caught:
                await anext(watch)
            assert caught.value.compact_revision == new
        async with client.watch(prefix, start_revision=new) as watch:
            (event,) = await next_events(watch, 1)
            assert event.kv.value == b"new"


async def test_a_start_revision_to_come_shows_in_the_header(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch(prefix, start_revision=2**40) as watch:
            assert watch.header.revision < watch.revision == 2**40 - 1
            assert (await anext(watch)).revision == 2**40 - 1


@pytest.mark.parametrize("start_revision", [0, -1])
async def test_a_start_revision_below_1_is_refused(client: EtcdClient, start_revision: int) -> None:
    with pytest.raises(ValueError, match="start revision"):
        async with client.watch("k", start_revision=start_revision):
            pass


async def test_leaving_a_watch_closes_its_stream_at_once(etcd: EtcdProcess, prefix: str, nursery: trio.Nursery) -> None:
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            async with client.watch(prefix) as watch:
                closed = relay.all_closed
                assert not closed.is_set()
            await closed.wait()
            with pytest.raises(Unavailable):
                await anext(watch)
            # httpx leaves generators to the garbage collector, of which Trio would warn here.
            del watch
            gc.collect()


async def test_a_cancelled_watch_closes_its_stream_at_once(
    etcd: EtcdProcess, prefix: str, nursery: trio.Nursery
) -> None:
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            with trio.CancelScope() as scope:
                async with client.watch(prefix):
                    closed = relay.all_closed
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            await closed.wait()
            gc.collect()


async def test_calls_cancelled_anywhere_leave_nothing_behind(
    etcd: EtcdProcess, prefix: str, nursery: trio.Nursery
) -> None:
    relay = Relay(etcd.port)

    async def call(client: EtcdClient, kind: int) -> None:
        if kind == 0:
            await client.put(prefix, b"")
        elif kind == 1:
            await client.get_prefix(prefix)
        else:
            async with client.watch(prefix, start_revision=1) as watch:
                async for _ in watch:
                    pass

    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            # Where each is cancelled depends on the machine; that nothing is left must not.
            for i in range(90):
                with trio.move_on_after(i * 0.0001), suppress(Compacted):
                    await call(client, i % 3)
            await client.get(prefix)
        await relay.all_closed.wait()
        # Generators that are not at their end would make Trio warn here.
        gc.collect()


async def test_a_read_that_is_cancelled_loses_nothing(client: EtcdClient, prefix: str) -> None:
    with trio.fail_after(DEADLINE_S):
        async with client.watch(prefix) as watch:
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(watch)
            assert scope.cancelled_caught
            await client.put(prefix, b"1")
            (event,) = await next_events(watch, 1)
    assert event.kv.value == b"1"


async def test_watches_and_requests_do_not_wait_for_each_other(client: EtcdClient, prefix: str) -> None:
    async def see(name: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with client.watch(prefix + name) as watch:
            task_status.started()
            await next_events(watch, 1)

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            names = [str(i) for i in range(30)]
            for name in names:
                await nursery.start(see, name)
            for name in names:
                await client.put(prefix + name, b"")


@pytest.mark.parametrize("end", [EtcdProcess.stop, EtcdProcess.kill])
async def test_a_watch_is_taken_up_after_etcd_was_away(own_etcd: EtcdProcess, end: object) -> None:
    assert callable(end)
    with trio.fail_after(2 * DEADLINE_S):
        async with EtcdClient([own_etcd.client_url]) as client:
            async with client.watch("k") as watch:
                await client.put("k", b"1")
                await next_events(watch, 1)
                end(own_etcd)
                with pytest.raises(Unavailable):
                    await anext(watch)
            with pytest.raises(Unavailable) as caught:
                await client.put("k", b"2")
            assert not caught.value.sent
            own_etcd.start()
            await client.put("k", b"3")
            async with client.watch("k", start_revision=watch.revision + 1) as again:
                (event,) = await next_events(again, 1)
                assert event.kv.value == b"3"


async def test_a_cut_connection_is_unavailable(etcd: EtcdProcess, prefix: str, nursery: trio.Nursery) -> None:
    relay = Relay(etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with (
            EtcdClient([await relay.start(nursery)]) as client,
            client.watch(prefix, start_revision=2**40) as watch,
        ):
            relay.cut()
            with pytest.raises(Unavailable):
                await anext(watch)
            with pytest.raises(Unavailable):
                await anext(watch)

"""Changes are guarded: who was faster wins, and the other one is told. Against a real etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from commands.zones import value
from trio_etcd.faults import Relay

from golb.commands.entries import Change
from golb.commands.errors import Conflict, EtcdAway, EtcdRefuses, failure_from
from golb.commands.store import MAX_OPS, Store, batches
from golb.networks import ANYWHERE
from golb.trio_etcd import (
    EtcdClient,
    EtcdError,
    InvalidCredentials,
    MalformedAnswer,
    PermissionDenied,
    TlsFailed,
    Unavailable,
)
from golb.weights import MAX_NAME_LENGTH, MAX_VALUE_BYTES, Weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from commands.zones import Zone

DEADLINE_S = 10
AFTER = b'{"ips": [], "weights": []}'


@pytest.fixture
async def store(zone: Zone) -> AsyncIterator[Store]:
    async with EtcdClient([zone.etcd.client_url]) as client:
        yield zone.store(client)


async def put_of(store: Store, function: str) -> Change:
    """Return a put that is decided from how the function stands."""
    return Change(function, await store.find(function), AFTER, Weights())


async def test_changes_are_made_at_one_revision(zone: Zone, store: Store) -> None:
    zone.put("a", value(**{"5": 1}))
    zone.put("b", value(**{"5": 1}))
    with trio.fail_after(DEADLINE_S):
        gone = Change("b", await store.find("b"), None, None)
        made = await store.commit([await put_of(store, "a"), gone, await put_of(store, "c")])
    assert made == {"a": made["a"], "b": made["a"], "c": made["a"]}
    assert (zone.get("a"), zone.get("b"), zone.get("c")) == (AFTER.decode(), None, AFTER.decode())


async def test_a_key_keeps_its_lease(zone: Zone, store: Store) -> None:
    with trio.fail_after(DEADLINE_S):
        lease = await store.client.grant_lease(60)
        await store.client.put(zone.key("a"), b"{}", lease=lease.id)
        await store.commit([await put_of(store, "a")])
        kv = (await store.client.get(zone.key("a"))).kv
        assert kv is not None
        assert (kv.value, kv.lease) == (AFTER, lease.id)
        await store.client.revoke_lease(lease.id)


@pytest.mark.parametrize(
    ("meanwhile", "says"),
    [("changed", "a was changed meanwhile"), ("deleted", "a was deleted meanwhile"), ("made", "b was made meanwhile")],
)
async def test_what_somebody_else_does_meanwhile_stops_all_of_it(
    zone: Zone, store: Store, meanwhile: str, says: str
) -> None:
    zone.put("a", value(**{"5": 1}))
    with trio.fail_after(DEADLINE_S):
        changes = [await put_of(store, name) for name in ("a", "b", "c")]
        match meanwhile:
            case "changed":
                zone.put("a", value(**{"5": 1}))  # equal, but a decision of somebody else's
            case "deleted":
                zone.delete("a")
            case "made":
                zone.put("b", value(**{"5": 1}))
        with pytest.raises(Conflict, match=says) as caught:
            await store.commit(changes)
    assert str(caught.value).endswith("; nothing was written")
    assert (caught.value.written, caught.value.not_written) == ((), ("a", "b", "c"))
    assert zone.get("c") is None


async def test_a_key_that_was_deleted_and_made_again_is_another_one(zone: Zone, store: Store) -> None:
    zone.put("a", value(**{"5": 1}))
    with trio.fail_after(DEADLINE_S):
        change = await put_of(store, "a")
        zone.delete("a")
        zone.put("a", value(**{"5": 1}))
        with pytest.raises(Conflict):
            await store.commit([change])


async def test_a_conflict_in_a_later_transaction_says_what_is_written(zone: Zone, store: Store) -> None:
    names = [f"f{number:03}" for number in range(MAX_OPS + 2)]
    with trio.fail_after(DEADLINE_S):
        changes = [Change(name, None, AFTER, Weights()) for name in names]
        zone.put(names[-1], value(**{"5": 1}))
        with pytest.raises(
            Conflict, match=f"written before: f000, .*; not written: {names[-2]}, {names[-1]}$"
        ) as caught:
            await store.commit(changes)
    assert caught.value.written == tuple(names[:MAX_OPS])
    assert caught.value.not_written == tuple(names[MAX_OPS:])
    assert zone.get(names[0]) is not None
    assert zone.get(names[-2]) is None


async def test_a_transaction_whose_answer_is_lost_is_said_to_be_unknown(zone: Zone, nursery: trio.Nursery) -> None:
    async def cut_transactions(head: bytes) -> None:
        if b"/v3/kv/txn" in head:
            relay.cut()
            await trio.lowlevel.checkpoint()

    relay = Relay(zone.etcd.port, cut_transactions)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            store = zone.store(client)
            with pytest.raises(EtcdAway, match=r"whether this was written is not known: a$") as caught:
                await store.commit([await put_of(store, "a")])
        assert caught.value.not_written == ("a",)
    nursery.cancel_scope.cancel()


async def test_an_etcd_that_is_away_has_written_nothing(zone: Zone) -> None:
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient(["http://127.0.0.1:1"]) as client:
            with pytest.raises(EtcdAway, match=r"nothing was written$"):
                await zone.store(client).commit([Change("a", None, AFTER, Weights())])


async def test_what_etcd_does_not_take_is_said_to_be_refused(zone: Zone, store: Store) -> None:
    with trio.fail_after(DEADLINE_S), pytest.raises(EtcdRefuses, match=r"etcd refuses: .* nothing was written$"):
        await store.commit([Change("a", None, bytes(2 << 20), Weights())])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("no leader"), 3),
        (TlsFailed("no trust"), 3),
        (PermissionDenied("permission denied"), 4),
        (InvalidCredentials("authentication failed"), 4),
        (MalformedAnswer("not JSON"), 4),
    ],
)
def test_an_exit_code_says_whether_to_try_again_or_to_change_something(error: EtcdError, code: int) -> None:
    failure = failure_from(error)
    assert failure.exit_code == code
    assert str(error) in str(failure)


def test_a_batch_has_what_etcd_takes_in_one_transaction() -> None:
    short = [Change(f"f{number}", None, AFTER, Weights()) for number in range(300)]
    assert [len(batch) for batch in batches(short)] == [128, 128, 44]
    assert [change for batch in batches(short) for change in batch] == short
    long = [Change(f"f{number}", None, bytes(MAX_VALUE_BYTES - 100), Weights()) for number in range(5)]
    assert [len(batch) for batch in batches(long)] == [2, 2, 1]


async def test_the_longest_names_fit_into_a_transaction(zone: Zone, store: Store) -> None:
    padding = "x" * 6000
    long = f'{{"ips": [], "weights": [], "padding": "{padding}"}}'.encode()
    names = [f"{number:03}" + "€" * (MAX_NAME_LENGTH - 3) for number in range(MAX_OPS)]
    with trio.fail_after(DEADLINE_S):
        made = await store.commit([Change(name, None, long, Weights()) for name in names])
        assert len(made) == MAX_OPS
        await store.client.delete_prefix(zone.key(""))


async def test_the_longest_values_fit_into_a_transaction(zone: Zone, store: Store) -> None:
    padding = "x" * (MAX_VALUE_BYTES - 100)
    longest = f'{{"ips": [], "weights": [], "padding": "{padding}"}}'.encode()
    with trio.fail_after(DEADLINE_S):
        changes = [Change(name, None, longest, Weights()) for name in ("a", "b")]
        assert len(batches(changes)) == 1
        await store.commit(changes)
        again = await store.find("a")
        assert again is not None
        assert again.weights == Weights()
        zone.delete("a")
        zone.delete("b")


async def test_a_neighbours_keys_are_not_listed(zone: Zone, store: Store) -> None:
    zone.put("a", value(**{"5": 1}))
    with trio.fail_after(DEADLINE_S):
        neighbour = Store(store.client, zone.name[:-1], ANYWHERE)
        assert (await neighbour.list()).entries == ()
        assert [entry.function for entry in (await store.list()).entries] == ["a"]

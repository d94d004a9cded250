"""What golb tells optimizers through a real etcd: the revision in force, and what it refused."""

from __future__ import annotations

import json
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs
from support.following import wait_for_logs

from demo.etcd import EtcdProcess
from golb.config import Config
from golb.trio_etcd import EtcdClient
from golb.updaters import Acknowledgement, InForce, Knowledge
from golb.updaters.table import Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.following import Logs

    from golb.trio_etcd import KeyValue

GOOD = b'{"ips": ["10.0.0.1"], "weights": [1]}'
BAD = b'{"ips": ["10.0.0.1"], "weights": [-1]}'
DEADLINE_S = 10


@define
class Node:
    """One golb, as far as it acknowledges, and etcd as an optimizer sees it."""

    url: str
    client: EtcdClient
    zone: str = field(factory=lambda: f"zone-{uuid.uuid4().hex}")
    table: Table = field(factory=Table)
    knowledge: Knowledge = field(factory=Knowledge)

    @property
    def key(self) -> str:
        return f"golb/status/{self.zone}/eb-a"

    async def ack(self) -> KeyValue | None:
        return (await self.client.get(self.key)).kv

    async def acked(self, revision: int) -> dict[str, Any]:
        """Wait until the revision is in force, and return what the node says."""
        with trio.fail_after(DEADLINE_S):
            while True:
                kv = await self.ack()
                if kv is not None and (said := json.loads(kv.value))["revision"] >= revision:
                    return dict(said)
                await trio.sleep(0.02)  # as an optimizer would ask

    @asynccontextmanager
    async def acknowledging(self) -> AsyncIterator[trio.CancelScope]:
        environ = {"eb_go_lb_zone": self.zone, "eb_go_lb_node_name": "eb-a", "eb_go_lb_etcd_host": self.url}
        in_force = InForce(lambda: self.table.revision)
        in_force.taker().hand_over()
        ack = Acknowledgement(Config.from_environ(environ), self.table, self.knowledge, in_force)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ack.run)
            yield nursery.cancel_scope
            nursery.cancel_scope.cancel()


@pytest.fixture
async def node(etcd: EtcdProcess) -> AsyncIterator[Node]:
    async with EtcdClient([etcd.client_url]) as client:
        yield Node(etcd.client_url, client)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


def test_what_is_published_is_in_force_only_when_the_handler_has_it() -> None:
    newest = 5
    in_force = InForce(lambda: newest)
    taker = in_force.taker()
    assert in_force.revision == 0  # no handler has anything
    taker.take()
    in_force.published()
    newest = 6  # published while revision 5 is being handed over
    assert in_force.revision == 0
    taker.hand_over()
    assert in_force.revision == 5
    taker.take()
    taker.hand_over()
    assert in_force.revision == 6
    newest = 7  # has changed no weights, so nothing was published
    assert in_force.revision == 7


def test_what_is_in_force_is_in_force_in_every_handler() -> None:
    newest = 5
    in_force = InForce(lambda: newest)
    one, other = in_force.taker(), in_force.taker()
    for taker in (one, other):
        taker.take()
        taker.hand_over()
    in_force.published()
    newest = 6
    one.take()
    one.hand_over()
    assert in_force.revision == 5
    other.leave()
    assert in_force.revision == 6
    late = in_force.taker()  # serves nothing before it has the table
    late.take()
    assert in_force.revision == 6
    late.hand_over()
    assert in_force.revision == 6
    one.leave()
    late.leave()
    assert in_force.revision == 0


async def test_a_node_tells_the_revision_in_force_and_what_it_refused(node: Node) -> None:
    node.table.replace({"f": (GOOD, 3), "g": (BAD, 4)}, 10)
    node.knowledge.confirm("etcd", 2**64 - 1, 12, 0.0)
    async with node.acknowledging():
        said = await node.acked(10)
        assert said.pop("applied_at") > 1.7e9
        assert said == {
            "revision": 10,
            "cluster_id": "18446744073709551615",
            "source": "etcd",
            "functions": 1,
            "refused": {
                "now": 1,
                "total": {"weight": 1},
                "values": [
                    {
                        "name": "g",
                        "fault": "weight",
                        "reason": "weights[0] is -1; a weight is finite and not negative",
                        "revision": 4,
                    }
                ],
            },
        }
        node.table.put("g", GOOD, 20)
        said = await node.acked(20)
        assert (said["functions"], said["refused"]["now"], said["refused"]["values"]) == (2, 0, [])


async def test_before_there_is_a_table_nothing_is_told(node: Node) -> None:
    async with node.acknowledging():
        await trio.sleep(0.3)  # a chance to tell too much
        assert await node.ack() is None
        node.table.replace({}, 10)
        await node.acked(10)


async def test_the_key_lives_by_a_lease_and_goes_when_golb_ends(node: Node) -> None:
    node.table.replace({}, 10)
    async with node.acknowledging():
        await node.acked(10)
        kv = await node.ack()
        assert kv is not None
        assert kv.lease
        assert await node.client.keep_lease_alive_once(kv.lease) == 15
    assert await node.ack() is None


async def test_a_lease_that_expired_is_made_anew(node: Node) -> None:
    node.table.replace({}, 10)
    async with node.acknowledging():
        await node.acked(10)
        kv = await node.ack()
        assert kv is not None
        await node.client.revoke_lease(kv.lease)
        node.table.replace({}, 11)
        await node.acked(11)
        again = await node.ack()
        assert again is not None
        assert again.lease not in {0, kv.lease}


async def test_thousands_of_changes_are_acknowledged_once_a_second_at_most(node: Node) -> None:
    node.table.replace({}, 10)
    async with node.acknowledging():
        await node.acked(10)
        began_s = trio.current_time()
        for revision in range(11, 1500):
            node.table.put(f"f{revision}", GOOD, revision)
            await trio.sleep(0.001)
        await node.acked(1499)
        took_s = trio.current_time() - began_s
        kv = await node.ack()
        assert kv is not None
        assert 2 <= kv.version <= 2 + took_s


async def test_its_own_puts_are_no_reason_for_another(node: Node) -> None:
    node.table.replace({}, 10)
    async with node.acknowledging():
        await node.acked(10)
        for revision in range(100, 130):
            node.knowledge.advance(revision)  # the store goes on, the zone does not
            await trio.sleep(0.05)
        kv = await node.ack()
        assert kv is not None
        assert kv.version == 1


async def test_a_thousand_refusals_make_a_short_message(node: Node) -> None:
    node.table.replace({f"{'f' * 900}{number}": (b'{"ips": 1}', number) for number in range(2000)}, 2000)
    async with node.acknowledging():
        said = await node.acked(2000)
    assert (said["refused"]["now"], said["refused"]["total"]) == (1000, {"shape": 2000})
    assert len(said["refused"]["values"]) == 20
    assert len(json.dumps(said)) < 10_000


async def test_while_etcd_is_away_it_warns_once_and_then_tells_again(tmp_path: Path, logs: Logs) -> None:
    etcd = EtcdProcess(data_dir=tmp_path / "data")
    await trio.to_thread.run_sync(etcd.start)
    try:
        async with EtcdClient([etcd.client_url]) as client:
            node = Node(etcd.client_url, client)
            node.table.replace({}, 10)
            async with node.acknowledging():
                await node.acked(10)
                await trio.to_thread.run_sync(etcd.kill)
                node.table.replace({}, 11)
                (warning,) = await wait_for_logs(logs, 1, event="ack not written")
                assert warning["log_level"] == "warning"
                assert warning["key"] == node.key
                await trio.sleep(1.5)  # a second try, which is not told
                # Another cluster at the same address: it knows nothing of the lease.
                (tmp_path / "data").rename(tmp_path / "old")
                await trio.to_thread.run_sync(etcd.start)
                await node.acked(11)
        assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["ack not written"]
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(etcd.stop)


async def test_golb_ends_soon_also_while_etcd_is_away(tmp_path: Path) -> None:
    etcd = EtcdProcess(data_dir=tmp_path / "data")
    await trio.to_thread.run_sync(etcd.start)
    try:
        async with EtcdClient([etcd.client_url]) as client:
            node = Node(etcd.client_url, client)
            node.table.replace({}, 10)
            with trio.fail_after(DEADLINE_S):
                async with node.acknowledging():
                    await node.acked(10)
                    await trio.to_thread.run_sync(etcd.kill)
                    began_s = trio.current_time()
            assert trio.current_time() - began_s < 2
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(etcd.stop)

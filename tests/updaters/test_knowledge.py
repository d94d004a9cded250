"""How much is known, when it is called stale, and when etcd is said to have gone back: without an etcd."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs

from golb.trio_etcd import ResponseHeader
from golb.updaters import Knowledge
from golb.updaters.lineage import Lineage
from golb.updaters.staleness import report_staleness

if TYPE_CHECKING:
    from trio.testing import MockClock


def test_at_first_nothing_is_known_of_any_age() -> None:
    knowledge = Knowledge(clock=lambda: 5.0)
    assert (knowledge.source, knowledge.revision, knowledge.cluster_id) == ("none", 0, 0)
    assert knowledge.age_s == inf
    assert (knowledge.connection, knowledge.member, knowledge.cause) == ("none", "", "")


def test_a_connection_that_is_lost_is_counted_and_a_try_that_fails_is_not() -> None:
    knowledge = Knowledge(clock=lambda: 5.0)
    for is_reached in (False, True, False, True):
        knowledge.connecting()
        if is_reached:
            knowledge.opened("http://etcd:2379")
        knowledge.lost("cannot connect")
    assert (knowledge.connects, knowledge.losses) == (2, 2)


def test_the_age_counts_from_the_last_confirmation() -> None:
    now = 5.0
    knowledge = Knowledge(clock=lambda: now)
    knowledge.take_from_disk(7, 3, 100.0)
    assert (knowledge.source, knowledge.cluster_id, knowledge.revision, knowledge.age_s) == ("disk", 7, 3, 100.0)
    knowledge.confirm("etcd", 8, 4, at=4.5)
    assert (knowledge.source, knowledge.cluster_id, knowledge.revision, knowledge.age_s) == ("etcd", 8, 4, 0.5)
    now = 15.0
    knowledge.advance(9)
    assert (knowledge.revision, knowledge.age_s) == (9, 10.5)
    knowledge.confirm("etcd", 8, 9, at=16.0)
    assert knowledge.age_s == 0


def test_the_connection_is_told_with_its_member_or_the_cause_of_its_loss() -> None:
    knowledge = Knowledge()
    knowledge.opened("http://a:1")
    assert (knowledge.connection, knowledge.member, knowledge.cause) == ("open", "http://a:1", "")
    knowledge.lost("gone")
    assert (knowledge.connection, knowledge.member, knowledge.cause) == ("lost", "", "gone")
    knowledge.connecting()
    assert (knowledge.connection, knowledge.cause) == ("connecting", "gone")


async def test_staleness_is_said_at_the_timeout_then_every_10_s_and_its_end(autojump_clock: MockClock) -> None:
    knowledge = Knowledge()
    start = trio.current_time()
    said: list[tuple[float, str, float]] = []
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report_staleness, knowledge, 5.0)

            async def collect() -> None:
                while True:
                    await trio.sleep(0.05)
                    while logs:
                        log = logs.pop(0)
                        seconds = log["age_s"] if log["event"] == "weights stale" else log["stale_s"]
                        said.append((round(trio.current_time() - start), log["event"], round(seconds)))
                        assert log["log_level"] == ("warning" if log["event"] == "weights stale" else "info")
                        assert log["revision"] == knowledge.revision

            nursery.start_soon(collect)
            await trio.sleep(20)  # while there are no weights, nothing is said of their age
            knowledge.confirm("etcd", 1, 2, at=trio.current_time())
            for _ in range(10):
                await trio.sleep(3)
                knowledge.confirm("etcd", 1, 3, at=trio.current_time())
            await trio.sleep(28)  # since 50 s
            knowledge.confirm("etcd", 1, 4, at=trio.current_time())
            await trio.sleep(6)
            nursery.cancel_scope.cancel()
    assert said == [
        (55, "weights stale", 5),
        (65, "weights stale", 15),
        (75, "weights stale", 25),
        (78, "weights current", 23),
        (83, "weights stale", 5),
    ]


async def test_old_weights_from_disk_are_called_stale_at_once(autojump_clock: MockClock) -> None:
    knowledge = Knowledge()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report_staleness, knowledge, 5.0)
            await trio.sleep(1)
            knowledge.take_from_disk(1, 2, 3600.0)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    assert [(log["event"], round(log["age_s"])) for log in logs] == [("weights stale", 3600)]


@pytest.fixture
def known() -> Knowledge:
    knowledge = Knowledge(clock=lambda: 0.0)
    knowledge.confirm("etcd", 7, 10, at=0.0)
    return knowledge


def header(cluster_id: int, revision: int) -> ResponseHeader:
    return ResponseHeader(cluster_id=cluster_id, revision=revision)


def test_the_same_cluster_at_a_later_revision_goes_on(known: Knowledge) -> None:
    with capture_logs() as logs:
        assert Lineage(known).goes_on(header(7, 10), 10)
        assert Lineage(known).goes_on(header(7, 11), 10)
        assert Lineage(known).goes_on(header(7, 9))  # one member's view, which may lag
        assert Lineage(Knowledge()).goes_on(header(8, 1), 0)
    assert not logs


@pytest.mark.parametrize("now", [header(7, 9), header(8, 11)])
def test_an_earlier_revision_and_another_cluster_are_said_once_until_they_are_served(
    known: Knowledge, now: ResponseHeader
) -> None:
    lineage = Lineage(known)
    with capture_logs() as logs:
        assert not lineage.goes_on(now, 10)
        assert not lineage.goes_on(now, 10)
        known.confirm("etcd", now.cluster_id, now.revision, at=0.0)
        lineage.begin()
        assert lineage.goes_on(now, now.revision)
    assert logs == [
        {
            "event": "etcd went back",
            "log_level": "error",
            "was_revision": 10,
            "is_revision": now.revision,
            "was_cluster_id": 7,
            "is_cluster_id": now.cluster_id,
        }
    ]


def test_saved_weights_of_another_cluster_are_noticed_too() -> None:
    knowledge = Knowledge(clock=lambda: 0.0)
    knowledge.take_from_disk(7, 10, 1.0)
    with capture_logs() as logs:
        assert not Lineage(knowledge).goes_on(header(8, 20), 10)
    assert logs[0]["event"] == "etcd went back"

"""watch: what is there, then what happens, through losses of etcd too. Against a real etcd."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import trio
from commands.zones import value
from trio_etcd.faults import Relay

from golb.commands import watching
from golb.commands.views import changes_text
from golb.commands.watching import Happening, follow
from golb.trio_etcd import EtcdClient

if TYPE_CHECKING:
    import pytest
    from commands.zones import Zone

    from golb.commands.store import Store

DEADLINE_S = 20


class Told:
    """Keeps what is told, for a test to wait for."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Happening](1000)
        self.notes: list[str] = []

    def happening(self, happening: Happening) -> None:
        self._send.send_nowait(happening)

    async def next(self) -> Happening:
        return await self._receive.receive()

    async def next_line(self) -> str:
        """Return what happened to whom, and what differs."""
        happening = await self.next()
        before = happening.before.weights if happening.before else None
        after = changes_text(before, happening.after.weights) if happening.after else "gone"
        return f"{happening.kind} {happening.function} {after}"

    def start(self, nursery: trio.Nursery, store: Store) -> None:
        nursery.start_soon(partial(follow, store, self.happening, self.notes.append))


async def test_watch_tells_what_is_there_and_then_each_change(zone: Zone, nursery: trio.Nursery) -> None:
    told = Told()
    zone.put("a", value(**{"5": 3, "6": 1}))
    zone.put("b", value(**{"5": -1}))
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([zone.etcd.client_url]) as client:
            told.start(nursery, zone.store(client))
            assert await told.next_line() == "listed a 10.42.0.5:8080=3 (75.0 %), 10.42.0.6:8080=1 (25.0 %)"
            assert await told.next_line() == "listed b refused"
            revision = zone.put("a", value(**{"5": 3, "6": 2}))
            changed = await told.next()
            assert (changed.kind, changed.revision) == ("put", revision)
            zone.put("a", value(**{"5": 3, "6": 2}))
            assert await told.next_line() == "put a equal weights"
            zone.delete("b")
            assert await told.next_line() == "delete b gone"
            nursery.cancel_scope.cancel()


async def test_watch_goes_on_after_a_loss_without_a_gap(
    zone: Zone, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_RETRY_S", 0.01)
    told = Told()
    zone.put("a", value(**{"5": 1}))
    relay = Relay(zone.etcd.port)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            told.start(nursery, zone.store(client))
            assert (await told.next_line()).startswith("listed a ")
            zone.put("a", value(**{"5": 2}))
            assert await told.next_line() == "put a 10.42.0.5:8080 1 -> 2"
            relay.cut()
            for weight in (3, 4):
                zone.put("a", value(**{"5": weight}))
            assert await told.next_line() == "put a 10.42.0.5:8080 2 -> 3"
            assert await told.next_line() == "put a 10.42.0.5:8080 3 -> 4"
            assert told.notes[0].startswith("etcd lost, trying again: ")
            nursery.cancel_scope.cancel()


async def test_watch_lists_again_where_etcd_has_forgotten_and_tells_what_differs(
    zone: Zone, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_RETRY_S", 0.01)
    is_cut, go_on = trio.Event(), trio.Event()

    async def hold_new_streams(_head: bytes) -> None:
        if is_cut.is_set():
            await go_on.wait()

    told = Told()
    zone.put("a", value(**{"5": 1}))
    zone.put("b", value(**{"5": 1}))
    zone.put("c", value(**{"5": 1}))
    relay = Relay(zone.etcd.port, hold_new_streams)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            told.start(nursery, zone.store(client))
            for _ in "abc":
                await told.next()
            zone.put("a", value(**{"5": 2}))
            await told.next()
            is_cut.set()
            relay.cut()
            zone.put("a", value(**{"5": 3}))
            zone.compact(zone.delete("b"))
            go_on.set()
            assert await told.next_line() == "delete b gone"
            assert await told.next_line() == "listed a 10.42.0.5:8080 2 -> 3"
            assert "compacted" in told.notes[-1]
            nursery.cancel_scope.cancel()


async def test_watch_goes_on_where_etcd_is_lost_while_it_lists_again(
    zone: Zone, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_RETRY_S", 0.01)
    told = Told()
    zone.put("a", value(**{"5": 1}))
    requests = {"watch": 0, "range": 0}

    async def strike(head: bytes) -> None:
        if b"/v3/watch" in head:
            requests["watch"] += 1
            if requests["watch"] == 2:
                zone.put("a", value(**{"5": 2}))
                zone.compact(zone.put("a", value(**{"5": 3})))
        elif b"/v3/kv/range" in head:
            requests["range"] += 1
            if requests["range"] == 2:
                relay.cut()
                await trio.lowlevel.checkpoint()

    relay = Relay(zone.etcd.port, strike)
    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([await relay.start(nursery)]) as client:
            told.start(nursery, zone.store(client))
            await told.next()
            zone.put("a", value(**{"5": 1}))
            await told.next()
            relay.cut()
            assert await told.next_line() == "listed a 10.42.0.5:8080 1 -> 3"
            assert "compacted" in told.notes[1]
            assert told.notes[2].startswith("etcd lost, trying again: ")
            nursery.cancel_scope.cancel()


def test_watch_writes_a_json_line_for_each_change_until_it_is_interrupted(zone: Zone) -> None:
    zone.put("a", value(**{"5": 1}))
    zone.put("b", value(**{"5": 1}))
    command = [sys.executable, "-m", "golb", "weights", "watch", "a", "--changed", "--json"]
    with subprocess.Popen(
        command, env=zone.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            zone.put("b", value(**{"5": 2}))
            zone.put("a", value(**{"5": 1}))
            revision = zone.put("a", value(**{"5": 2}))
            second = json.loads(process.stdout.readline())
            zone.delete("a")
            third = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "")
    assert (first["event"], first["function"], first["targets"][0]["weight"]) == ("listed", "a", 1)
    assert (second["event"], second["revision"], second["targets"][0]["weight"]) == ("put", revision, 2)
    assert (third["event"], third["function"], third["key"]) == ("delete", "a", zone.key("a"))
    assert first["at"] <= second["at"] <= third["at"]

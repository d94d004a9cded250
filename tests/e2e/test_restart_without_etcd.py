"""golb started while etcd is away: it serves what it saved, says so, and takes etcd's truth when etcd is back."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
import trio
from support.client import call
from support.golb_process import GolbProcess
from support.pods import run_pods

from demo.etcd import EtcdProcess
from golb.trio_etcd import EtcdClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 30


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    """An etcd that may be stopped, and started again with its data."""
    process = EtcdProcess(data_dir=tmp_path / "data")
    process.start()
    yield process
    process.stop()


def value(*ips: str) -> bytes:
    return json.dumps({"ips": ips, "weights": [1] * len(ips)}).encode()


def golb_of(etcd: EtcdProcess, state_dir: Path, **variables: str) -> GolbProcess:
    return GolbProcess(etcd_host=etcd.client_url, state_dir=str(state_dir), **variables)


def lines(golb: GolbProcess, event: str) -> list[dict[str, object]]:
    return [line for line in golb.log() if line["message"] == event]


async def until_answered_by(golb: GolbProcess, function: str, final_host: str | None, status: int = 200) -> None:
    """Wait until calls are answered so."""
    while True:
        response = await call(golb.port, f"/function/{function}")
        if response.status == status and (final_host is None or response.values("X-Final-Host") == [final_host]):
            return
        await trio.sleep(0.02)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_golb_started_without_etcd_serves_and_then_takes_etcds_truth(
    end: signal.Signals, own_etcd: EtcdProcess, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    prefix = "golb/function/zone-a/"
    async with run_pods(2) as (one, other), EtcdClient([own_etcd.client_url]) as writer:
        with trio.fail_after(DEADLINE_S):
            for function in ("stays", "moves", "goes"):
                await writer.put(prefix + function, value(one.ip))
            with golb_of(own_etcd, state) as golb:
                await until_answered_by(golb, "stays", one.ip)
                while not (state / "zone-a.table").exists():  # noqa: ASYNC110 - of another process
                    await trio.sleep(0.02)
                golb.stop(end)
            await trio.to_thread.run_sync(own_etcd.kill)
            with golb_of(own_etcd, state) as golb:
                for function in ("stays", "moves", "goes"):
                    response = await call(golb.port, f"/function/{function}")
                    assert (response.status, response.values("X-Final-Host")) == (200, [one.ip])
                assert (await call(golb.port, "/function/unknown")).status == 404
                (line,) = lines(golb, "weights from disk")
                assert (line["path"], line["functions"]) == (str(state / "zone-a.table"), 3)
                # Before it accepts requests: a client that finds the port open finds the weights too.
                events = [line["message"] for line in golb.log()]
                assert events.index("weights from disk") < events.index("serving")
                await trio.to_thread.run_sync(own_etcd.start)
                await writer.put(prefix + "moves", value(other.ip))
                await writer.delete(prefix + "goes")
                await until_answered_by(golb, "moves", other.ip)
                await until_answered_by(golb, "goes", None, status=404)
                await until_answered_by(golb, "stays", one.ip)
                assert golb.stop() == 0


async def test_what_was_deleted_while_golb_and_etcd_were_down_in_turn_is_gone(
    own_etcd: EtcdProcess, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    prefix = "golb/function/zone-a/"
    async with run_pods(2) as (one, other), EtcdClient([own_etcd.client_url]) as writer:
        with trio.fail_after(DEADLINE_S):
            await writer.put(prefix + "moves", value(one.ip))
            await writer.put(prefix + "goes", value(one.ip))
            with golb_of(own_etcd, state) as golb:
                await until_answered_by(golb, "goes", one.ip)
                golb.stop()
            await writer.put(prefix + "moves", value(other.ip))
            await writer.delete(prefix + "goes")
            # etcd is well, so not one call goes by what is on the disk.
            with golb_of(own_etcd, state) as golb:
                assert (await call(golb.port, "/function/goes")).status == 404
                assert (await call(golb.port, "/function/moves")).values("X-Final-Host") == [other.ip]
                assert len(lines(golb, "weights from disk")) == 1
                changed = [(line["message"], line["function"]) for line in golb.log() if "function" in line]
                assert sorted(changed) == [("function removed", "goes"), ("weights changed", "moves")]
                golb.stop()


async def test_a_damaged_file_and_a_directory_that_is_none_end_nothing(own_etcd: EtcdProcess, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "zone-a.table").write_bytes(b"golb-table 1 0000\nnonsense")
    no_directory = tmp_path / "file"
    no_directory.touch()
    async with run_pods(1) as (one,), EtcdClient([own_etcd.client_url]) as writer:
        with trio.fail_after(DEADLINE_S):
            await writer.put("golb/function/zone-a/f", value(one.ip))
            with golb_of(own_etcd, state) as golb, golb_of(own_etcd, no_directory) as hindered:
                await until_answered_by(golb, "f", one.ip)
                await until_answered_by(hindered, "f", one.ip)
                golb.stop()
                hindered.stop()
                assert [line["reason"] for line in lines(golb, "saved table set aside")] == [
                    "it is damaged: the checksum differs"
                ]
                assert len(lines(hindered, "saved table not read")) == 1
                assert [line["reason"] for line in lines(hindered, "table not saved")] == ["File exists"]
                assert not any("exception" in line for line in golb.log() + hindered.log())
    assert (state / "zone-a.table").read_bytes().startswith(b"golb-table 1 ")


async def test_optimizers_see_when_their_weights_are_in_force_and_what_was_refused(
    own_etcd: EtcdProcess, tmp_path: Path
) -> None:
    prefix = "golb/function/zone-a/"
    async with run_pods(2) as (one, other), EtcdClient([own_etcd.client_url]) as writer:

        async def acked(revision: int) -> dict[str, object]:
            while True:
                kv = (await writer.get("golb/status/zone-a/eb-a-controller")).kv
                if kv is not None and (said := json.loads(kv.value))["revision"] >= revision:
                    return dict(said)
                await trio.sleep(0.02)

        with trio.fail_after(DEADLINE_S):
            await writer.put(prefix + "f", value(one.ip))
            with golb_of(own_etcd, tmp_path / "state", ack="on") as golb:
                await until_answered_by(golb, "f", one.ip)
                put = await writer.put(prefix + "f", value(other.ip))
                said = await acked(put.header.revision)
                assert said["cluster_id"] == str(put.header.cluster_id)
                assert (await call(golb.port, "/function/f")).values("X-Final-Host") == [other.ip]
                equal = await writer.put(prefix + "f", value(other.ip))
                await acked(equal.header.revision)
                bad = await writer.put(prefix + "f", b"7")
                said = await acked(bad.header.revision)
                assert said["refused"] == {
                    "now": 1,
                    "total": {"shape": 1},
                    "values": [
                        {
                            "name": "f",
                            "fault": "shape",
                            "reason": "the value is a number; an object with ips and weights is needed",
                            "revision": bad.header.revision,
                        }
                    ],
                }
                golb.stop()
                assert (await writer.get("golb/status/zone-a/eb-a-controller")).kv is None

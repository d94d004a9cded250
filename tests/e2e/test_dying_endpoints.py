"""golb as a process, with endpoints that die without a word while they are asked: what its clients notice of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import trio
from handlers.around import Endpoint, get, post, until
from support.golb_process import GolbProcess
from support.wire import connect

if TYPE_CHECKING:
    from pathlib import Path

    from support.wire import Message


async def call(golb: GolbProcess, data: bytes) -> Message:
    async with await connect(golb.port) as client:
        await client.send(data)
        return await client.read_response()


def write_weights(path: Path, weights: dict[str, int], **limits: float) -> None:
    value = {"ips": list(weights), "weights": list(weights.values())} | limits
    path.write_text(json.dumps({"f": value}))


async def test_endpoints_that_die_and_come_back_cost_no_call_and_get_their_share_again(tmp_path: Path) -> None:
    endpoints = [Endpoint() for _ in range(3)]
    path = tmp_path / "weights.json"
    write_weights(path, {endpoint.authority: 1 for endpoint in endpoints})
    statuses = Counter[int]()
    stopping = trio.Event()

    async def keep_calling(golb: GolbProcess, data: bytes) -> None:
        while not stopping.is_set():
            statuses[(await call(golb, data)).status] += 1

    async with trio.open_nursery() as nursery:
        for endpoint in endpoints:
            await nursery.start(endpoint.serve)
        with (
            GolbProcess(weight_updater="file", weights_file=str(path), rest_min="0.1", rest_max="0.2") as golb,
            trio.fail_after(30),
        ):
            async with trio.open_nursery() as callers:
                for data in (get(), get(), post()):
                    callers.start_soon(keep_calling, golb, data)
                for endpoint in endpoints:
                    await endpoint.called(len(endpoint.requests) + 5)
                    endpoint.refuse()
                    others = [other for other in endpoints if other is not endpoint]
                    for other in others:
                        await other.called(len(other.requests) + 5)
                    await nursery.start(endpoint.serve)
                for endpoint in endpoints:
                    await endpoint.called(len(endpoint.requests) + 5)
                stopping.set()
            log = golb.log()
            assert golb.stop() == 0
        nursery.cancel_scope.cancel()
    for endpoint in endpoints:
        endpoint.close()
    # A call that was under way at an endpoint as it died can be repeated or not; every other one is answered.
    assert statuses[200] > 50
    assert statuses.keys() <= {200, 502}
    assert statuses[502] <= 3
    events = Counter(line["message"] for line in log)
    assert events["endpoint rests"] == events["endpoint serves again"] >= 3
    assert not [line for line in log if line["level"] == "error"]


async def test_the_bounds_of_a_value_and_of_the_configuration_hold_and_sigterm_waits_for_the_queue(
    tmp_path: Path,
) -> None:
    endpoint = Endpoint()
    endpoint.does = "hang"
    path = tmp_path / "weights.json"
    write_weights(path, {endpoint.authority: 1}, max_inflight=1, queue=1, timeout=20)
    statuses: list[int] = []

    async def keep(golb: GolbProcess) -> None:
        statuses.append((await call(golb, get())).status)

    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.serve)
        with GolbProcess(weight_updater="file", weights_file=str(path)) as golb, trio.fail_after(30):
            async with trio.open_nursery() as callers:
                for _ in range(3):
                    callers.start_soon(keep, golb)
                await endpoint.called(1)
                await until(lambda: statuses == [503])
                assert golb.process is not None
                golb.process.terminate()
                endpoint.released.set()
            assert golb.process.wait(10) == 0
        nursery.cancel_scope.cancel()
    endpoint.close()
    assert statuses == [503, 200, 200]
    assert len(endpoint.requests) == 2

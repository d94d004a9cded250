"""How calls become lines without making any of them wait, and what becomes of those that come too fast."""

from __future__ import annotations

import json
import os
import tracemalloc
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs
from support.call_records import record
from support.unread_pipe import read_all, unread_pipe

from golb.access_log import AccessLog
from golb.access_log import log as log_module
from golb.access_log.lines import LINE_BYTES, common_line
from golb.access_log.log import MAX_WAITING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUND_S = 10.0


@asynccontextmanager
async def running(log: AccessLog) -> AsyncIterator[None]:
    """Run an access log; it has ended, with its last lines, when this is left."""
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(log.run)
            yield
            nursery.cancel_scope.cancel()


async def until_written(log: AccessLog, lines: int) -> None:
    while log.written < lines:  # noqa: ASYNC110 - it has no event
        await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("percent", "least", "most"), [(0, 0, 0), (1, 150, 250), (25, 4800, 5200), (100, 20000, 20000)]
)
def test_a_sample_has_its_share_of_numbered_calls(percent: float, least: int, most: int, tmp_path: Path) -> None:
    taken = 0
    for start in range(0, 20_000, 5000):  # so that none is dropped
        log = AccessLog("json", tmp_path / "log", sample_percent=percent)
        for number in range(start, start + 5000):
            log(record(request_id=f"5f3c2a9b1e07-{number}"))
        taken += log.waiting
    assert least <= taken <= most


def test_the_request_id_decides_so_that_all_load_balancers_choose_the_same_calls(tmp_path: Path) -> None:
    logs = [AccessLog("json", tmp_path / name, sample_percent=50) for name in "ab"]
    choices = []
    for number in range(100):
        before = [log.waiting for log in logs]
        for log in logs:
            log(record(request_id=f"order-{number}"))
        choices.append([log.waiting - waited for log, waited in zip(logs, before, strict=True)])
    assert all(a == b for a, b in choices)
    assert 20 < sum(a for a, _ in choices) < 80


async def test_calls_are_lines_of_the_file_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"what was there\n")
    log = AccessLog("json", path)
    async with running(log):
        for number in range(1000):
            log(record(retries=number))
        await until_written(log, 1000)
        first, *lines = path.read_bytes().splitlines()
    assert first == b"what was there"
    assert [json.loads(line)["retries"] for line in lines] == list(range(1000))
    assert log.dropped == 0


async def test_the_last_calls_are_written_when_the_log_ends(tmp_path: Path) -> None:
    log = AccessLog("common", tmp_path / "log")
    async with running(log):
        for _ in range(MAX_WAITING):
            log(record())
    assert (tmp_path / "log").read_bytes() == common_line(record()) * MAX_WAITING
    assert (log.written, log.dropped) == (MAX_WAITING, 0)


async def test_a_pipe_that_nobody_reads_makes_no_call_wait_and_costs_lines_that_are_counted(tmp_path: Path) -> None:
    with unread_pipe(tmp_path) as (path, reader), capture_logs() as told:
        log = AccessLog("json", path)
        calls = 3 * MAX_WAITING
        async with running(log):
            for number in range(calls):
                log(record(retries=number))
                if number % 100 == 0:
                    await trio.lowlevel.checkpoint()
            assert log.dropped >= calls - 2 * MAX_WAITING
            assert log.waiting == MAX_WAITING
            received = b""
            while log.written + log.dropped < calls:
                received += read_all(reader)
                await trio.sleep(0.01)
            received += read_all(reader)
    numbers = [json.loads(line)["retries"] for line in received.splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == log.written == calls - log.dropped
    assert {entry["event"] for entry in told} == {"access log lines dropped"}
    assert {entry["cause"] for entry in told} == {"nobody read them in time"}
    assert sum(entry["lines"] for entry in told) == log.dropped


async def test_a_pipe_that_nobody_reads_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_END_S", 0.05)
    with unread_pipe(tmp_path) as (path, reader), capture_logs() as told:
        log = AccessLog("json", path)
        began_s = trio.current_time()
        async with running(log):
            for _ in range(MAX_WAITING):
                log(record())
        assert trio.current_time() - began_s < 5
        assert log.written + log.dropped == MAX_WAITING
        assert told[-1]["lines"] == log.dropped > 0
        written = log.written
        # In one read: the thread that was left alone goes on as soon as there is room.
        assert os.read(reader, 1 << 20).count(b"\n") == written


async def test_a_full_disk_costs_lines_that_are_counted_with_the_cause() -> None:
    with capture_logs() as told:
        log = AccessLog("json", Path("/dev/full"))
        async with running(log):
            for _ in range(100):
                log(record())
    assert (log.written, log.dropped) == (0, 100)
    assert [(entry["lines"], entry["cause"]) for entry in told] == [(100, "No space left on device")]


def test_calls_with_long_texts_take_little_memory_while_they_wait(tmp_path: Path) -> None:
    log = AccessLog("json", tmp_path / "log")
    tracemalloc.start()
    try:
        for _ in range(1000):
            log(record(target="/function/f?" + "x" * 32_000, path="10.0.0.7, " * 6000))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert log.waiting == 1000
    assert held_bytes < 1000 * LINE_BYTES

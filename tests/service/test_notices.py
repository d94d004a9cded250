"""Notices to a supervisor, as sd_notify(3) has them; where there is none, or it does not listen, nothing is lost but the notice."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from golb.service import notices
from golb.service.notices import ADDRESS, Notices

if TYPE_CHECKING:
    from pathlib import Path

BOUND_S = 10.0


@pytest.mark.parametrize("is_abstract", [True, False])
async def test_each_notice_arrives_whole_in_one_datagram(tmp_path: Path, is_abstract: bool) -> None:  # noqa: FBT001 - a case's value
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(f"\0{path}" if is_abstract else path)
        supervisor.settimeout(5)
        teller = Notices({ADDRESS: f"@{path}" if is_abstract else path})
        before_us = time.monotonic_ns() // 1000
        await teller.tell_ready()
        await teller.tell_reloading()
        await teller.tell_successor(17)
        await teller.tell_stopping()
        assert supervisor.recv(100) == b"READY=1"
        reloading, _, at = supervisor.recv(100).partition(b"\nMONOTONIC_USEC=")
        assert reloading == b"RELOADING=1"
        assert before_us <= int(at) <= time.monotonic_ns() // 1000
        assert supervisor.recv(100) == b"MAINPID=17"
        assert supervisor.recv(100) == b"STOPPING=1"


async def test_without_a_supervisor_nothing_is_told_and_nothing_logged() -> None:
    with capture_logs() as logs:
        await Notices({}).tell_ready()
    assert logs == []


@pytest.mark.parametrize(
    ("name", "cause"), [("nobody", "No such file or directory"), ("n" * 200, "AF_UNIX path too long")]
)
async def test_a_supervisor_that_does_not_listen_is_logged(tmp_path: Path, name: str, cause: str) -> None:
    with capture_logs() as logs:
        await Notices({ADDRESS: str(tmp_path / name)}).tell_ready()
    ((_, told),) = [(line.pop("log_level"), line) for line in logs]
    assert told == {"event": "supervisor not told", "variable": ADDRESS, "notice": "READY=1", "cause": cause}


async def test_a_supervisor_that_is_busy_is_told_when_it_reads_again(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with busy_supervisor(path) as supervisor, capture_logs() as logs, trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Notices({ADDRESS: path}).tell_ready)
            await trio.testing.wait_all_tasks_blocked()
            while supervisor.recv(100) != b"READY=1":  # what others have told
                await trio.lowlevel.checkpoint()
    assert logs == []


async def test_a_supervisor_that_reads_nothing_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_PATIENCE_S", 0.01)
    path = str(tmp_path / "notify")
    with busy_supervisor(path), capture_logs() as logs, trio.fail_after(BOUND_S):
        await Notices({ADDRESS: path}).tell_stopping()
    assert logs[0]["cause"] == "it has not read for 0.01 s"


def busy_supervisor(path: str) -> socket.socket:
    """Return the socket of one whose queue is full."""
    supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    supervisor.bind(path)
    supervisor.settimeout(BOUND_S)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"STATUS=busy", path)
    return supervisor

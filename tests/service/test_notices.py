"""Notices to a supervisor, as sd_notify(3) has them; where there is none, or it does not listen, nothing is lost but the notice."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from golb.service.notices import ADDRESS, Notices

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("is_abstract", [True, False])
def test_each_notice_arrives_whole_in_one_datagram(tmp_path: Path, is_abstract: bool) -> None:  # noqa: FBT001 - a case's value
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(f"\0{path}" if is_abstract else path)
        supervisor.settimeout(5)
        notices = Notices({ADDRESS: f"@{path}" if is_abstract else path})
        before_us = time.monotonic_ns() // 1000
        notices.tell_ready()
        notices.tell_reloading()
        notices.tell_successor(17)
        notices.tell_stopping()
        assert supervisor.recv(100) == b"READY=1"
        reloading, _, at = supervisor.recv(100).partition(b"\nMONOTONIC_USEC=")
        assert reloading == b"RELOADING=1"
        assert before_us <= int(at) <= time.monotonic_ns() // 1000
        assert supervisor.recv(100) == b"MAINPID=17"
        assert supervisor.recv(100) == b"STOPPING=1"


def test_without_a_supervisor_nothing_is_told_and_nothing_logged() -> None:
    with capture_logs() as logs:
        Notices({}).tell_ready()
    assert logs == []


def test_a_supervisor_that_does_not_listen_is_logged(tmp_path: Path) -> None:
    with capture_logs() as logs:
        Notices({ADDRESS: str(tmp_path / "nobody")}).tell_ready()
    ((_, told),) = [(line.pop("log_level"), line) for line in logs]
    assert told == {
        "event": "supervisor not told",
        "variable": ADDRESS,
        "notice": "READY=1",
        "cause": "No such file or directory",
    }


def test_a_supervisor_that_reads_nothing_holds_nothing_up(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor, capture_logs() as logs:
        supervisor.bind(path)
        while not logs:  # until its queue is full
            Notices({ADDRESS: path}).tell_ready()
    assert logs[0]["cause"] == "Resource temporarily unavailable"

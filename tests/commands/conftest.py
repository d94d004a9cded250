"""What the tests of `golb weights` and `golb doctor` share."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest
from commands.doctors import Doctor
from commands.zones import Zone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.etcd import EtcdProcess


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """A client for all tests: to make one takes longer than most of them do."""
    with httpx.Client(timeout=10, verify=False) as client:
        yield client


@pytest.fixture
def zone(etcd: EtcdProcess, http: httpx.Client, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Zone:
    """A zone that no other test knows."""
    return Zone(etcd, http, capsys, tmp_path)


@pytest.fixture
def doctor(zone: Zone, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """The doctor of that zone."""
    return Doctor(zone, capsys)


@pytest.fixture
def target() -> Iterator[str]:
    """An endpoint that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"

"""How many cores golb may use: by affinity, and by its control group's quota."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from golb.cores import usable_cores

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("50000 50000\n", 1),
        ("1600000 100000\n", 8),
    ],
)
def test_the_quota_counts_where_it_is_less_than_the_cores(cpu_max: str, cores: int, tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(cpu_max)
    assert usable_cores(path) == cores


@pytest.mark.parametrize("content", [None, b"", b"max", b"100000", b"a b c", b"\xff \xff", b"1 0"])
def test_without_a_quota_that_can_be_read_the_cores_count(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    if content is not None:
        path.write_bytes(content)
    assert usable_cores(path) == 8


def test_this_system_has_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))

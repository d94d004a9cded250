"""A container's first process reaps what is nobody's, and leaves what it is told to keep."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from handlers.around import until

from golb.service import orphans as module
from golb.service.orphans import reap_orphans

if TYPE_CHECKING:
    import pytest

TIMEOUT_S = 10


def start_short_one() -> int:
    """Start a process that ends at once, and that nobody waits for."""
    return os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", ""], {})


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_what_is_nobodys_is_reaped_and_what_is_kept_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    nobodys, kept = start_short_one(), start_short_one()
    asked: set[int] = set()

    def is_kept(pid: int) -> bool:
        asked.add(pid)
        return pid != nobodys

    with trio.fail_after(TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reap_orphans, is_kept)
            await until(lambda: kept in asked and not is_there(nobodys))
            nursery.cancel_scope.cancel()
    assert is_there(kept)
    assert os.waitpid(kept, 0) == (kept, 0)  # noqa: ASYNC222 - it has ended

"""Orphans: whatever loses its parent in a container becomes a child of its first process, and a zombie for ever unless that reaps it.

Method: golb reaps at once what it has started itself. So a child that has ended, and still is there at the next look, is nobody's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_EVERY_S = 2.0
# In /proc/<pid>/stat, behind the name, which may hold anything (proc(5)).
_ENDED = "Z"


async def reap_orphans(is_kept: Callable[[int], bool]) -> NoReturn:
    """Reap them until cancelled.

    Args:
        is_kept: tells by its id whether a child is left as it is when it has ended.
    """
    seen: set[int] = set()
    while True:
        await trio.sleep(_LOOK_EVERY_S)
        ended = _ended_children()
        for pid in ended & seen:
            if not is_kept(pid):
                with suppress(ChildProcessError):  # it was somebody's after all
                    os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it has ended
        seen = ended


def _ended_children() -> set[int]:
    own = str(os.getpid())
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has just gone
                state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if (state, parent) == (_ENDED, own):
                    found.add(int(entry.name))
    return found

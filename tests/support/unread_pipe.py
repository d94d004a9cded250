"""A pipe whose reader reads nothing by itself."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def unread_pipe(directory: Path) -> Iterator[tuple[Path, int]]:
    """Make a named pipe whose reader reads nothing by itself; yield its path, and the reader's descriptor."""
    path = directory / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield path, reader
    finally:
        os.close(reader)


def read_all(reader: int) -> bytes:
    """Return all that a pipe holds."""
    parts = []
    while True:
        try:
            part = os.read(reader, 1 << 20)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)

"""Lines in a file of their own, or in a named pipe. A thread writes them: a disk, or whoever reads the pipe, may be slow."""

from __future__ import annotations

import os
import select
import stat
import time
from typing import TYPE_CHECKING

import trio

from golb.access_log.sink import Sink, pieces
from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# How soon a file that was renamed, or removed, is left for a new one.
_LOOK_EVERY_S = 1.0
# A named pipe that nobody reads is refused, and does not make golb wait.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_FILE_MODE = 0o640  # URLs may hold secrets


class FileSink(Sink):
    """Appends to a file; when its path leads to another file, or to none, that is opened, so the old one can be moved away.

    Args:
        path: of the file, or of a named pipe that somebody reads.

    Raises:
        ConfigError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._descriptor = -1
        self._file: tuple[int, int] | None = None
        self._looked_s = 0.0
        self._in_line = False
        # A thread that hangs is left alone, and keeps the others waiting: so lines stay in their order.
        self._one_thread = trio.CapacityLimiter(1)
        try:
            self._open()
        except OSError as exc:
            raise ConfigError(
                f"eb_go_lb_access_log_path is {str(path)!r}; "
                f"it accepts the path of a file to append to, and this is none: {exc.strerror}"
            ) from exc

    async def write(self, lines: Sequence[bytes]) -> None:
        await trio.to_thread.run_sync(self._append, lines, abandon_on_cancel=True, limiter=self._one_thread)

    async def close(self) -> None:
        await trio.to_thread.run_sync(self._close, abandon_on_cancel=True, limiter=self._one_thread)

    # What follows blocks, and runs in the thread.

    def _append(self, lines: Sequence[bytes]) -> None:
        before = self.written
        try:
            if time.monotonic() - self._looked_s >= _LOOK_EVERY_S or self._descriptor < 0:
                self._open()
            if self._in_line:  # a write that failed has left half a line
                os.write(self._descriptor, b"\n")
            # A file takes any number of lines at once.
            is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            for piece in [b"".join(lines)] if is_file else pieces(lines):
                self._write(piece)
        except OSError as exc:
            self.lost += len(lines) - (self.written - before)
            self.failure = exc.strerror or str(exc)
            self._close()  # a pipe gets a new reader by being opened anew

    def _open(self) -> None:
        """Open the file that the path leads to, if it is not open."""
        self._looked_s = time.monotonic()
        try:
            is_open = self._descriptor >= 0 and _identity(self._path.stat()) == self._file
        except FileNotFoundError:
            is_open = False
        if is_open:
            return
        self._close()
        self._descriptor = os.open(self._path, _FLAGS, _FILE_MODE)
        file = _identity(os.fstat(self._descriptor))
        self._in_line = self._in_line and file == self._file
        self._file = file

    def _write(self, data: bytes) -> None:
        while data:
            try:
                count = os.write(self._descriptor, data)
            except BlockingIOError:  # a pipe that is full
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()
                continue
            self.written += data.count(b"\n", 0, count)
            self._in_line = data[count - 1] != ord("\n")
            data = data[count:]

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino

"""Pipes, through which the kernel moves a body from one socket to another: it never enters Python, and is not copied.

A MiB moved so costs a third of one that is read and written. Pieces are to be large for that: see `PIPE_BYTES`.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from contextlib import suppress

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_KEPT = 16

PIPE_BYTES = 1 << 18
"""What a pipe holds, where the system grants as much."""
# An unprivileged user gets pipes of two pages once he has 16,384 pages in pipes (pipe(7), pipe-user-pages-soft): those
# cost more than they save.
_LEAST_BYTES = 1 << 16
# Of pipes at a time; each takes two descriptors, and most are for connections.
_MAX_PIPES = 200
_DESCRIPTORS_FOR_EACH = 16


class Pipe:
    """Bytes on their way from one socket to another. Its calls neither wait nor copy."""

    __slots__ = ("_read_fd", "_write_fd", "held")

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        """How many bytes are in it."""
        with suppress(OSError):  # then it holds less, and each piece is smaller
            fcntl.fcntl(self._write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def is_of_use(self) -> bool:
        """Whether it holds enough to save anything."""
        return fcntl.fcntl(self._write_fd, fcntl.F_GETPIPE_SZ) >= _LEAST_BYTES

    def fill(self, fd: int, max_bytes: int) -> int:
        """Move bytes that are there out of a socket into the empty pipe; return how many, 0 at the stream's end.

        Raises:
            BlockingIOError: none are there.
            OSError: the connection failed.
        """
        moved = os.splice(fd, self._write_fd, max_bytes, flags=_FLAGS)
        self.held += moved
        return moved

    def drain(self, fd: int) -> int:
        """Move what the pipe holds into a socket, as far as that takes it; return how many bytes.

        Raises:
            BlockingIOError: it takes none.
            OSError: the connection failed.
        """
        moved = os.splice(self._read_fd, fd, self.held, flags=_FLAGS)
        self.held -= moved
        return moved

    def close(self) -> None:
        """Forget what is in it."""
        os.close(self._read_fd)
        os.close(self._write_fd)


class PipePool:
    """The pipes of a process; a few are kept for the next body."""

    def __init__(self) -> None:
        self._free: list[Pipe] = []
        self._taken = 0
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(soft_limit // _DESCRIPTORS_FOR_EACH, _MAX_PIPES) if _splice_works() else 0

    def take(self) -> Pipe | None:
        """Return an empty pipe; None where there is none to be had, and the body is to be read and written."""
        if self._taken >= self._most:
            return None
        try:
            pipe = self._free.pop() if self._free else Pipe()
        except OSError:
            return None
        if not pipe.is_of_use:
            pipe.close()
            return None
        self._taken += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back, whatever is in it."""
        self._taken -= 1
        if pipe.held or len(self._free) >= _KEPT:
            pipe.close()
        else:
            self._free.append(pipe)

    def close(self) -> None:
        """Close those that are kept."""
        while self._free:
            self._free.pop().close()


def _splice_works() -> bool:
    """Try it: some sandboxes have no splice between sockets and pipes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            pipe = Pipe()
        except OSError:
            return False
        try:
            theirs.send(b"x")
            return pipe.fill(ours.fileno(), 1) == 1 == pipe.drain(ours.fileno())
        except OSError:
            return False
        finally:
            pipe.close()

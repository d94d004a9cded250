"""golb as a container's first process, once another golb has taken its place.

The kernel ends all processes of a container with its first one, and whoever runs the container signals that one alone
(pid_namespaces(7)). So the first process stays: it holds nothing, passes signals on, reaps what has ended, orphans of others
included, and ends when its successor does.

This file is also the program that it becomes, by exec, to leave sockets, threads and memory behind; so it imports the standard
library only.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
_STOPS = (signal.SIGTERM, signal.SIGINT)
_WAITED_FOR = (*PASSED_ON, signal.SIGCHLD)
# What a shell tells of a process that a signal has ended.
_SIGNALLED = 128


class FirstProcess:
    """What is left of a golb that was taken over.

    A successor may be taken over in turn, by a golb that it has started; then this process waits for that one, or ends as that
    one has if it was the first to end. If a successor ends with 0 unasked, and has started none, a golb of another container
    has taken over; then there is nobody to wait for.

    Args:
        mark: a variable that those have in their environment that a golb has started to take its place, and no other process.
        successor: the process id of the child that has taken over; None: it is no child.
        was_told: whether this process has been told to stop.
    """

    def __init__(self, mark: str, successor: int | None, *, was_told: bool = False) -> None:
        self._mark = mark
        self._successor = successor
        self._was_told = was_told

    def heed(self, number: int) -> list[int]:
        """Pass a signal on, and return the ids of the processes that have got it: those which drain, too, heed what concerns them.

        One that has just been started heeds nothing yet: it is to end if told to stop, but not by a signal that others go on with.
        """
        self._was_told |= number in _STOPS
        reached = []
        for pid in self._marked():
            if number not in _STOPS and not _heeds(pid, number):
                continue
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)
                reached.append(pid)
        return reached

    def stay(self) -> NoReturn:
        """Become the program that waits; nothing else of this process is left."""
        # What comes from here on waits until that program asks for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # nobody reads the log any more
                stream.flush()
        arguments = [self._mark, str(self._successor or 0), str(int(self._was_told))]
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, *arguments])  # noqa: S606 - no shell is wanted

    def wait(self) -> int:
        """Wait with these signals blocked; return the exit code with which to end."""
        while True:
            code = self._reap()
            if self._successor is None and (code or self._was_told):
                return code
            number = signal.sigwait(_WAITED_FOR)
            if number != signal.SIGCHLD:
                self.heed(number)

    def _reap(self) -> int:
        """Reap what has ended; return the exit code of the last successor if it is among that, else 0."""
        codes = dict(_reaped())
        if self._successor not in codes:
            return 0
        code = codes.pop(self._successor)
        # The kernel has made its children those of this process before it told of its end, those that had ended too.
        self._successor = next((child for child in self._marked() if _parent(child) == os.getpid()), None)
        if self._successor is None and not code:
            code = next((other for other in codes.values() if other), 0)  # of the one that had taken over from it
        return code if code >= 0 else _SIGNALLED - code

    def _marked(self) -> list[int]:
        """Return the other processes that have the mark (proc(5))."""
        start = f"{self._mark}=".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):  # it has just ended, or is another user's
                    if any(text.startswith(start) for text in (entry / "environ").read_bytes().split(b"\0")):
                        found.append(int(entry.name))
        return found


def _reaped() -> Iterator[tuple[int, int]]:
    """Reap all children that have ended, and yield their ids and exit codes."""
    with suppress(ChildProcessError):  # there are no children
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _heeds(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal (proc(5))."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return False
    caught = int(status.partition("\nSigCgt:")[2].split(maxsplit=1)[0], 16)
    return bool(caught >> (number - 1) & 1)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return 0


def _main(mark: str, successor: str, was_told: str) -> int:
    return FirstProcess(mark, int(successor) or None, was_told=was_told == "1").wait()


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))

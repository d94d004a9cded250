"""What is left of a container's first golb, with small programs in the place of golbs: whom it signals, and for whom it waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from golb.takeover import FirstProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = f"_GOLB_TEST_{os.getpid()}"
TIMEOUT_S = 20
# Whatever is left by processes whose parent ends becomes its child, as in a container (prctl(2), PR_SET_CHILD_SUBREAPER).
WAITING = """
import ctypes, signal, subprocess, sys
from golb.takeover.first_process import FirstProcess

mark, successor = sys.argv[1:]
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGTERM))
process = subprocess.Popen([sys.executable, "-c", successor], env={mark: "1"})
sys.exit(FirstProcess(mark, process.pid).wait())
"""
# It ends with 0 once the one that it has started has ended with 3.
TAKEN_OVER_BY_ONE_THAT_HAS_FAILED = """
import os, subprocess, sys
process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
os._exit(0)
"""


@contextmanager
def marked(before: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that has the mark, does something, says so, and waits."""
    program = f"import signal, sys\n{before}\nprint('ready', flush=True)\nsignal.pause()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env={MARK: "1"}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_signal_to_go_on_with_reaches_only_who_heeds_it() -> None:
    first = FirstProcess(MARK, None)
    with (
        marked("") as starting,
        marked("signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))") as serving,
    ):
        assert first.heed(signal.SIGUSR2) == [serving.pid]
        assert serving.wait(TIMEOUT_S) == 7
        assert first.heed(signal.SIGTERM) == [starting.pid]
        assert starting.wait(TIMEOUT_S) == -signal.SIGTERM


def test_it_ends_as_the_last_successor_has_that_was_the_first_to_end() -> None:
    command = [sys.executable, "-c", WAITING, MARK, TAKEN_OVER_BY_ONE_THAT_HAS_FAILED]
    assert subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode == 3

"""The processes of a scenario: endpoints that can be struck, a golb on a core of its own, and those who attack it.

They are started by the thread that runs Trio, not by one of its workers: the kernel ends a child when the thread that made
it ends (prctl(2), PR_SET_PDEATHSIG), and Trio's workers come and go.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import trio
from support.golb_process import GolbProcess

from benchmarks.children import ROOT, Child, child
from benchmarks.errors import PeerFailed
from demo.ports import HOST, choose_ports
from harm.endpoint import READY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

START_TIMEOUT_S = 15.0
_LOOK_EVERY_S = 0.02


@contextmanager
def program(module: str, *arguments: object, cores: Collection[int], log: Path) -> Iterator[Child]:
    """Run a module of this package while the block lasts; its standard output is the log."""
    command = [sys.executable, "-m", f"harm.{module}", *map(str, arguments)]
    environ = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    with child(module, command, cores=cores, log=log, environ=environ) as process:
        yield process


class Endpoint:
    """An endpoint in a process of its own, on a port that stays its own."""

    def __init__(self, folder: Path, cores: Collection[int]) -> None:
        # Below the range of outgoing ports: while nobody listens, golb could otherwise be connected to itself.
        (self.port,) = choose_ports([None])
        self.authority = f"{HOST}:{self.port}"
        self._ledger = folder / f"endpoint-{self.port}.ledger"
        self._log = folder / f"endpoint-{self.port}.log"
        self._cores = cores
        self._stack = ExitStack()
        self._child: Child | None = None
        self._starts = 0

    async def start(self) -> None:
        """Start it, or start it again after `kill`; returns when it accepts connections.

        Raises:
            PeerFailed: it does not.
        """
        arguments = (self.port, self._ledger)
        self._child = self._stack.enter_context(program("endpoint", *arguments, cores=self._cores, log=self._log))
        self._starts += 1
        with trio.move_on_after(START_TIMEOUT_S):
            while self._log.read_text().count(READY) < self._starts:
                self._child.check()
                await trio.sleep(_LOOK_EVERY_S)
            return
        raise PeerFailed(f"endpoint {self.authority} does not serve: {self._child.log_tail()}")

    @property
    def pid(self) -> int:
        """The process id of its present life."""
        assert self._child is not None
        return self._child.pid

    def kill(self) -> None:
        """SIGKILL; it has ended when this returns, and connections are reset or refused."""
        self._send(signal.SIGKILL)
        assert self._child is not None
        self._child.process.wait()

    def pause(self) -> None:
        """SIGSTOP: the kernel goes on to accept connections and bytes, and nobody answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: what has come meanwhile is read."""
        self._send(signal.SIGCONT)

    def deliveries(self) -> list[tuple[int, str]]:
        """Return id and method of each call that it got, over all its lives."""
        lines = (line.split() for line in self._ledger.read_text().splitlines()) if self._ledger.exists() else ()
        return [(int(number), method) for number, method in lines]

    def close(self) -> None:
        """End it, paused or not."""
        if self._child is not None and self._child.process.poll() is None:
            self.kill()
        self._stack.close()

    def _send(self, signal_number: signal.Signals) -> None:
        assert self._child is not None
        self._child.process.send_signal(signal_number)


@contextmanager
def golb_on(core: int | None, *, descriptors: int | None, **variables: str | int) -> Iterator[GolbProcess]:
    """Run a golb while the block lasts; it serves when this yields.

    Args:
        core: on which it runs; None for any.
        descriptors: the limit under which it starts, hard and soft; None leaves it as it is.
        variables: its configuration, by names without their prefix.
    """
    golb = GolbProcess(descriptors, **variables)
    own = os.sched_getaffinity(0)
    with ExitStack() as stack:
        # A process begins on the cores of the thread that makes it.
        os.sched_setaffinity(0, own if core is None else {core})
        try:
            stack.enter_context(golb)
        finally:
            os.sched_setaffinity(0, own)
        yield golb

"""etcd and golb as child processes: started, watched, and stopped with everything else.

A child has a session of its own. Otherwise a Ctrl-C in the terminal would reach it together with the demo, and the
demo could not tell a child that died from one that was told to stop. A child also ends if the demo is killed: etcd's
class sees to that for etcd (demo/etcd.py), `_BECOME_GOLB` for golb.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import frozen

from demo.errors import PartFailed
from demo.etcd import EtcdProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

DRAIN_TIMEOUT_S = 2
STOP_TIMEOUT_S = DRAIN_TIMEOUT_S + 3
POLL_INTERVAL_S = 0.05

# Runs in the child, which then becomes `python -m golb`.
_BECOME_GOLB = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the demo is gone")
os.execv(sys.executable, [sys.executable, "-m", "golb"])
"""

OnExit: TypeAlias = "Callable[[str, str, Path], None]"
"""Told the part, how it ended and its log, when a process ends by itself."""


@frozen(kw_only=True)
class Golb:
    """One golb of the demo: what it is told, and where its log goes."""

    zone: str
    node: str
    host: str
    port: int
    admin_port: int
    etcd: str
    """`host:port`."""
    gateway: str
    """The other golb, `ip:port`."""
    log: Path

    @property
    def part(self) -> str:
        """What the demo calls it."""
        return f"golb {self.node} ({self.zone})"

    @property
    def address(self) -> str:
        """`ip:port`, as it stands in the other zone's tables."""
        return f"{self.host}:{self.port}"

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment to start it in: `base`, but of golb's variables only those set here."""
        # What the user's shell exports for another golb must not reach this one.
        inherited = {name: value for name, value in base.items() if not name.startswith("eb_go_lb_")}
        return inherited | {
            "eb_go_lb_etcd_host": self.etcd,
            "eb_go_lb_zone": self.zone,
            "eb_go_lb_handler_type": "wrr",
            "eb_go_lb_mode": "dev",
            "eb_go_lb_node_name": self.node,
            "eb_go_lb_listen_host": self.host,
            "eb_go_lb_listen_port": str(self.port),
            "eb_go_lb_admin_listen": f"{self.host}:{self.admin_port}",
            "eb_go_lb_gateways": self.gateway,
            "eb_go_lb_drain_timeout": str(DRAIN_TIMEOUT_S),
        }


async def run_etcd(
    port: int | None,
    directory: Path,
    on_exit: OnExit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an etcd until it ends or this task is cancelled; ready, with its URL, once it answers. Leaves none behind.

    Raises:
        PartFailed: it does not start.
    """
    etcd = EtcdProcess(port=port, data_dir=directory / "etcd", log=directory / "etcd.log")
    try:
        # A thread, because start waits; not abandoned when cancelled, so that stop finds what start has done.
        await trio.to_thread.run_sync(etcd.start)
        task_status.started(etcd.client_url)
        returncode = await _end(lambda: etcd.returncode)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(etcd.stop)
    on_exit("etcd", how_it_ended(returncode), etcd.log)


async def run_golb(
    golb: Golb,
    environ: Mapping[str, str],
    on_exit: OnExit,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a golb until it ends or this task is cancelled; ready once the process exists. Leaves no process behind.

    Raises:
        PartFailed: it cannot be started.
    """
    process = _spawn(golb, golb.environ(environ))
    try:
        task_status.started()
        returncode = await _end(process.poll)
    finally:
        with trio.CancelScope(shield=True):
            await _stop(process)
    on_exit(golb.part, how_it_ended(returncode), golb.log)


def _spawn(golb: Golb, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # Not trio's open_process: it forks in a worker thread, and to prctl(2) that thread is the parent whose end counts.
    # This one, Trio's, lives as long as the demo.
    try:
        with golb.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the demo's own interpreter
                [sys.executable, "-I", "-S", "-c", _BECOME_GOLB, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                start_new_session=True,
            )
    except OSError as exc:
        raise PartFailed(golb.part, f"cannot be started: {exc}") from exc


async def _end(poll: Callable[[], int | None]) -> int:
    while (returncode := poll()) is None:  # noqa: ASYNC110 - nobody sets an Event when a process ends
        await trio.sleep(POLL_INTERVAL_S)
    return returncode


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the process drain, then kill it: it has ended, and is reaped, when this returns."""
    process.terminate()
    with trio.move_on_after(STOP_TIMEOUT_S) as scope:
        await _end(process.poll)
    if scope.cancelled_caught:
        process.kill()
        await _end(process.poll)


def how_it_ended(returncode: int) -> str:
    """Return a process's return code in words; negative ones are signals, as in `subprocess`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"

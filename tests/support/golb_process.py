"""golb as its users run it: a process of its own, configured by variables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from demo.ports import keep_port

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """Return a port that nobody has, on any address, and that nobody else is given."""
    return keep_port()


class GolbProcess:
    """One golb in mode prod; `with` waits until it serves, and ends it by SIGTERM.

    Args:
        descriptor_limit: its soft and its hard limit for file descriptors; default: as this process has them.
        variables: by their names without the prefix.
    """

    def __init__(self, descriptor_limit: int | None = None, /, **variables: str | int) -> None:
        self.port = free_port()
        self._descriptor_limit = descriptor_limit
        self._directory = tempfile.TemporaryDirectory(prefix="golb-test-")
        self.log_path = Path(self._directory.name) / "log"
        defaults: dict[str, str | int] = {
            "zone": "zone-a",
            "node_name": "eb-a-controller",
            "handler_type": "wrr",
            "mode": "prod",
            "listen_host": "127.0.0.1",
            "listen_port": self.port,
            "admin_listen": "off",
        }
        self._environ = {name: value for name, value in os.environ.items() if not name.lower().startswith("eb_go_lb_")}
        self._environ |= {f"eb_go_lb_{name}": str(value) for name, value in (defaults | variables).items()}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self._command(), env=self._environ, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while '"serving"' not in self.log_path.read_text():
            assert self.process.poll() is None, f"golb ended: {self.log_path.read_text()}"
            assert time.monotonic() < deadline, f"golb does not serve: {self.log_path.read_text()}"
            time.sleep(0.01)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=20)

    def log(self) -> list[dict[str, Any]]:
        """Return its log; each line has to be JSON."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def resident_bytes(self) -> int:
        """Return the memory that it holds."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many it holds."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu_s(self) -> float:
        """Return the CPU time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _command(self) -> list[str]:
        golb = [sys.executable, "-m", "golb"]
        if self._descriptor_limit is None:
            return golb
        return ["sh", "-c", f'ulimit -n {self._descriptor_limit} && exec "$@"', "sh", *golb]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()

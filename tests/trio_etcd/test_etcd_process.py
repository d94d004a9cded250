"""The etcd that the tests and the demo run: it must come up, come back, and go."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demo.errors import PartFailed
from demo.etcd import EtcdProcess, etcd_path, etcdctl_path

START_AND_BLOCK = """
from demo.etcd import EtcdProcess
etcd = EtcdProcess()
etcd.start()
print(etcd.pid, flush=True)
input()
"""


def etcdctl(etcd: EtcdProcess, *args: str) -> str:
    command = [str(etcdctl_path()), f"--endpoints={etcd.client_url}", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def pid_of(etcd: EtcdProcess) -> int:
    pid = etcd.pid
    assert pid is not None
    return pid


def has_ended(pid: int) -> bool:
    """Return whether a process ends within some seconds."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([pidfd], [], [], 5)
        return bool(ended)
    finally:
        os.close(pidfd)


def test_it_comes_back_on_the_same_port_with_the_same_data_and_leaves_nothing(tmp_path: Path) -> None:
    with EtcdProcess() as etcd:
        url = etcd.client_url
        assert Path(f"/proc/{pid_of(etcd)}/exe").readlink() == etcd_path().resolve()
        etcdctl(etcd, "put", "k", "v")
        etcd.stop()
        assert etcd.pid is None
        assert etcd.returncode is not None
        etcd.start()
        assert etcd.client_url == url
        assert etcdctl(etcd, "get", "--print-value-only", "k") == "v\n"
        etcd.kill()
        etcd.kill()
        etcd.stop()
        etcd.start()
        pid = pid_of(etcd)
    assert has_ended(pid)
    assert not etcd.log.exists()

    kept = EtcdProcess(port=etcd.port, data_dir=tmp_path / "data", log=tmp_path / "log")
    with kept:
        assert kept.client_url == url
    assert (tmp_path / "data" / "member").is_dir()
    assert (tmp_path / "log").stat().st_size > 0


def test_a_taken_port_is_named_though_another_etcd_answers_there(etcd: EtcdProcess) -> None:
    other = EtcdProcess(port=etcd.port)
    with pytest.raises(PartFailed, match=f"port {etcd.port} is taken"):
        other.start()
    assert other.pid is None


def test_an_etcd_that_does_not_start_shows_its_log() -> None:
    with pytest.raises(PartFailed, match="ended with code") as caught, EtcdProcess(extra_args=["--no-such-option"]):
        pass
    assert "no-such-option" in "".join(caught.value.__notes__)


def test_it_dies_with_its_parent_and_is_silent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_BLOCK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A parent that is killed cannot remove its etcd's directory.
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
        assert has_ended(pid)
        assert parent.stdout.read() == parent.stderr.read() == b""


def test_options_in_the_environment_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_LISTEN_METRICS_URLS", "nonsense")
    with EtcdProcess() as etcd:
        assert pid_of(etcd)

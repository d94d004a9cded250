"""What the end-to-end tests share."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import pytest

from demo.etcd import etcdctl_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from demo.etcd import EtcdProcess

_zones = count(1)


@pytest.fixture
def zone() -> str:
    """A zone that no other test uses."""
    return f"zone-e2e-{next(_zones)}"


@pytest.fixture
def etcdctl(etcd: EtcdProcess) -> Callable[..., str]:
    """Run the real etcdctl."""

    def run(*arguments: str) -> str:
        command = [str(etcdctl_path()), "--endpoints", etcd.client_url, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    return run


# The writers' client, in a process of its own: its protobuf is of another age than everything here.
_ETCD3_WRITER = """
import json, sys, etcd3
host, port = sys.argv[1], int(sys.argv[2])
client = etcd3.client(host=host, port=port)
for line in sys.stdin:
    key, value = json.loads(line)
    if value is None:
        client.delete(key)
    else:
        client.put(key, value)
    print("done", flush=True)
"""


class Etcd3Writer:
    """The Python client etcd3, as the optimizers use it: plain puts and deletes over gRPC."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _ETCD3_WRITER, "127.0.0.1", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def put(self, key: str, ips: Sequence[str], weights: Sequence[float]) -> None:
        self.put_raw(key, json.dumps({"ips": list(ips), "weights": list(weights)}))

    def delete(self, key: str) -> None:
        self.put_raw(key, None)

    def put_raw(self, key: str, value: str | None) -> None:
        """Return when etcd has it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([key, value]).encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == b"done\n"

    def close(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture(scope="session")
def writer(etcd: EtcdProcess) -> Iterator[Etcd3Writer]:
    """An optimizer, who writes into the zones of all tests."""
    writer = Etcd3Writer(etcd.port)
    yield writer
    writer.close()

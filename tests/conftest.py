"""What the tests share: one real etcd for all that a process runs. Each test keeps to keys of its own."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from demo.etcd import EtcdProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where an environment forbids bytecode, each process of pytest rewrites all tests again, which takes it some 13 s, and each
# golb that a test starts compiles what has changed.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What a shell starts in the background ignores SIGINT, and so does all that it starts in turn; tests send it (POSIX, 2.11).
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep the collector of garbage from looking at thousands of tests again and again while one of them runs."""
    gc.freeze()


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdProcess]:
    """An etcd for all the tests of this process; it tells watches of its progress every 0.1 s. Do not stop it: start another one."""
    options = ["--experimental-watch-progress-notify-interval=100ms"]
    # Slower than by default: it leads nobody, and what it does for that costs more than most tests have it do.
    options += ["--heartbeat-interval=250", "--election-timeout=1250"]
    with EtcdProcess(extra_args=options) as process:
        yield process

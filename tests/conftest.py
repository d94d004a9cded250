"""What the tests share: one real etcd for all that a process runs. Each test keeps to keys of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.etcd import EtcdProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdProcess]:
    """An etcd for all the tests of this process; it tells watches of its progress every 0.1 s. Do not stop it: start another one."""
    with EtcdProcess(extra_args=["--experimental-watch-progress-notify-interval=100ms"]) as process:
        yield process

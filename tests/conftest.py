"""What the tests share: the rewriting of their files, one real etcd for all that a process runs, and a poller.

Each test keeps to keys of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import structlog

from demo.etcd import EtcdProcess
from golb.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import trio

# Where an environment forbids bytecode, each process of pytest rewrites all tests again, which takes it some 13 s, and each
# golb that a test starts compiles what has changed.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What a shell starts in the background ignores SIGINT, and so does all that it starts in turn; tests send it (POSIX, 2.11).
signal.signal(signal.SIGINT, signal.default_int_handler)

# What a test has golb log in this process is shown if the test fails; to draw each traceback in colours takes longer than most tests.
_RENDERER = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _RENDERER])

# How long an example takes says how busy the machine is, and no more.
hypothesis.settings.register_profile("golb", deadline=None)
hypothesis.settings.load_profile("golb")

_TESTS = Path(__file__).parent
# What pytest-xdist tells its processes: gw0, gw1 and so on, of so many.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Have each process collect a share of the folders and files first that no other one begins with.

    pytest rewrites each file of tests that it has not seen before, which takes ten seconds for all of them. So each process
    rewrites its share, and reads what the others have rewritten of theirs; else each would rewrite all of them.
    """
    report = yield
    children = report.result
    if collector.path == _TESTS and children:
        shares = [children[first::_PROCESSES] for first in range(_PROCESSES)]
        report.result = [child for share in shares[_PROCESS:] + shares[:_PROCESS] for child in share]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the tests into the order of their paths, as all processes of pytest-xdist have to have the same."""
    if _PROCESSES > 1:
        items.sort(key=lambda item: item.path)


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


@pytest.fixture
async def poller(nursery: trio.Nursery) -> Poller:
    """A poller that runs until the test ends."""
    running = Poller()
    await nursery.start(running.run)
    return running

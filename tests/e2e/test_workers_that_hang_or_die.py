"""Workers that hang, die or drain by themselves: their clients lose no more than they must, and golb says what has happened."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from e2e.golb_of_workers import (
    LOOK_EVERY_S,
    TIMEOUT_S,
    WORKERS,
    Running,
    endpoints,
    running,
    served_by,
    wait_until,
)
from handlers.around import get
from support.golb_family import state_of, whole_family
from support.golb_process import free_port
from support.wire import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.wire import Wire

# So many that the kernel gives some of them to each worker, but once in 30,000 times.
CLIENTS = 16


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A golb for all tests that leave it with two workers that serve."""
    with running(tmp_path_factory.mktemp("golb")) as one:
        yield one


@asynccontextmanager
async def hanging(pid: int) -> AsyncIterator[None]:
    """Have a worker stand still; on leaving it goes on, if it is there."""

    async def stop() -> None:
        # Again and again, since the kernel lets it go on once, when the parent's thread ends that has started it.
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, signal.SIGSTOP)
                await trio.sleep(LOOK_EVERY_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        yield
        nursery.cancel_scope.cancel()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def lines(around: Running, message: str, pid: int) -> list[dict[str, Any]]:
    return [line for line in around.golb.log() if line["message"] == message and line.get("pid") == pid]


@asynccontextmanager
async def asking_clients(around: Running) -> AsyncIterator[list[Wire]]:
    """Connect, ask, and wait for nothing."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await connect(around.golb.port)) for _ in range(CLIENTS)]
        for client in clients:
            await client.send(get("unknown"))
        yield clients


async def all_are_answered(clients: list[Wire]) -> None:
    for client in clients:
        assert (await client.read_response()).status == 404


async def test_connections_to_a_worker_that_hangs_go_to_another_before_it_is_killed(around: Running) -> None:
    hung = around.workers[0]
    with trio.fail_after(TIMEOUT_S):
        async with hanging(hung):
            async with asking_clients(around) as clients:
                await all_are_answered(clients)
            assert lines(around, "worker does not answer", hung)
            assert not lines(around, "worker is killed", hung)
            await wait_until(lambda: bool(lines(around, "worker is killed", hung)))
        await wait_until(lambda: around.workers.get(0, hung) != hung)
        async with around.a_client_of_each():
            pass
    (killed,) = lines(around, "worker is killed", hung)
    assert "has not answered" in killed["cause"]
    assert killed["requests"] == 0


async def test_a_worker_that_hangs_for_a_moment_goes_on_with_all_that_it_has(around: Running) -> None:
    before = around.workers
    async with endpoints(1) as (endpoint,), around.a_client_of_each() as clients:
        around.put("moment", {endpoint: 1})
        async with hanging(before[0]):
            await wait_until(lambda: bool(lines(around, "worker does not answer", before[0])))
        await wait_until(lambda: bool(lines(around, "worker answers again", before[0])))
        for client in clients:
            await served_by(client, "moment", endpoint)
        async with around.a_client_of_each():
            pass
    assert around.workers == before


async def test_a_worker_that_drains_by_itself_shows_so(around: Running) -> None:
    before = around.workers
    async with endpoints(1) as (endpoint,), around.a_client_of_each() as (client, _):
        around.put("drains", {endpoint: 1})
        await served_by(client, "drains", endpoint)
        endpoint.does = "hang"
        called = len(endpoint.requests) + 1
        await client.send(get("drains"))
        await endpoint.called(called)
        os.kill(before[0], signal.SIGTERM)
        while await state(around, 0) == "serving":  # noqa: ASYNC110 - another process makes it so
            await trio.sleep(LOOK_EVERY_S)
        assert await state(around, 0) == "draining"
        endpoint.released.set()
        assert (await client.read_response()).status == 200
        await wait_until(lambda: around.workers.get(0, before[0]) != before[0])
        async with around.a_client_of_each():
            pass


async def state(around: Running, worker: int) -> Any:
    return (await around.told("/api/status"))["workers"][worker]["state"]


@pytest.mark.parametrize("dies", [True, False])
async def test_what_waits_for_a_worker_that_dies_or_hangs_as_golb_drains_is_answered_by_another(
    tmp_path: Path,
    dies: bool,  # noqa: FBT001 - a case's value
) -> None:
    with running(tmp_path) as around, trio.fail_after(TIMEOUT_S):
        lost = around.workers[0]
        os.kill(lost, signal.SIGSTOP)
        await wait_until(lambda: state_of(lost) == "T")
        async with asking_clients(around) as clients:
            if dies:
                os.kill(lost, signal.SIGKILL)
            os.kill(around.golb.pid, signal.SIGTERM)
            await all_are_answered(clients)


async def test_a_worker_that_is_stopped_ends_too_when_its_parent_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as around, trio.fail_after(TIMEOUT_S):
        os.kill(around.workers[0], signal.SIGSTOP)
        os.kill(around.golb.pid, signal.SIGKILL)
        await wait_until(lambda: not around.family.pids())


def test_on_a_terminal_the_lines_of_workers_have_colours_as_those_of_their_parent(tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text("{}")
    port = free_port()
    variables = {
        "zone": "zone-a",
        "mode": "dev",
        "handler_type": "wrr",
        "workers": WORKERS,
        "listen_host": "127.0.0.1",
        "listen_port": port,
        "admin_listen": "off",
        "weight_updater": "file",
        "weights_file": tmp_path / "weights.json",
    }
    environ = {name: text for name, text in os.environ.items() if not name.startswith("eb_go_lb_")}
    environ |= {f"eb_go_lb_{name}": str(value) for name, value in variables.items()}
    controller, terminal = pty.openpty()
    with whole_family(port), os.fdopen(controller, "rb", buffering=0) as screen:
        with os.fdopen(terminal, "wb") as stderr:
            golb = subprocess.Popen([sys.executable, "-m", "golb"], env=environ, stderr=stderr)
        shown = b""
        while b"zone-a" not in shown or shown.count(b"worker serves") < WORKERS:
            shown += screen.read(65536)
        golb.terminate()
        assert golb.wait(TIMEOUT_S) == 0
    for line in shown.splitlines():
        assert line.startswith(b"\x1b[")

"""golb as several processes: what clients, operators and the kernel see of its workers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from e2e.golb_of_workers import (
    LOOK_EVERY_S,
    TIMEOUT_S,
    WORKERS,
    Running,
    endpoints,
    final_host,
    running,
    served_by,
    wait_until,
)
from handlers.around import get
from support.golb_process import GolbProcess
from support.wire import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT = 16
MOST_OF_KEPT = 10


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A golb for all tests that leave it as it was; each has functions of its own."""
    with running(tmp_path_factory.mktemp("golb")) as one:
        yield one


async def test_weights_reach_every_worker(around: Running) -> None:
    async with endpoints(2) as (first, second), around.a_client_of_each() as clients:
        for endpoint in (first, second):
            around.put("reach", {endpoint: 1})
            for client in clients:
                await served_by(client, "reach", endpoint)


async def test_over_all_workers_an_endpoint_is_off_its_share_by_less_than_their_number(around: Running) -> None:
    weights, calls = (5, 2, 1), 81
    async with endpoints(3) as serving:
        async with around.a_client_of_each() as clients:
            around.put("shares", dict(zip(serving, weights, strict=True)))
            for client in clients:
                while await final_host(client, "shares") == b"404":  # noqa: ASYNC110 - as above
                    await trio.sleep(LOOK_EVERY_S)
        for _ in range(calls):
            async with await connect(around.golb.port) as client:
                await final_host(client, "shares")
        counts = [len(endpoint.requests) for endpoint in serving]
        assert sum(counts) == calls + WORKERS, "one of each worker before"
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - sum(counts) * weight / sum(weights)) < WORKERS


async def test_few_connections_that_are_kept_are_spread_over_the_workers(around: Running) -> None:
    with trio.fail_after(TIMEOUT_S):
        for _ in range(20):
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(await connect(around.golb.port)) for _ in range(KEPT)]
                for client in clients:
                    await final_host(client, "unknown")
                counts = [len(around.ports_of(worker)) for worker in around.workers]
                assert sum(counts) == KEPT
                assert max(counts) <= MOST_OF_KEPT
            await wait_until(lambda: not any(around.ports_of(worker) for worker in around.workers))


async def test_sighup_reaches_every_worker(around: Running) -> None:
    async with endpoints(1) as (endpoint,), around.a_client_of_each() as clients:
        around.put("gateway", {endpoint: 1})
        for lines, target in (((f"eb_go_lb_gateways={endpoint.authority}",), b"/function/gateway"), ((), b"/")):
            around.reload(*lines)
            for client in clients:
                await served_by(client, "gateway", endpoint)
                while endpoint.requests[-1].head.first_line.split()[1] != target:
                    await served_by(client, "gateway", endpoint)


async def test_a_reload_that_is_told_to_every_process_of_golb_ends_no_worker(around: Running) -> None:
    before = around.workers
    async with endpoints(1) as (endpoint,), around.a_client_of_each() as clients:
        for pid in before.values():
            for signal_number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGINT):
                os.kill(pid, signal_number)
        around.put("told", {endpoint: 1})
        for client in clients:
            await served_by(client, "told", endpoint)
    assert around.workers == before


async def test_golb_tells_the_sum_of_its_workers_which_falls_with_none(around: Running) -> None:
    async with endpoints(1) as (endpoint,):
        around.put("sum", {endpoint: 1})
        async with around.a_client_of_each() as clients:
            for client in clients:
                await served_by(client, "sum", endpoint)
                for _ in range(5):
                    await final_host(client, "sum")
            answers = len(endpoint.requests)
            while await around.answers("sum") != answers:  # noqa: ASYNC110 - what a worker counts is told later than answered
                await trio.sleep(LOOK_EVERY_S)
            told = await around.told("/api/status")
            assert [worker["pid"] for worker in told["workers"]] == list(around.workers.values())
        before = around.workers
        os.kill(before[1], signal.SIGKILL)
        states = Counter[str]()
        while not (states["serving"] and around.workers.get(1, before[1]) != before[1]):
            assert await around.answers("sum") == answers
            (worker,) = (each for each in (await around.told("/api/status"))["workers"] if each["worker"] == 1)
            states[worker["state"]] += worker["pid"] != before[1]
        assert worker["replaced"] == 1
        async with around.a_client_of_each() as clients:
            for client in clients:
                assert await final_host(client, "sum") == endpoint.authority.encode()
        while await around.answers("sum") != answers + WORKERS:  # noqa: ASYNC110 - as above
            await trio.sleep(LOOK_EVERY_S)


@pytest.mark.parametrize(("signal_number", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
async def test_when_the_parent_ends_the_workers_accept_no_more_and_finish_what_they_have(
    tmp_path: Path, signal_number: signal.Signals, exit_code: int
) -> None:
    async with endpoints(1) as (endpoint,):
        with running(tmp_path) as around:
            around.put("f", {endpoint: 1})
            async with around.a_client_of_each() as clients:
                for client in clients:
                    await served_by(client, "f", endpoint)
                endpoint.does = "hang"
                called = len(endpoint.requests) + len(clients)
                for client in clients:
                    await client.send(get("f"))
                await endpoint.called(called)
                os.kill(around.golb.pid, signal_number)
                await refused(around.golb.port)
                endpoint.released.set()
                for client in clients:
                    head = (await client.read_response()).head
                    assert (head.status, head.values(b"Connection")) == (200, [b"close"])
            await wait_until(lambda: not around.family.pids())
            assert around.golb.process is not None
            assert around.golb.process.wait(TIMEOUT_S) == exit_code


async def refused(port: int) -> None:
    """Wait until nobody listens any more."""
    while True:
        try:
            async with await connect(port):
                await trio.sleep(LOOK_EVERY_S)
        except OSError:
            return


def failed_start(**variables: str | int) -> tuple[int, str]:
    """Start a golb with workers that cannot serve; return its exit code, and what it has said."""
    golb = GolbProcess(workers=WORKERS, weight_updater="file", weights_file="weights.json", **variables)
    with pytest.raises(AssertionError, match="golb ended") as caught, golb:
        pytest.fail("it serves")
    assert golb.process is not None
    return golb.process.returncode, str(caught.value)


def test_a_certificate_that_is_none_is_told_once_and_is_no_start(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("none")
    code, text = failed_start(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem"))
    assert code == 2
    assert text.count("eb_go_lb_tls_cert is ") == 1


def test_a_handler_that_nobody_has_is_no_start() -> None:
    code, text = failed_start(handler_type="nobodys")
    assert code == 2
    assert "eb_go_lb_handler_type is 'nobodys'" in text


def test_what_only_a_worker_finds_wrong_is_no_start_either(tmp_path: Path) -> None:
    code, text = failed_start(access_log="json", access_log_path=str(tmp_path / "none" / "access.log"))
    assert code == 2
    assert "eb_go_lb_access_log_path is " in text
    assert "no worker can be started with this configuration" in text


def test_a_port_that_another_golb_has_is_no_start(around: Running) -> None:
    code, text = failed_start(listen_port=around.golb.port)
    assert code == 1
    assert f"eb_go_lb_listen_port is {around.golb.port}" in text

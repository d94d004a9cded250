"""golb as a process whose place another one takes, while clients go on calling: not one of their calls may fail."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import frozen
from handlers.around import Endpoint, get
from support.golb_family import GolbFamily, whole_family
from support.golb_process import GolbProcess, free_port
from support.wire import Wire, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PAUSE_S = 0.02
# Several golbs are started one after the other; the rest is for a machine that does other work.
TIMEOUT_S = 90
EXIT_TIMEOUT_S = 15


@frozen
class Around:
    """A port where golbs follow each other, the file with their variables, and an endpoint."""

    port: int
    admin_port: int
    family: GolbFamily
    folder: Path
    endpoint: Endpoint

    def golb(self, **variables: str) -> GolbProcess:
        return GolbProcess(
            listen_port=self.port,
            admin_listen=f"127.0.0.1:{self.admin_port}",
            weight_updater="file",
            weights_file=str(self.folder / "weights.json"),
            **variables,
        )

    def are_left(self, count: int) -> bool:
        """Tell whether so many processes have not ended."""
        return len(self.family.pids()) == count

    def is_offered(self) -> bool:
        """Tell whether a golb can be found that lets another one take over (unix(7), /proc/net/unix)."""
        return f"@golb/127.0.0.1:{self.port}\n" in Path("/proc/net/unix").read_text()

    @asynccontextmanager
    async def clients_call(self) -> AsyncIterator[None]:
        """While the block lasts; one of them keeps its connection."""
        async with trio.open_nursery() as nursery:
            for keeps in (True, False):
                nursery.start_soon(partial(keep_calling, self.port, keeps=keeps))
            yield
            nursery.cancel_scope.cancel()

    async def clients_are_answered(self) -> None:
        await self.endpoint.called(len(self.endpoint.requests) + 4)

    async def told_workers(self) -> list[int]:
        """Return the process ids of the workers that the admin port tells of."""
        async with await connect(self.admin_port) as client:
            await client.send(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return [worker["pid"] for worker in json.loads((await client.read_response()).body)["workers"]]


@asynccontextmanager
async def around(folder: Path) -> AsyncIterator[Around]:
    endpoint, port = Endpoint(), free_port()
    (folder / "weights.json").write_text(json.dumps({"f": {"ips": [endpoint.authority], "weights": [1]}}))
    with whole_family(port) as family:
        async with trio.open_nursery() as nursery:
            await nursery.start(endpoint.serve)
            with trio.fail_after(TIMEOUT_S):
                yield Around(port, free_port(), family, folder, endpoint)
            nursery.cancel_scope.cancel()
    endpoint.close()


async def keep_calling(port: int, *, keeps: bool) -> None:
    """Call again and again, by a connection that is kept or by new ones; a call that fails is an error."""
    wire: Wire | None = None
    while True:
        wire = wire or await connect(port)
        try:
            await wire.send(get("f"))
            head = (await wire.read_response()).head
            assert head.status == 200, head
            await trio.sleep(PAUSE_S)
        except BaseException:
            await trio.aclose_forcefully(wire.stream)
            raise
        if not keeps or head.values(b"Connection") == [b"close"] or has_ended(wire):
            await wire.close()
            wire = None


def has_ended(wire: Wire) -> bool:
    """Tell whether golb has closed a connection on which nothing is under way."""
    assert isinstance(wire.stream, trio.SocketStream)
    return wire.stream.socket.is_readable()


def told(golb: GolbProcess, message: str) -> list[dict[str, Any]]:
    """Return the lines of a log with this message; who refuses to start says so in lines that are no JSON."""
    lines = [json.loads(line) for line in golb.log_path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == message]


def was_told(golb: GolbProcess, message: str, times: int = 1) -> bool:
    return len(told(golb, message)) == times


async def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - other processes make it so
        await trio.sleep(PAUSE_S)


async def test_sigusr2_starts_a_golb_that_takes_over_with_as_many_workers_as_it_shall_have(tmp_path: Path) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.golb(env_file=str(variables)) as golb:
            serving = golb.pid
            async with here.clients_call():
                for times, workers in enumerate((2, 1), 1):
                    variables.write_text(f"eb_go_lb_workers={workers}")
                    os.kill(serving, signal.SIGUSR2)
                    await wait_until(partial(was_told, golb, "successor serves", times))
                    serving = told(golb, "successor serves")[-1]["pid"]
                    await wait_until(partial(here.are_left, workers + (workers > 1)))
                    assert await here.told_workers() == list(here.family.workers(serving).values())
                    await here.clients_are_answered()
                assert golb.process is not None
                assert golb.process.wait(EXIT_TIMEOUT_S) == 0

                variables.write_text("eb_go_lb_queue=many")
                os.kill(serving, signal.SIGUSR2)
                await wait_until(partial(was_told, golb, "successor failed"))
                assert told(golb, "successor failed")[0]["exit"] == 2
                assert "eb_go_lb_queue is 'many'" in golb.log_path.read_text()
                await here.clients_are_answered()
                assert here.family.pids() == [serving]
            os.kill(serving, signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))


async def test_who_is_told_to_stop_ends_its_successor_too_and_lets_calls_finish(tmp_path: Path) -> None:
    async with around(tmp_path) as here:
        with here.golb() as golb:
            os.kill(golb.pid, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "successor started"))
            os.kill(golb.pid, signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))
            assert was_told(golb, "serving")  # once: the first one
        here.endpoint.does = "hang"
        with here.golb() as golb:
            slow = await connect(here.port)
            await slow.send(get("f"))
            await here.endpoint.called(1)
            os.kill(golb.pid, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "successor serves"))
            os.kill(golb.pid, signal.SIGTERM)  # as a pod's end is told, though it drains already
            await wait_until(lambda: len(told(golb, "stopping")) == 2)
            here.endpoint.released.set()
            assert (await slow.read_response()).head.status == 200
            await slow.close()
            os.kill(told(golb, "successor serves")[0]["pid"], signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))


async def test_a_successor_that_is_told_to_stop_before_it_is_ready_leaves_the_service_to_the_old_one(
    tmp_path: Path,
) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.golb(env_file=str(variables)) as golb:
            for times, workers in enumerate((1, 2), 1):
                missing = tmp_path / f"later-{workers}.json"
                variables.write_text(f"eb_go_lb_workers={workers}\neb_go_lb_weights_file={missing}")
                os.kill(golb.pid, signal.SIGUSR2)
                await wait_until(partial(was_told, golb, "weights file not taken", times))
                successor = told(golb, "successor started")[-1]["pid"]
                os.kill(successor, signal.SIGUSR2)
                await wait_until(partial(was_told, golb, "no successor started, golb does not serve yet", times))
                os.kill(successor, signal.SIGTERM)
                await wait_until(partial(was_told, golb, "successor failed", times))
                assert here.family.pids() == [golb.pid]
            missing.write_text((tmp_path / "weights.json").read_text())
            async with here.clients_call():
                await here.clients_are_answered()
            assert not told(golb, "is gone, though it was ready")
            assert golb.stop() == 0


async def test_a_successor_without_a_table_serves_all_the_same_if_the_old_one_dies(tmp_path: Path) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.golb(env_file=str(variables)) as golb:
            variables.write_text(f"eb_go_lb_weights_file={tmp_path / 'missing.json'}")
            os.kill(golb.pid, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "weights file not taken"))
            os.kill(golb.pid, signal.SIGKILL)
            await wait_until(partial(was_told, golb, "the golb to take over from is gone"))
            async with await connect(here.port) as client:
                await client.send(get("f"))
                assert (await client.read_response()).status == 503
            os.kill(told(golb, "successor started")[0]["pid"], signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))


async def test_a_new_golb_takes_over_from_the_one_that_it_finds(tmp_path: Path) -> None:
    async with around(tmp_path) as here:
        with ExitStack() as stack:
            old = stack.enter_context(here.golb(takeover="on"))
            async with here.clients_call():
                for workers in (2, 1):
                    await wait_until(here.is_offered)
                    new = stack.enter_context(here.golb(takeover="on", workers=str(workers)))
                    await wait_until(partial(here.are_left, workers + (workers > 1)))
                    assert old.process is not None
                    assert old.process.wait(EXIT_TIMEOUT_S) == 0
                    assert await here.told_workers() == list(here.family.workers(new.pid).values())
                    await here.clients_are_answered()
                    old = new
            assert old.stop() == 0

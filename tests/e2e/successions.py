"""A port where one golb follows another, the clients that go on calling meanwhile, and what the golbs tell of it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import frozen
from handlers.around import Endpoint, get
from support.container import Container
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
        return GolbProcess(**self._variables | variables)

    def container(self, **variables: str) -> Container:
        return Container(**self._variables | variables)

    @property
    def _variables(self) -> dict[str, str]:
        return {
            "listen_port": str(self.port),
            "admin_listen": f"127.0.0.1:{self.admin_port}",
            "weight_updater": "file",
            "weights_file": str(self.folder / "weights.json"),
        }

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

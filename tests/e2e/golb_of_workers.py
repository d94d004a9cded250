"""A golb of several processes, and how to call it so that a test knows which of them answers."""

from __future__ import annotations

import json
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field
from handlers.around import Endpoint, get
from support.golb_family import GolbFamily, client_ports, whole_family
from support.golb_process import GolbProcess, free_port
from support.wire import Wire, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

WORKERS = 2
LOOK_EVERY_S = 0.02
# One that hangs is killed after some 6 s; the rest is for a machine that does other work.
TIMEOUT_S = 40


@define
class Running:
    """A golb with workers, whose weights and variables stand in files."""

    golb: GolbProcess
    family: GolbFamily
    folder: Path
    admin_port: int
    _weights: dict[str, Any] = field(factory=dict)

    @property
    def workers(self) -> dict[int, int]:
        """Process ids, by index."""
        return self.family.workers(self.golb.pid)

    def put(self, function: str, weights: Mapping[Endpoint, float]) -> None:
        ips = [endpoint.authority for endpoint in weights]
        self._weights[function] = {"ips": ips, "weights": list(weights.values())}
        self._replace("weights.json", json.dumps(self._weights))

    def reload(self, *lines: str) -> None:
        self._replace("golb.env", "\n".join(lines))
        os.kill(self.golb.pid, signal.SIGHUP)

    async def answers(self, function: str) -> int:
        """Return how many calls of a function were answered, as golb tells it."""
        return int((await self.told(f"/api/functions/{function}"))["responses"]["2xx"])

    async def told(self, path: str) -> Any:
        """Return what the admin port answers."""
        async with await connect(self.admin_port) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            response = await client.read_response()
        assert response.status == 200, response
        return json.loads(response.body)

    def ports_of(self, worker: int) -> frozenset[int]:
        return client_ports(self.workers[worker], self.golb.port)

    @asynccontextmanager
    async def a_client_of_each(self) -> AsyncIterator[list[Wire]]:
        """Connect until each worker has a connection, and yield one client of each."""
        async with AsyncExitStack() as stack:
            found: dict[int, Wire] = {}
            while len(found) < WORKERS:
                client = await stack.enter_async_context(await connect(self.golb.port))
                await final_host(client, "unknown")  # who is answered has been accepted
                for worker in self.workers:
                    if port_of(client) in self.ports_of(worker):
                        found[worker] = client
            yield [found[worker] for worker in sorted(found)]

    def _replace(self, name: str, text: str) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)


@contextmanager
def running(folder: Path, **variables: str) -> Iterator[Running]:
    admin_port = free_port()
    (folder / "weights.json").write_text("{}")
    (folder / "golb.env").write_text("")
    golb = GolbProcess(
        workers=WORKERS,
        weight_updater="file",
        weights_file=str(folder / "weights.json"),
        env_file=str(folder / "golb.env"),
        admin_listen=f"127.0.0.1:{admin_port}",
        **variables,
    )
    with whole_family(golb.port) as family, golb:
        yield Running(golb, family, folder, admin_port)


@asynccontextmanager
async def endpoints(count: int) -> AsyncIterator[list[Endpoint]]:
    serving = [Endpoint() for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for endpoint in serving:
            await nursery.start(endpoint.serve)
        with trio.fail_after(TIMEOUT_S):
            yield serving
        nursery.cancel_scope.cancel()
    for endpoint in serving:
        endpoint.close()


def port_of(client: Wire) -> int:
    assert isinstance(client.stream, trio.SocketStream)
    port: int = client.stream.socket.getsockname()[1]
    return port


async def final_host(client: Wire, function: str) -> bytes:
    """Call a function, and return the endpoint that answered, or the status if none did."""
    await client.send(get(function))
    head = (await client.read_response()).head
    return head.values(b"X-Final-Host")[0] if head.status == 200 else str(head.status).encode()


async def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - other processes make it so
        await trio.sleep(LOOK_EVERY_S)


async def served_by(client: Wire, function: str, endpoint: Endpoint) -> None:
    """Call until an endpoint answers."""
    while await final_host(client, function) != endpoint.authority.encode():  # noqa: ASYNC110 - as above
        await trio.sleep(LOOK_EVERY_S)

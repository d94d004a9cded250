"""Where a scenario happens: endpoints, an etcd with their weights, and a golb that goes by it."""

from __future__ import annotations

import json
import os
import resource
import secrets
import tempfile
from base64 import b64encode
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, field
from support.client import Client

from benchmarks.cores import read_cores
from harm.processes import Endpoint, golb_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from support.golb_process import GolbProcess

    from demo.etcd import EtcdProcess

FUNCTION = "work"


class TooFewDescriptors(Exception):
    """This machine does not allow so many connections. Raise the hard limit of open files (ulimit -Hn)."""


@define
class Arena:
    """What a scenario works on: the function `work` and its endpoints, at first; made by `open_arena`."""

    golb: GolbProcess
    endpoints: list[Endpoint]
    """All that were ever started, in that order."""
    load_cores: Collection[int]
    """On which all but golb runs."""
    folder: Path
    _etcd: EtcdProcess = field(alias="etcd")
    _zone: str = field(alias="zone")
    _stack: ExitStack = field(alias="stack")

    async def add_endpoint(self) -> Endpoint:
        """Start one more; nobody knows of it until `put`."""
        endpoint = Endpoint(self.folder, self.load_cores)
        self.endpoints.append(endpoint)
        self._stack.callback(endpoint.close)
        await endpoint.start()
        return endpoint

    async def put(self, weights: Mapping[str, float], function: str = FUNCTION) -> None:
        """Rewrite a function's weights, by endpoint; returns when etcd has them."""
        await _put(self._etcd, self._zone, function, weights)

    def deliveries(self) -> list[tuple[int, str]]:
        """Return id and method of each call that an endpoint got."""
        return [delivery for endpoint in self.endpoints for delivery in endpoint.deliveries()]


@asynccontextmanager
async def open_arena(
    etcd: EtcdProcess,
    weights: Sequence[float],
    variables: Mapping[str, str | int],
    *,
    descriptors: int | None = None,
    pinned: bool = True,
) -> AsyncIterator[Arena]:
    """Start an endpoint for each weight and a golb; all of it has ended on leaving.

    Args:
        etcd: runs; gets a zone of its own.
        weights: of the endpoints.
        variables: golb's configuration, by names without their prefix.
        descriptors: under which limit golb runs; None for this process's own.
        pinned: golb has a core to itself, if there are two; this process, and what it starts besides, keep to the others
            meanwhile. Otherwise all run where there is room, which is better on a machine that does other work.
    """
    own_cores = os.sched_getaffinity(0)
    cores = read_cores() if pinned else None
    load_cores = own_cores if cores is None else cores.load
    zone = f"zone-harm-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, own_cores)
        os.sched_setaffinity(0, load_cores)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harm-")))
        endpoints = [Endpoint(folder, load_cores) for _ in weights]
        async with trio.open_nursery() as nursery:
            for endpoint in endpoints:
                stack.callback(endpoint.close)
                nursery.start_soon(endpoint.start)
        await _put(etcd, zone, FUNCTION, dict(zip((item.authority for item in endpoints), weights, strict=True)))
        settings = {"zone": zone, "etcd_host": etcd.client_url, **variables}
        golb = stack.enter_context(golb_on(None if cores is None else cores.proxy, descriptors=descriptors, **settings))
        yield Arena(golb, endpoints, load_cores, folder, etcd, zone, stack)


def allow_descriptors(needed: int) -> None:
    """Let this process, and those it starts, have so many connections.

    Raises:
        TooFewDescriptors: the system does not allow it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptors(f"{needed} open files are needed, and ulimit -Hn says {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _put(etcd: EtcdProcess, zone: str, function: str, weights: Mapping[str, float]) -> None:
    key = f"golb/function/{zone}/{function}"
    value = json.dumps({"ips": list(weights), "weights": list(weights.values())})
    put = {"key": b64encode(key.encode()).decode(), "value": b64encode(value.encode()).decode()}
    async with await Client.connect(etcd.port) as client:
        response = await client.call("/v3/kv/put", method="POST", body=json.dumps(put).encode())
    assert response.status == 200, response.body

"""Connections to endpoints that this node has nothing left for: what is idle gives way, and no endpoint is blamed."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from support.client import Client
from support.endpoint import scripted_endpoint
from support.golb_process import GolbProcess
from support.stack import running_golb

if TYPE_CHECKING:
    from support.endpoint import ScriptedEndpoint
    from support.wire import Wire

    from golb.upstream import Upstream
    from golb.upstream.connection import EndpointStream
    from golb.weights import Endpoint

GET = b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer_next(pod: ScriptedEndpoint) -> Wire:
    """Answer the first request on the next connection, and return that, which golb then keeps."""
    endpoint = await pod.accept()
    await endpoint.read_request()
    await endpoint.send(OK)
    return endpoint


def fail_to_connect(upstream: Upstream, error: int, times: int) -> None:
    """Let the next connections to endpoints fail, as the kernel would let them."""
    connect = upstream.open_stream
    failures = [OSError(error, os.strerror(error))] * times

    async def fail_or_connect(endpoint: Endpoint) -> EndpointStream:
        if failures:
            raise failures.pop()
        return await connect(endpoint)

    upstream.open_stream = fail_or_connect


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSPC", "EADDRNOTAVAIL"])
async def test_what_this_node_lacks_is_told_with_503(error: str) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            fail_to_connect(golb.upstream, getattr(errno, error), times=1)
            await client.send(GET)
            response = await client.read_response()
            assert (response.status, response.head.values(b"Retry-After")) == (503, [b"1"])
            assert b"this node has no " in response.body
            assert not pod.has_connection_waiting()
            await client.send(GET)  # nothing is held against the endpoint
            async with await answer_next(pod):
                assert (await client.read_response()).status == 200


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM])
async def test_the_connection_that_was_not_used_for_longest_gives_way(error: int) -> None:
    with scripted_endpoint() as pod, scripted_endpoint() as new_pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as one, await golb.connect() as other:
            for client in (one, other):
                await client.send(GET)
            async with await pod.accept() as first, await pod.accept() as second:
                for endpoint in (first, second):
                    await endpoint.read_request()
                    await endpoint.send(OK)
                for client in (one, other):
                    assert (await client.read_response()).status == 200
                fail_to_connect(golb.upstream, error, times=1)
                golb.put_weights({pod.authority: 1, new_pod.authority: 1000})
                await one.send(GET)
                async with await answer_next(new_pod):
                    assert (await one.read_response()).status == 200
                assert len(golb.upstream.idle_timeouts) == 1 + 1
                ended = [await _has_ended(endpoint) for endpoint in (first, second)]
                assert ended.count(True) == 1


async def _has_ended(endpoint: Wire) -> bool:
    with trio.move_on_after(0.1):
        return await endpoint.read_to_end() == b""
    return False


async def test_a_lack_of_ports_closes_nothing() -> None:
    with scripted_endpoint() as pod, scripted_endpoint() as new_pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(GET)
            async with await answer_next(pod) as endpoint:
                assert (await client.read_response()).status == 200
                golb.put_weights({pod.authority: 1, new_pod.authority: 1000})
                fail_to_connect(golb.upstream, errno.EADDRNOTAVAIL, times=1)
                await client.send(GET)
                assert (await client.read_response()).status == 503
                assert not await _has_ended(endpoint)


# A process whose descriptors are used up, by the kernel's own rule: none below the limit is free.


def _descriptors(golb: GolbProcess) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{golb.pid}/fd").iterdir()}


async def _use_up_descriptors(golb: GolbProcess) -> list[Client]:
    """Let golb have no more descriptors than it has; return the clients by which the gaps between them are filled."""
    clients = []
    while _descriptors(golb) != set(range(len(_descriptors(golb)))):
        clients.append(await Client.connect(golb.port))
        count = len(_descriptors(golb))
        with trio.move_on_after(1):
            while len(_descriptors(golb)) == count:  # noqa: ASYNC110 - of another process
                await trio.sleep(0.01)
    _, hard = resource.prlimit(golb.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(golb.pid, resource.RLIMIT_NOFILE, (len(_descriptors(golb)), hard))
    return clients


async def test_a_process_without_a_free_descriptor_gives_up_idle_connections_and_then_says_why(tmp_path: Path) -> None:
    with scripted_endpoint() as kept_pod, scripted_endpoint() as pod:
        path = tmp_path / "weights.json"
        functions = {"kept": kept_pod, "f": pod}
        path.write_text(json.dumps({name: {"ips": [to.authority], "weights": [1]} for name, to in functions.items()}))
        with GolbProcess(weight_updater="file", weights_file=str(path), drain_timeout=0) as golb, trio.fail_after(20):
            clients = [await Client.connect(golb.port) for _ in range(2)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(clients[0].call, "/function/kept")
                kept = await answer_next(kept_pod)
            clients += await _use_up_descriptors(golb)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(clients[0].call, "/function/f")
                endpoint = await pod.accept()
                assert await kept.read_to_end() == b""
                await endpoint.read_request()

                response = await clients[1].call("/function/f")  # the other call still has its connection
                assert response.status == 503
                assert b"this node has no file descriptor left: Too many open files" in response.body
                await endpoint.send(OK)
            for client in clients:
                await client.aclose()
            for wire in (kept, endpoint):
                await wire.close()

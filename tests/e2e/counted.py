"""What golb counts, as a test reads it, and endpoints whose answer the test chooses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from handlers.around import until
from support.endpoint import ScriptedEndpoint, scripted_endpoint
from support.http2 import Http2Client, connect_http2
from support.stack import FUNCTION, RunningGolb, running_golb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from support.tls import TlsFiles

NO_RESPONSES = {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0}
NOT_REFUSED = {"no_endpoint": 0, "overloaded": 0, "loop": 0}


async def report(golb: RunningGolb, function: str = FUNCTION) -> dict[str, Any]:
    """Return what is counted of a function, once nothing is under way any more."""
    await until(lambda: golb.handler.totals()["in_flight"] == 0)
    return report_now(golb, function)


def report_now(golb: RunningGolb, function: str = FUNCTION) -> dict[str, Any]:
    """Return what is counted of a function by now."""
    told = golb.handler.function_report(function)
    assert told is not None
    return told | {"endpoints": list(told["endpoints"])}


def at(told: dict[str, Any], authority: str) -> dict[str, Any]:
    """Return what a report says of an endpoint."""
    (found,) = (one for one in told["endpoints"] if one["endpoint"] == authority)
    return dict(found)


def responses(**by_class: int) -> dict[str, int]:
    """Make counts of answers, as in `responses(_2xx=1)`."""
    return NO_RESPONSES | {name.removeprefix("_"): count for name, count in by_class.items()}


def calls(told: dict[str, Any]) -> int:
    """Return of how many requests a report knows how they ended."""
    return int(sum(told["responses"].values()) + sum(told["refused"].values()) + told["broken"] + told["gone"])


async def _play(pod: ScriptedEndpoint, answer: bytes, *, ends: bool) -> None:
    while True:
        async with await pod.accept() as wire:
            try:
                while True:
                    await wire.read_request()
                    await wire.send(answer)
                    if ends:
                        break
            except (EOFError, trio.BrokenResourceError):
                pass  # golb has closed the connection


@asynccontextmanager
async def golb_before(
    answer: bytes, variables: Mapping[str, str] | None = None, *, ends: bool = False
) -> AsyncIterator[RunningGolb]:
    """Run a golb whose only endpoint gives each request this answer, and closes the connection then if told to."""
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **(variables or {})) as golb, trio.open_nursery() as nursery:
            nursery.start_soon(partial(_play, pod, answer, ends=ends))
            yield golb
            nursery.cancel_scope.cancel()


async def call(golb: RunningGolb, data: bytes, method: bytes = b"GET") -> bytes:
    """Make one call on a connection of its own, and return the answer's body."""
    async with await golb.connect() as client:
        await client.send(data)
        return (await client.read_response(to=method)).body


@asynccontextmanager
async def http2_client(golb: RunningGolb, tls: TlsFiles) -> AsyncIterator[Http2Client]:
    client = await connect_http2(golb.port, tls.client_context("h2"))
    try:
        yield client
    finally:
        await trio.aclose_forcefully(client.stream)

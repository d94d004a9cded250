"""The obvious proxy on Trio: hypercorn serves, httpx calls; `python -m benchmarks.python_proxies.httpx_proxy`."""

from __future__ import annotations

import sys
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from benchmarks.layout import HOST, IDLE_CONNECTIONS, PREFIX
from benchmarks.python_proxies.turns import parse_arguments, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"host"}


async def forward(
    client: httpx.AsyncClient,
    endpoints: Iterator[str],
    scope: Any,
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    """Answer one request; an ASGI application once the first two arguments are given."""
    if scope["type"] != "http":
        raise NotImplementedError  # by which an application says that it wants no lifespan events
    names = {name for name, _ in scope["headers"]}
    has_body = b"content-length" in names or b"transfer-encoding" in names
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    request = client.build_request(
        scope["method"],
        f"http://{next(endpoints)}{(scope['raw_path'] + query).decode().removeprefix(PREFIX)}",
        headers=[(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP],
        content=_body(receive) if has_body else None,
    )
    answer = await client.send(request, stream=True)
    try:
        headers = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP_BY_HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        await answer.aclose()


async def _body(receive: Callable[[], Awaitable[Any]]) -> AsyncIterator[bytes]:
    more_body = True
    while more_body:
        event = await receive()
        yield event.get("body", b"")
        more_body = event.get("more_body", False)


async def run(port: int, weights: dict[str, int]) -> None:
    """Serve until the process is ended."""
    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = 3600
    config.keep_alive_max_requests = 1_000_000_000
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS * len(weights), keepalive_expiry=3600
    )
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        await serve(partial(forward, client, cycle(turns(weights))), config)


if __name__ == "__main__":
    trio.run(run, *parse_arguments(sys.argv[1:]))

"""The usual proxy in Python: aiohttp's server and client on uvloop; `python -m benchmarks.python_proxies.aiohttp_proxy`."""

from __future__ import annotations

import sys
from itertools import cycle
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

from benchmarks.layout import HOST, PREFIX
from benchmarks.python_proxies.turns import parse_arguments, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "date", "server"}


class Proxy:
    """The application; one session, whose pool keeps its connections."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._next = cycle(endpoints)
        self._session: aiohttp.ClientSession | None = None

    async def run_session(self, _application: web.Application) -> AsyncIterator[None]:
        """Keep the session open while the application runs."""
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=3600)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if self._session is None:
            raise RuntimeError("not started")
        url = URL(f"http://{next(self._next)}{request.raw_path.removeprefix(PREFIX)}", encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        body = request.content if request.body_exists else None
        call = self._session.request(request.method, url, headers=headers, data=body, allow_redirects=False)
        async with call as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def main(arguments: list[str]) -> None:
    """Serve until the process is ended."""
    port, weights = parse_arguments(arguments)
    proxy = Proxy(turns(weights))
    application = web.Application(client_max_size=0)
    application.cleanup_ctx.append(proxy.run_session)
    application.router.add_route("*", PREFIX + "/{path:.*}", proxy.forward)
    web.run_app(
        application,
        host=HOST,
        port=port,
        access_log=None,
        keepalive_timeout=3600,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""The application of the admin port: its paths, and what stands behind each.

It has a server of its own, so that nobody reaches it by the data port, and it only reads.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from golb.admin import event_stream
from golb.admin.event_stream import write_events
from golb.admin.events import KEPT
from golb.admin.exposition import Encoder
from golb.admin.functions import MAX_LIMIT, Selection, since, write_function, write_functions
from golb.admin.guard import Guard
from golb.admin.index_page import index_page
from golb.admin.json_text import to_json
from golb.admin.metrics import MetricsPage
from golb.admin.pace import Pace, Places
from golb.admin.problems import answer_failure, answer_http_exception
from golb.admin.readiness import readiness
from golb.admin.status import status
from golb.admin.streaming import StreamedResponse

if TYPE_CHECKING:
    from starlette.requests import Request

    from golb.admin.sources import Sources
    from golb.asgi import Receive, Scope, Send

T = TypeVar("T", int, None)

_DEFAULT_LIMIT = 100
_MAX_TEXT = 1000  # characters
_MAX_NUMBER = 999_999_999
# Each may be read slowly. A page of metrics may hold ten megabytes; who reads other pages does not keep Prometheus from it.
_PAGES_AT_ONCE = 4
_METRICS_AT_ONCE = 2
_PAGES_WAITING = 8
_LONGEST_PAGE_S = 30.0
_SUBSCRIBERS = 16


class AdminApplication:
    """An ASGI application that tells what golb does; it changes nothing.

    Args:
        sources: what it reads.
        token: what a client has to know, for all but health and the page without data; None: nothing.
        local_only: whether the port is on loopback: then, without a token, only a Host on loopback is answered.
        endpoint_label: whether the metrics tell of each endpoint.
    """

    def __init__(self, sources: Sources, *, token: str | None, local_only: bool, endpoint_label: bool) -> None:
        self._sources = sources
        self._pace = Pace()
        self._metrics = MetricsPage(sources, self._pace, endpoint_label=endpoint_label)
        self._pages = Places(_PAGES_AT_ONCE, _PAGES_WAITING)
        self._metrics_pages = Places(_METRICS_AT_ONCE, _PAGES_WAITING)
        self._subscribers = Places(_SUBSCRIBERS, 0)
        self._index = index_page()
        self._description = Response(
            files("golb.admin").joinpath("openapi.json").read_bytes(), media_type="application/json"
        )
        endpoints = {
            "/": self._answer_index,
            "/healthz": self._answer_alive,
            "/readyz": self._answer_ready,
            "/metrics": self._answer_metrics,
            "/api/status": self._answer_status,
            "/api/functions": self._answer_functions,
            "/api/functions/{function}": self._answer_function,
            "/api/events": self._answer_events,
            "/api/openapi.json": self._answer_description,
        }
        application = Starlette(
            routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()],
            exception_handlers={HTTPException: answer_http_exception, Exception: answer_failure},
        )
        application.router.redirect_slashes = False
        self._guard = Guard(application, token=token, local_only=local_only)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guard(scope, receive, send)  # type: ignore[arg-type] # Starlette sends dicts, and takes any mapping

    async def _answer_index(self, _: Request) -> Response:
        return self._index

    async def _answer_alive(self, _: Request) -> Response:
        return _json({"alive": True})

    async def _answer_ready(self, _: Request) -> Response:
        content = readiness(self._sources)
        return _json(content, HTTPStatus.OK if content["is_ready"] else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _answer_metrics(self, request: Request) -> Any:
        encoder = Encoder(request.headers.get("accept", ""))
        return StreamedResponse(
            partial(self._metrics.write, encoder), encoder.media_type, self._metrics_pages, longest_s=_LONGEST_PAGE_S
        )

    async def _answer_status(self, _: Request) -> Response:
        return _json(await status(self._sources))

    async def _answer_functions(self, request: Request) -> Any:
        selection = Selection(
            search=_text(request, "search"),
            after=_text(request, "after"),
            limit=_number(request, "limit", 1, MAX_LIMIT, _DEFAULT_LIMIT),
            worker=await self._worker(request),
        )
        return self._page(partial(write_functions, self._sources, self._pace, selection))

    async def _answer_function(self, request: Request) -> Any:
        function = request.path_params["function"]
        history_s = _number(request, "history_s", 0, _MAX_NUMBER, _MAX_NUMBER)
        worker = await self._worker(request)
        functions = self._sources.functions
        async with aclosing(functions.reports([function], worker)) as reports:
            found = [report async for report in reports]
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"zone {self._sources.zone} has no function of that name")
        history = since(functions.changes(function), time.time() - history_s)
        return self._page(partial(write_function, self._pace, found[0], history))

    async def _worker(self, request: Request) -> int | None:
        """Return the number of the worker that is asked for; None: all of them."""
        number = _number(request, "worker", 0, _MAX_NUMBER, None)
        if number is None:
            return None
        workers = [] if self._sources.workers is None else await self._sources.workers()
        if all(worker["worker"] != number for worker in workers):
            raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no worker {number}; /api/status tells which there are")
        return number

    async def _answer_events(self, request: Request) -> Any:
        feed = self._sources.events
        last_id = request.headers.get("last-event-id")
        history = _number(request, "history", 0, KEPT, 0)
        number = max(feed.newest - history, 0) if last_id is None else feed.number_of(last_id)
        return StreamedResponse(partial(write_events, feed, number), event_stream.MEDIA_TYPE, self._subscribers)

    async def _answer_description(self, _: Request) -> Response:
        return self._description

    def _page(self, write: Any) -> StreamedResponse:
        return StreamedResponse(write, "application/json", self._pages, longest_s=_LONGEST_PAGE_S)


def _json(content: object, status_code: int = HTTPStatus.OK) -> Response:
    return Response(to_json(content), status_code, media_type="application/json")


def _text(request: Request, name: str) -> str:
    text = _parameter(request, name) or ""
    if len(text) > _MAX_TEXT:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"{name} has {len(text)} characters; it takes {_MAX_TEXT}")
    return text


def _number(request: Request, name: str, least: int, most: int, default: T) -> int | T:
    text = _parameter(request, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"{name} takes a whole number from {least} to {most}")
    return int(text)


def _parameter(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"{name} is there {len(values)} times; it takes one value")
    return values[0] if values else None

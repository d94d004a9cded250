"""What is answered where a request cannot be: a problem document (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"

_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this path; /api/openapi.json says what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "the admin port changes nothing; it takes GET and HEAD",
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer that says what is wrong; `detail` is a sentence for people."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def busy(detail: str) -> JSONResponse:
    """Return the answer to whom may try again in a moment."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"})


async def answer_http_exception(request: Request, exc: Exception) -> JSONResponse:
    """Answer what Starlette, or an endpoint, has refused."""
    del request
    assert isinstance(exc, HTTPException)  # noqa: S101 - Starlette calls it for these only
    detail = exc.detail
    if detail == HTTPStatus(exc.status_code).phrase:  # Starlette's own
        detail = _DETAILS.get(HTTPStatus(exc.status_code), detail)
    return problem(exc.status_code, detail, exc.headers)


async def answer_failure(request: Request, exc: Exception) -> JSONResponse:
    """Answer where golb has failed; Starlette raises the exception again, and the server logs it."""
    del request, exc
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "golb failed to answer; its log says why")

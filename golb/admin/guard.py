"""Who may ask the admin port: those with the token, or, where there is none, those who mean this machine.

Without a token a port on loopback is open to all who are on the machine, and to no web page: one that has made its own
name point to 127.0.0.1 (DNS rebinding) sends that name as Host, and is refused. A page from elsewhere that knows the
address cannot read the answers, as no answer allows it to (no CORS), and changes nothing, as nothing can be changed.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from golb.admin.problems import problem

if TYPE_CHECKING:
    from starlette.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from golb.headers import Headers

# What says nothing of the node but whether it can be used, and the page, which holds no data and asks for the token.
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/"})
# None of the paths takes so many, and to take each apart costs microseconds.
_MOST_PARAMETERS = 16
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?")
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_NOTHING_MAY_LOAD = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


def is_loopback(host: str) -> bool:
    """Tell whether a host, by name or address and without a port, is this machine to itself only."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """An ASGI application in front of another one: it refuses whom that shall not answer, and hardens its answers.

    Args:
        application: answers those who may ask.
        token: what they have to know; None: nothing.
        local_only: whether without a token only a Host on loopback is answered.
    """

    def __init__(self, application: ASGIApp, *, token: str | None, local_only: bool) -> None:
        self._application = application
        self._token = None if token is None else token.encode()
        self._local_only = local_only and token is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_hardened(event: Message) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": _hardened(event["headers"])}
            await send(event)

        await (self._refusal(scope) or self._application)(scope, receive, send_hardened)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers: Headers = scope["headers"]
        if self._local_only:
            host = next((value for name, value in headers if name == b"host"), None)
            # Only HTTP/1.0, which no browser speaks, comes without.
            if host is not None and not _is_local(host):
                return problem(
                    HTTPStatus.MISDIRECTED_REQUEST,
                    "without a token the admin port answers to localhost, 127.0.0.1 and [::1] only; eb_go_lb_admin_token sets one",
                )
        if scope["query_string"].count(b"&") >= _MOST_PARAMETERS:
            return problem(HTTPStatus.BAD_REQUEST, f"a query has {_MOST_PARAMETERS} parameters at most")
        if self._token is None or scope["path"] in _OPEN_PATHS:
            return None
        said = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = said[0].partition(b" ") if len(said) == 1 else (b"", b"", b"")
        if scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(b" "), self._token):
            return None
        challenge = 'Bearer realm="golb"' + (', error="invalid_token"' if said else "")  # RFC 6750, 3
        return problem(
            HTTPStatus.UNAUTHORIZED,
            "this needs the header Authorization: Bearer <the value of eb_go_lb_admin_token>",
            {"www-authenticate": challenge},
        )


def _is_local(host: bytes) -> bool:
    match = _HOST.fullmatch(host.decode("latin-1").strip(" \t"))
    return match is not None and is_loopback(match[1])


def _hardened(headers: Headers) -> Headers:
    has_policy = any(name == b"content-security-policy" for name, _ in headers)
    return [*headers, *_SECURITY_HEADERS, *([] if has_policy else [_NOTHING_MAY_LOAD])]

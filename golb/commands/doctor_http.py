"""One GET, for what etcd's client does not tell: who answers at all, and what time it is there.

It runs in a thread, on the standard library's client: nothing here is in a hurry, and all is asked for once.
"""

from __future__ import annotations

import http.client
import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.config import Config

_MOST_BYTES = 1 << 16


@frozen
class Answer:
    """What has come back."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes
    """At most 64 KiB of it."""

    @property
    def text(self) -> str:
        """The body as text, with escapes where it is none."""
        return self.body.decode(errors="backslashreplace").strip()


async def get(
    url: str, *, timeout_s: float, tls: ssl.SSLContext | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return the answer to a GET of an http or https URL.

    Args:
        url: with a port.
        timeout_s: for each step of it (> 0).
        tls: whom to trust, for https.
        headers: of the request.

    Raises:
        OSError: it cannot be reached; `ssl.SSLError` is one too.
        http.client.HTTPException: it does not speak HTTP.
        trio.TooSlowError: it takes longer in all.
    """
    with trio.fail_after(timeout_s):
        return await trio.to_thread.run_sync(partial(_get, url, timeout_s, tls, headers or {}), abandon_on_cancel=True)


def _get(url: str, timeout_s: float, tls: ssl.SSLContext | None, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    )
    try:
        connection.request("GET", parts.path or "/", headers=dict(headers))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read(_MOST_BYTES))
    finally:
        connection.close()


def etcd_tls(config: Config) -> ssl.SSLContext:
    """Return how https members of etcd are spoken to.

    Raises:
        OSError: a file cannot be used.
        ValueError: the private key is encrypted.
    """
    context = ssl.create_default_context(cafile=config.etcd_ca)
    if config.etcd_insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.etcd_cert is not None:
        context.load_cert_chain(config.etcd_cert, config.etcd_key, password=_no_password)
    return context


def any_tls() -> ssl.SSLContext:
    """Return how a server is spoken to of which no more than its presence is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def why(exc: BaseException) -> str:
    """Say in a line why there was no answer."""
    if isinstance(exc, TimeoutError | trio.TooSlowError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate: {exc.verify_message}"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def _no_password() -> str:
    raise ValueError("the private key is encrypted")

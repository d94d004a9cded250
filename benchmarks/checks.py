"""Whether a proxy does the work that is measured: before the load, over one connection, as a client would see it."""

from __future__ import annotations

import http.client
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.errors import PeerFailed
from benchmarks.layout import (
    ENDPOINT_HEADER,
    HOST,
    LARGE_BYTES,
    LARGE_PATH,
    PREFIX,
    SMALL_BYTES,
    SMALL_PATH,
    UPLOAD_PATH,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 5.0
_REQUESTS = 100
# A proxy may begin its cycle anywhere, and may count each connection's requests in a cycle of its own.
_TOLERANCE = 4


def answers(port: int, function_prefix: str = PREFIX) -> bool:
    """Return whether a call of the function is answered with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", function_prefix + SMALL_PATH)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check_work(name: str, port: int, endpoints: Mapping[str, int]) -> None:
    """Check a path, a query, both sizes in both directions, keep-alive and the shares of the endpoints.

    Raises:
        PeerFailed: the proxy does other work than the others would be measured at.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
    try:
        _call(name, connection, "GET", LARGE_PATH, b"", LARGE_BYTES)
        _call(name, connection, "POST", UPLOAD_PATH + "?a=1&b=%2F", b"x" * LARGE_BYTES, SMALL_BYTES)
        served = Counter(_call(name, connection, "GET", SMALL_PATH, b"", SMALL_BYTES) for _ in range(_REQUESTS))
    except (OSError, http.client.HTTPException) as exc:
        raise PeerFailed(f"{name} breaks off: {exc!r}") from exc
    finally:
        connection.close()
    check_shares(name, served, endpoints)


def check_shares(name: str, served: Mapping[str, int], endpoints: Mapping[str, int]) -> None:
    """Compare the requests that each endpoint got with its weight.

    Raises:
        PeerFailed: they differ.
    """
    requests, weights = sum(served.values()), sum(endpoints.values())
    expected = {address: requests * weight / weights for address, weight in endpoints.items()}
    if any(abs(served.get(address, 0) - share) > _TOLERANCE for address, share in expected.items()):
        raise PeerFailed(f"{name} does not spread by the weights: {dict(served)} instead of {expected}")


def _call(
    name: str, connection: http.client.HTTPConnection, method: str, path: str, body: bytes, answer_bytes: int
) -> str:
    """Make one call over the connection and return who answered it."""
    connection.request(method, PREFIX + path, body=body or None)
    opened = connection.sock
    response = connection.getresponse()
    answer = response.read()
    if response.status != http.HTTPStatus.OK or len(answer) != answer_bytes:
        raise PeerFailed(f"{name} answers {method} {path} with {response.status} and {len(answer)} bytes")
    if connection.sock is not opened:
        raise PeerFailed(f"{name} closes the connection after {method} {path}")
    return response.headers[ENDPOINT_HEADER] or ""

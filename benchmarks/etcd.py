"""Weights written over etcd's JSON gateway, blocking, for the harness.

golb's own client is not used: what is measured should not measure itself.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
from typing import TYPE_CHECKING, Self

from benchmarks.errors import BenchmarkError
from benchmarks.layout import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TIMEOUT_S = 30.0
_PUTS_AT_ONCE = 128  # etcd's default --max-txn-ops


def weights_value(endpoints: Mapping[str, int]) -> str:
    """Return the value under a function's key."""
    return json.dumps({"ips": list(endpoints), "weights": list(endpoints.values())})


def function_key(zone: str, function: str) -> str:
    """Return the key of a function's weights."""
    return f"golb/function/{zone}/{function}"


def put_body(key: str, value: str) -> dict[str, str]:
    """Return one put as the gateway takes it."""
    return {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(value.encode()).decode()}


class EtcdWriter:
    """One connection to an etcd on loopback; a context manager that closes it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._connection.close()

    def put(self, key: str, value: str) -> None:
        """Write one key and wait until etcd has it."""
        self.send_put(key, value)
        self.wait()

    def put_all(self, values: Iterable[tuple[str, str]]) -> None:
        """Write many keys, in large transactions: for what has to be there before anything is measured."""
        remaining = iter(values)
        while batch := list(itertools.islice(remaining, _PUTS_AT_ONCE)):
            self._send("/v3/kv/txn", {"success": [{"requestPut": put_body(key, value)} for key, value in batch]})
            self.wait()

    def send_put(self, key: str, value: str) -> None:
        """Send a put, to be followed by `wait`."""
        self._send("/v3/kv/put", put_body(key, value))

    def revision(self) -> int:
        """Return how many writes etcd has seen."""
        self._send("/v3/kv/range", {"key": base64.b64encode(b"golb").decode()})
        return int(json.loads(self.wait())["header"]["revision"])

    def wait(self) -> bytes:
        """Wait for the answer to what was sent, and return it.

        Raises:
            BenchmarkError: etcd refused it.
        """
        response = self._connection.getresponse()
        text = response.read()
        if response.status != http.HTTPStatus.OK:
            raise BenchmarkError(f"etcd answered {response.status}: {text[:200].decode(errors='replace')}")
        return text

    def _send(self, path: str, body: object) -> None:
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})

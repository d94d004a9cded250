"""Records of calls for tests."""

from __future__ import annotations

from typing import Any

from golb.calls import CallRecord

FIELDS: dict[str, Any] = {
    "function": "hello",
    "endpoint": "10.42.0.5:8080",
    "node": "eb-a-controller",
    "client": "10.0.0.7",
    "method": "GET",
    "target": "/function/hello/classify?top=5",
    "status": 200,
    "bytes_in": 3,
    "bytes_out": 1024,
    "began_s": 1795506240.2047873,
    "duration_s": 0.0123456,
    "first_byte_s": 0.012,
    "own_s": 0.0000451,
    "retries": 1,
    "request_id": "8a1f-17",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "error": None,
    "path": "eb-a-controller, 10.0.0.7",
}
TEXTS = [name for name, value in FIELDS.items() if isinstance(value, str)] + ["error"]


def record(**changes: Any) -> CallRecord:
    return CallRecord(**(FIELDS | changes))

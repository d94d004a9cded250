"""What all parts agree on: addresses, paths, sizes and weights. Imports nothing, for the Python proxies' sake."""

from __future__ import annotations

HOST = "127.0.0.1"
FUNCTION = "echo"
PREFIX = f"/function/{FUNCTION}"
"""What a proxy strips."""

WEIGHTS = (5, 3, 1, 1)
SMALL_BYTES = 1024
LARGE_BYTES = 1024 * 1024
SMALL_PATH = "/hello"
LARGE_PATH = "/large"
UPLOAD_PATH = "/upload"
"""Reads a body to its end, then answers as SMALL_PATH does."""
ENDPOINT_HEADER = "X-Endpoint"
"""In which an endpoint names itself."""

IDLE_CONNECTIONS = 256
"""To each endpoint: room for every connection that a scenario opens."""

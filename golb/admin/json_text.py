"""JSON as the admin port writes it."""

from __future__ import annotations

import json


def to_json(content: object) -> bytes:
    """Write JSON in one line, and in ASCII, as names that come from outside may hold what UTF-8 cannot."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")

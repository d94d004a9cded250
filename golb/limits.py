"""How much of one function may go on at once, as its value in etcd says beside `ips` and `weights`. No I/O.

    {"ips": [...], "weights": [...], "max_inflight": 100, "queue": 50, "timeout": 0.5}

Rule: a member that is not there (or null) leaves it to the configuration; a bad one makes the whole value a bad one.
"""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING

from attrs import frozen

from golb.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_COUNT = 1_000_000_000
_MAX_TIMEOUT_S = 3600.0


@frozen
class Limits:
    """Of one function; None: as the configuration has it for all."""

    max_inflight: int | None = None
    """Requests under way at once; 0: any number."""
    queue: int | None = None
    """Requests that wait for a place at once; 0: none waits."""
    timeout_s: float | None = None
    """How long each of them may wait, in seconds."""

    def __str__(self) -> str:
        return f"max_inflight={_shown(self.max_inflight)} queue={_shown(self.queue)} timeout={_shown(self.timeout_s)}"


NO_LIMITS = Limits()


def _shown(limit: float | None) -> str:
    return "default" if limit is None else f"{limit:g}"


def parse_limits(members: Mapping[str, object]) -> Limits:
    """Read the members of a value that limit its function.

    Raises:
        WeightsError: one is not what it should be; the text says what would be right.
    """
    if members.keys().isdisjoint(("max_inflight", "queue", "timeout")):
        return NO_LIMITS
    return Limits(_count(members, "max_inflight"), _count(members, "queue"), _timeout_s(members))


def _count(members: Mapping[str, object], name: str) -> int | None:
    value = members.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise WeightsError(f"{name} is {reprlib.repr(value)}; a whole number from 0 to {_MAX_COUNT} is needed")
    return value


def _timeout_s(members: Mapping[str, object]) -> float | None:
    value = members.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIMEOUT_S:
        raise WeightsError(
            f"timeout is {reprlib.repr(value)}; seconds from 0 to {math.floor(_MAX_TIMEOUT_S)} are needed"
        )
    return float(value)

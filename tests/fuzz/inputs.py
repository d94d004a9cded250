"""How the bytes of an input are read: first the choices, one byte each, then the payload, which is cut into pieces.

The choices stand at fixed places, so that a payload keeps its meaning when the fuzzer changes one of them.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, TypeVar

from golb.sockets import RECEIVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

MAX_PAYLOAD_BYTES = 100_000
"""Of a payload with its repetitions: beyond every limit of golb's parsers, and still quickly read."""

# What stands between these two is repeated.
_REPEATED = re.compile(rb"\x01([^\x01\x02]+)\x02")
_TIMES = (1, 1, 1, 2, 3, 50, 250, 2500)
# Below this a rule is the size of every piece; from it on, what seeds their sizes.
_FIRST_SEED = 16


class Choices:
    """The first bytes of an input."""

    def __init__(self, data: bytes, count: int) -> None:
        self._bytes = iter(data[:count].ljust(count, b"\0"))
        self.payload = data[count:]
        """What stands behind them."""

    def number(self) -> int:
        """Return the next choice, 0 to 255."""
        return next(self._bytes)

    def one_of(self, options: Sequence[T]) -> T:
        """Return the option that the next choice means."""
        return options[self.number() % len(options)]


def expand(payload: bytes, choice: int) -> bytes:
    """Repeat what stands between 0x01 and 0x02, as often as `choice` says; so a few bytes reach golb's limits."""
    times = _TIMES[choice % len(_TIMES)]
    return _REPEATED.sub(lambda found: found[1] * min(times, MAX_PAYLOAD_BYTES // len(found[1])), payload)[
        :MAX_PAYLOAD_BYTES
    ]


def cut(data: bytes, rule: int) -> list[bytes]:
    """Cut bytes into pieces: as large as they can be for rule 0, of one size for a small one, of sizes by chance for others.

    However many bytes there are, the pieces are some hundred at most.
    """
    if not rule:
        return [data[begin : begin + RECEIVE_BYTES] for begin in range(0, len(data), RECEIVE_BYTES)]
    random = Random(rule)
    longest = max(64, len(data) // 50)
    pieces, begin = [], 0
    while begin < len(data):
        size = max(rule, len(data) // 200) if rule < _FIRST_SEED else random.choice((1, 2, 7, longest))
        pieces.append(data[begin : begin + size])
        begin += size
    return pieces

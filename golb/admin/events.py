"""What has just happened, for whoever looks on: a ring of the last events, which everybody reads at his own pace.

Rule: to publish costs a microsecond and never waits. A subscriber is a number, that of the event which it has read
last; one that is too slow for the ring loses the oldest and is told how many they were.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import trio
from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Data = Mapping[str, Any]
    """JSON's types only."""

Kind = Literal["weights", "refused", "endpoint", "draining"]

KEPT = 256
"""So many events are kept for those who come, or come back, later."""


@define
class Event:
    """Something that has happened."""

    number: int
    """1 for the first one of this process."""
    kind: Kind
    at_s: float
    """Unix time in seconds."""
    _data: Data | Callable[[], Data]

    @property
    def data(self) -> Data:
        """What is told of it."""
        if callable(self._data):
            self._data = self._data()
        return self._data


class EventFeed:
    """The last events of this process.

    Args:
        kept: how many (> 0).
        wall_clock: tells unix seconds.
    """

    def __init__(self, kept: int = KEPT, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._events: deque[Event] = deque(maxlen=kept)
        self._wall_clock = wall_clock
        self._waiting = trio.lowlevel.ParkingLot()
        self.run = secrets.token_hex(4)
        """Tells this process's numbers from those of an earlier one."""
        self.newest = 0
        """The number of the last event; 0 before the first."""

    def publish(self, kind: Kind, data: Data | Callable[[], Data]) -> None:
        """Add an event; the oldest one goes where there are too many.

        Args:
            kind: of the event.
            data: what is told of it, or a function that returns it, called when somebody first asks; most events nobody sees.
        """
        self.newest += 1
        self._events.append(Event(self.newest, kind, self._wall_clock(), data))
        self._waiting.unpark_all()

    def after(self, number: int, at_most: int) -> tuple[int, list[Event]]:
        """Return how many events behind that number are lost, and the next ones behind those, oldest first."""
        oldest = self.newest - len(self._events) + 1
        lost = max(oldest - number - 1, 0)
        begin = number + lost + 1 - oldest
        return lost, list(islice(self._events, begin, begin + at_most))

    async def wait_for_more(self, number: int) -> None:
        """Return once there is an event behind that number."""
        while self.newest <= number:
            await self._waiting.park()

    def id_of(self, number: int) -> str:
        """Return the id under which a subscriber may ask for what comes behind an event."""
        return f"{self.run}-{number}"

    def number_of(self, event_id: str) -> int | None:
        """Return the number that `id_of` has made an id of; None if that was not in this process."""
        run, _, number = event_id.partition("-")
        if run != self.run or not (number.isascii() and number.isdigit() and len(number) < 20):
            return None
        return min(int(number), self.newest)

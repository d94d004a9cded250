"""Whoever a weight updater publishes to, in a test."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

    from golb.weights import Weights, WeightUpdate

Logs = list["MutableMapping[str, Any]"]

DEADLINE_S = 10


class Following:
    """Keeps what is published: the first call, and each later one that has something in it."""

    def __init__(self) -> None:
        self.unread: deque[dict[str, Weights | None]] = deque()
        self.revisions: dict[str, int] = {}
        self._is_first = True
        self._more = trio.Event()

    def publish(self, updates: Iterable[WeightUpdate]) -> None:
        batch = {update.function: update for update in updates}
        if batch or self._is_first:
            self._is_first = False
            self.revisions |= {function: update.revision for function, update in batch.items()}
            self.unread.append({function: update.weights for function, update in batch.items()})
            self._more.set()

    async def next_call(self) -> dict[str, Weights | None]:
        """Return the oldest call that was not yet read; wait for one if there is none."""
        with trio.fail_after(DEADLINE_S):
            while not self.unread:
                self._more = trio.Event()
                await self._more.wait()
        return self.unread.popleft()


async def wait_for_logs(logs: Logs, count: int, **wanted: str) -> Sequence[MutableMapping[str, Any]]:
    """Wait until so many lines of the log have these fields, which may go on after what is wanted; return them."""
    with trio.fail_after(DEADLINE_S):
        while True:
            found = [log for log in logs if all(str(log.get(name)).startswith(text) for name, text in wanted.items())]
            if len(found) >= count:
                return found
            await trio.sleep(0.01)  # a log sets no Event

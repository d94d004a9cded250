"""Weight updates to whoever subscribed, each over a memory channel of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from golb.weights import WeightUpdate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Batch = dict[str, WeightUpdate]
"""The newest update of each function that has one, by function."""


class Broadcaster:
    """Keeps the table, and passes changes on.

    A channel holds one batch. While a subscriber has not taken it, newer updates replace those of the same function in
    it: a slow subscriber misses intermediate states and nothing else, holds no more than one update of each function,
    and slows nobody.
    """

    def __init__(self) -> None:
        self._table: Batch | None = None
        self._ends: list[tuple[trio.MemorySendChannel[Batch], trio.MemoryReceiveChannel[Batch]]] = []

    def publish(self, updates: Iterable[WeightUpdate]) -> None:
        """Pass updates on; returns at once. The first call tells that the table is known, even if it is empty."""
        batch = {update.function: update for update in updates}
        if self._table is None:
            self._table = {}
        elif not batch:
            return
        for update in batch.values():
            if update.weights is None:
                self._table.pop(update.function, None)
            else:
                self._table[update.function] = update
        for send, receive in self._ends:
            _put(send, receive, batch)

    @contextmanager
    def subscribe(self) -> Iterator[trio.MemoryReceiveChannel[Batch]]:
        """Yield a channel of batches: first the whole table, as soon as it is known, then what changes.

        The channel is closed, and forgotten, on leaving.
        """
        send, receive = trio.open_memory_channel[Batch](1)
        if self._table is not None:
            send.send_nowait(dict(self._table))
        # The broadcaster takes an unread batch back through a clone, which stays open if the subscriber closes its own.
        ends = (send, receive.clone())
        self._ends.append(ends)
        with send, receive, ends[1]:
            try:
                yield receive
            finally:
                self._ends.remove(ends)


def _put(send: trio.MemorySendChannel[Batch], receive: trio.MemoryReceiveChannel[Batch], batch: Batch) -> None:
    try:
        send.send_nowait(batch.copy())
    except trio.WouldBlock:
        pending = receive.receive_nowait()
        pending.update(batch)
        send.send_nowait(pending)

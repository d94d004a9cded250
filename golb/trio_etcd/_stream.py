"""From the chunks of a watch stream to batches of whole revisions, with no I/O and no clock.

Rule: chunks may be cut anywhere and messages may be fragments; what comes out is neither. Memory is bounded by the
longest line allowed and by the events of one revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from ._errors import MalformedAnswer
from ._types import Event, WatchBatch

if TYPE_CHECKING:
    from ._wire import WatchMessage


@define
class LineSplitter:
    """Cuts chunks into lines, without copying a part of a line for each chunk that adds to it."""

    limit_bytes: int
    _parts: list[bytes] = field(factory=list, init=False)
    _length_bytes: int = field(default=0, init=False)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, without their ends; blank ones are left out.

        Raises:
            MalformedAnswer: a line is longer than `limit_bytes`.
        """
        *lines, rest = chunk.split(b"\n")
        if lines:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts.clear()
            self._length_bytes = 0
        if rest:
            self._parts.append(rest)
            self._length_bytes += len(rest)
        if self._length_bytes > self.limit_bytes:
            raise MalformedAnswer(f"a line of more than {self.limit_bytes} bytes")
        return [line for line in lines if line]

    @property
    def rest(self) -> bytes:
        """What no line's end has followed yet."""
        return b"".join(self._parts)


@define
class BatchBuilder:
    """Makes of a watch's messages batches that hold whole revisions, and knows how far they reach.

    The revision in the header of a message with events is the store's when it was sent, which may be ahead of events
    yet to come (a watch from an old revision gets them in parts: server/storage/mvcc/watcher_group.go,
    watchBatchMaxRevs). The last event's own revision is what is safe to resume after, as in etcd's Go client
    (client/v3/watch.go, nextRev). A fragment may even end within a revision: its last one waits for the next fragment.
    """

    revision: int
    """Everything up to and including it has been handed out."""
    _held: list[Event] = field(factory=list, init=False)

    def add(self, message: WatchMessage) -> WatchBatch | None:
        """Return what the message completes; None if that is nothing."""
        events = self._held + message.events
        self._held = []
        if message.fragment and events:
            unfinished = events[-1].kv.mod_revision
            self._held = [event for event in events if event.kv.mod_revision == unfinished]
            events = events[: len(events) - len(self._held)]
        if message.fragment and not events:
            return None
        newest = events[-1].kv.mod_revision if events else message.header.revision
        # A watch from a revision yet to come is told of progress up to the present one.
        self.revision = max(self.revision, newest)
        return WatchBatch(self.revision, tuple(events))

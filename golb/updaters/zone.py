"""One zone's keys in etcd, as far as golb has been told of them: at any time the state of one revision.

Rule: what comes from lists and from a watch meets here, and no event is taken twice or out of its order. No I/O.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
import trio

from golb.errors import WeightsError
from golb.networks import ANYWHERE
from golb.trio_etcd import EventType
from golb.updaters.table import Table
from golb.weights import KEY_PREFIX, parse_function_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from golb.networks import TargetNetworks
    from golb.trio_etcd import Event, KeyValue, RangeResult, WatchBatch
    from golb.updaters.base import Publish
    from golb.updaters.knowledge import Knowledge
    from golb.weights import WeightUpdate

LOG = structlog.get_logger()

# So many keys or events are handled before other tasks get their turn: about a millisecond.
_AT_ONCE = 100


class Zone:
    """The table of a zone, kept by whole lists and by changes.

    Args:
        name: the zone's.
        knowledge: its `revision` is that of the table; this class moves it on.
        targets: where endpoints may lie.
    """

    def __init__(self, name: str, knowledge: Knowledge, targets: TargetNetworks = ANYWHERE) -> None:
        self.name = name
        self.prefix = f"{KEY_PREFIX}{name}/"
        self.table = Table(targets=targets)
        self.keys = 0
        """How many keys the zone has at the knowledge's revision, those that are refused included."""
        self._knowledge = knowledge
        self._since: dict[bytes, Event] | None = None
        self._applying = trio.Lock()
        self._taken = 0
        """Events since other tasks had their turn."""

    async def take_list(self, listed: RangeResult, asked_at: float, publish: Publish) -> None:
        """Take the zone's keys as they are listed, and publish what differs.

        Beside a watch, read the list within `listing`. `asked_at` is the knowledge's clock before the list was asked for.
        """
        async with self._applying:
            newer = {
                key: event for key, event in (self._since or {}).items() if event.kv.mod_revision > listed.revision
            }
            values = await self._values(listed.kvs)
            for event in newer.values():
                self._update(values, event)
            keys = len(listed.kvs)
            if newer:
                there = {kv.key for kv in listed.kvs if kv.key in newer}
                keys += sum((event.type is EventType.PUT) - (key in there) for key, event in newer.items())
            revision = listed.revision if self._since is None else max(listed.revision, self._knowledge.revision)
            changed = await self._replace(values, revision, publish)
            self.keys = keys
            self._knowledge.confirm("etcd", listed.header.cluster_id, revision, asked_at)
        functions = len(self.table)
        LOG.info("weights listed", zone=self.name, functions=functions, revision=revision, changed=changed)

    async def take_changes(self, batch: WatchBatch, publish: Publish) -> None:
        """Take what a watch has delivered. Cancelled in between, what was taken is whole revisions."""
        # Where thousands of requests are served, each wait takes some milliseconds until it is this task's turn again:
        # with two of them for each batch, a thousand puts a second would fall behind.
        try:
            self._applying.acquire_nowait()
        except trio.WouldBlock:
            await self._applying.acquire()
        try:
            for events in _parts(batch.events):
                fresh = [event for event in events if event.kv.mod_revision > self._knowledge.revision]
                publish(self._changes(fresh))
                self._advance(events[-1].kv.mod_revision)
                self._taken += len(events)
                if self._taken >= _AT_ONCE:
                    self._taken = 0
                    await trio.lowlevel.checkpoint()
            self._advance(batch.revision)
        finally:
            self._applying.release()

    @contextmanager
    def listing(self) -> Iterator[None]:
        """Keep in mind what changes while a list is read beside a watch, for `take_list` to go by."""
        self._since = {}
        try:
            yield
        finally:
            self._since = None

    def _advance(self, revision: int) -> None:
        if revision > self._knowledge.revision:
            self._knowledge.advance(revision)

    async def _replace(self, values: dict[str, tuple[bytes, int]], revision: int, publish: Publish) -> int:
        # The first table is known when all of it is.
        together: list[WeightUpdate] | None = None if self.table.is_filled else []
        changed = 0
        for updates in self.table.replace_in_steps(values, revision):
            changed += len(updates)
            if together is None:
                publish(updates)
            else:
                together += updates
            await trio.lowlevel.checkpoint()
        if together is not None:
            publish(together)
        return changed

    async def _values(self, kvs: Sequence[KeyValue]) -> dict[str, tuple[bytes, int]]:
        values: dict[str, tuple[bytes, int]] = {}
        for number, kv in enumerate(kvs, 1):
            function = self._function(kv)
            if function is not None:
                values[function] = kv.value, kv.mod_revision
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return values

    def _update(self, values: dict[str, tuple[bytes, int]], event: Event) -> None:
        is_deleted = event.type is EventType.DELETE
        function = self._function(event.kv, is_deleted=is_deleted)
        if function is None:
            return
        if is_deleted:
            values.pop(function, None)
        else:
            values[function] = event.kv.value, event.kv.mod_revision

    def _changes(self, events: Sequence[Event]) -> Iterator[WeightUpdate]:
        for event in events:
            if self._since is not None:
                self._since[event.kv.key] = event
            is_deleted = event.type is EventType.DELETE
            if is_deleted:
                self.keys -= 1
            elif event.kv.version == 1:
                self.keys += 1
            function = self._function(event.kv, is_deleted=is_deleted)
            if function is None:
                continue
            if is_deleted:
                update = self.table.delete(function, event.kv.mod_revision)
            else:
                update = self.table.put(function, event.kv.value, event.kv.mod_revision)
            if update is not None:
                yield update

    def _function(self, kv: KeyValue, *, is_deleted: bool = False) -> str | None:
        try:
            return parse_function_name(kv.key, self.name)
        except WeightsError as exc:
            name = ascii(kv.key.decode(errors="backslashreplace"))
            if is_deleted:
                self.table.forget(name)
            else:
                self.table.refuse(name, str(exc), kv.mod_revision)
            return None


def _parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Cut events into parts, between revisions only: what one transaction has changed stays together."""
    start = 0
    for end in range(1, len(events) + 1):
        is_last = end == len(events)
        if is_last or (end - start >= _AT_ONCE and events[end].kv.mod_revision != events[end - 1].kv.mod_revision):
            yield events[start:end]
            start = end

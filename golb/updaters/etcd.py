"""Weights from etcd: the keys `golb/function/<zone>/<function>`, listed at one revision and watched from the next."""

from __future__ import annotations

from random import uniform
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.errors import WeightsError
from golb.trio_etcd import EtcdClient, EtcdError, EventType
from golb.updaters.base import WeightUpdater
from golb.updaters.table import Table
from golb.weights import KEY_PREFIX, parse_function_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from golb.config import Config
    from golb.trio_etcd import Event, KeyValue
    from golb.updaters.base import Publish
    from golb.weights import WeightUpdate

LOG = structlog.get_logger()

_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0


class EtcdWeightUpdater(WeightUpdater):
    """Follows one zone in etcd, through whatever happens to the connection."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._prefix = f"{KEY_PREFIX}{config.zone}/"
        self._table = Table()
        self._delay_s = 0.0

    async def run(self, publish: Publish) -> NoReturn:
        async with EtcdClient(self.config.etcd_host) as client:
            while True:
                try:
                    await self._follow(client, publish)
                except EtcdError as exc:
                    self._delay_s = min(max(2 * self._delay_s, _FIRST_DELAY_S), _MAX_DELAY_S)
                    # All nodes lose etcd at the same moment; they shall not come back at the same one.
                    delay_s = self._delay_s * uniform(0.5, 1.0)  # noqa: S311 - no secret
                    LOG.warning("etcd lost, list again", cause=str(exc), retry_in_s=round(delay_s, 3))
                    await trio.sleep(delay_s)

    async def _follow(self, client: EtcdClient, publish: Publish) -> None:
        """List, publish what differs, and follow; returns only by an EtcdError."""
        listed = await client.get_prefix(self._prefix)
        publish(self._table.replace(self._by_function(listed.kvs), listed.revision))
        LOG.info("weights listed", zone=self.config.zone, functions=len(self._table), revision=listed.revision)
        # etcd's revision names the last change that is in the list, so the watch begins one after it.
        async with client.watch_prefix(self._prefix, start_revision=listed.revision + 1) as watch:
            self._delay_s /= 4  # etcd is back; one that keeps going away is still asked ever less
            async for batch in watch:
                self._delay_s = 0.0
                publish(self._changes(batch.events))

    def _by_function(self, kvs: Iterable[KeyValue]) -> dict[str, tuple[bytes, int]]:
        values = {}
        for kv in kvs:
            function = self._function(kv)
            if function is not None:
                values[function] = kv.value, kv.mod_revision
        return values

    def _changes(self, events: Iterable[Event]) -> Iterable[WeightUpdate]:
        for event in events:
            function = self._function(event.kv, is_deleted=event.type is EventType.DELETE)
            if function is None:
                continue
            if event.type is EventType.DELETE:
                update = self._table.delete(function, event.kv.mod_revision)
            else:
                update = self._table.put(function, event.kv.value, event.kv.mod_revision)
            if update is not None:
                yield update

    def _function(self, kv: KeyValue, *, is_deleted: bool = False) -> str | None:
        try:
            return parse_function_name(kv.key, self.config.zone)
        except WeightsError as exc:
            if is_deleted:
                return None  # it was refused when it came
            self._table.refuse(ascii(kv.key.decode(errors="backslashreplace")), str(exc), kv.mod_revision)
            return None

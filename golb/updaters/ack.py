"""What this node tells those who write weights: the revision in force here, and what was refused.

Rule: it is a courtesy. It has a client and a task of its own, so that neither its failure nor its wait is anybody else's.
The key lives by a lease: a node that dies is gone from `golb/status/<zone>/` a few seconds later, without anybody's doing.
"""

from __future__ import annotations

import json
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
import trio

from golb.trio_etcd import EtcdError, LeaseNotFound
from golb.updaters.etcd_client import make_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.config import Config
    from golb.trio_etcd import EtcdClient, Lease
    from golb.updaters.knowledge import Knowledge
    from golb.updaters.table import Table

LOG = structlog.get_logger()

STATUS_PREFIX = "golb/status/"
LEASE_TTL_S = 15
MAX_REFUSALS = 20
"""So many refusals are told one by one."""

_LOOK_EVERY_S = 0.1
_AT_MOST_EVERY_S = 1.0
_MAX_DELAY_S = 30.0
_WARN_EVERY_S = 60.0
_REVOKE_TIMEOUT_S = 1.0
_MAX_NAME = 100  # characters
_MAX_REASON = 200  # characters


class InForce:
    """Tells the newest revision whose weights are in use, which a publication alone does not say.

    Args:
        revision: tells the newest one that has been published.
        on_progress: told of `revision` whenever a handler has got something.

    Whoever publishes calls `published` before. Each handler that uses the weights has a `Taker`.
    """

    def __init__(self, revision: Callable[[], int], on_progress: Callable[[int], object] = lambda _: None) -> None:
        self._newest = revision
        self._on_progress = on_progress
        self._publications = 0
        self._takers: dict[Taker, None] = {}

    @property
    def revision(self) -> int:
        """etcd's; every put and delete of the zone up to it is in force everywhere, or was refused. 0 if there is none yet."""
        # With nothing under way, what changed no weights is in force too.
        if all(taker.publications == self._publications for taker in self._takers):
            return self._newest() if self._takers else 0
        return min(taker.revision for taker in self._takers)

    def published(self) -> None:
        """Take note that there are updates which no handler has yet."""
        self._publications += 1

    def taker(self) -> Taker:
        """Return the part of one more handler; it counts from its first `hand_over` until `leave`."""
        return Taker(self._mark, self._takers, self._progress)

    def _mark(self) -> tuple[int, int]:
        return self._publications, self._newest()

    def _progress(self) -> None:
        self._on_progress(self.revision)


class Taker:
    """A handler's part in `InForce`, which makes it."""

    def __init__(
        self, mark: Callable[[], tuple[int, int]], takers: dict[Taker, None], on_progress: Callable[[], None]
    ) -> None:
        self._mark = mark
        self._on_progress = on_progress
        self._takers = takers
        self._taken = (0, 0)
        self.publications = self.revision = 0
        """Those that the handler has, and the newest revision when it took the last of them."""

    def take(self) -> None:
        """Take note that all updates published so far are being handed over."""
        self._taken = self._mark()

    def hand_over(self) -> None:
        """Take note that the handler has what was taken last."""
        self.publications, self.revision = self._taken
        self._takers[self] = None
        self._on_progress()

    def leave(self) -> None:
        """Count no more: the handler is gone."""
        self._takers.pop(self, None)
        self._on_progress()


class Acknowledgement:
    """Keeps `golb/status/<zone>/<node>`: put at most once a second, and only when something has changed.

    Its value is a JSON object: `revision` (etcd's, in force on this node) and `cluster_id` (as a string: JSON's numbers
    are doubles to many), `source` (`etcd`, or `disk` before etcd was listed), `applied_at` (unix seconds), `functions`
    (their number), `refused` (`now`, the number of keys whose newest value is refused, up to 1,000; `total`, puts by
    what was wrong with them, since golb has started; `values`, at most 20 of those refused now: `name`, `fault`,
    `reason`, `revision`).

    Args:
        config: says whose key it is, and where etcd is.
        table: whose refusals are told.
        knowledge: of which cluster the table is.
        in_force: what the handler has.
        wall_clock: tells unix seconds.
    """

    def __init__(
        self,
        config: Config,
        table: Table,
        knowledge: Knowledge,
        in_force: InForce,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.key = f"{STATUS_PREFIX}{config.zone}/{config.node_name}"
        self._config = config
        self._table = table
        self._knowledge = knowledge
        self._in_force = in_force
        self._wall_clock = wall_clock
        self._lease: Lease | None = None
        self._renew_at_s = 0.0
        self._put: object = None
        self._delay_s = 0.0
        self._warned_at_s: float | None = None

    async def run(self) -> NoReturn:
        """Tell, until cancelled; then the key is removed, if etcd can be reached."""
        async with make_client(self._config) as client:
            try:
                await self._keep_telling(client)
            finally:
                if self._lease is not None:
                    with trio.move_on_after(_REVOKE_TIMEOUT_S, shield=True):
                        await self._revoke(client, self._lease)
                    self._lease = None

    async def _keep_telling(self, client: EtcdClient) -> NoReturn:
        while True:
            try:
                pause_s = await self._tell(client)
                self._delay_s = 0.0
            except LeaseNotFound:
                # etcd was away for longer than the lease, or is another one now.
                self._lease = None
                pause_s = _AT_MOST_EVERY_S
            except EtcdError as exc:
                self._delay_s = pause_s = min(max(2 * self._delay_s, _AT_MOST_EVERY_S), _MAX_DELAY_S)
                self._warn(exc)
            await trio.sleep(pause_s)

    async def _tell(self, client: EtcdClient) -> float:
        """Do what is due, and return how long there is nothing to do."""
        now_s = trio.current_time()
        if self._lease is None:
            self._lease = await client.grant_lease(LEASE_TTL_S)
            self._put = None
            self._renew_at_s = now_s + self._lease.ttl_s / 3
        elif now_s >= self._renew_at_s:
            self._renew_at_s = now_s + await client.keep_lease_alive_once(self._lease.id) / 3
        state = self._state()
        if state == self._put or not state[0]:
            return _LOOK_EVERY_S
        content = json.dumps(self._content(), separators=(",", ":"))
        await client.put(self.key, content.encode(), lease=self._lease.id)
        self._put = state
        return _AT_MOST_EVERY_S

    def _state(self) -> tuple[int, int, str, int, int]:
        """Return what says, when it changes, that there is something to tell."""
        refused, knowledge = self._table.refused, self._knowledge
        return self._in_force.revision, knowledge.cluster_id, knowledge.source, refused.changes, refused.total

    def _content(self) -> dict[str, Any]:
        refused = self._table.refused
        return {
            "revision": self._in_force.revision,
            "cluster_id": str(self._knowledge.cluster_id),
            "source": self._knowledge.source,
            "applied_at": round(self._wall_clock(), 3),
            "functions": len(self._table),
            "refused": {
                "now": len(refused),
                "total": dict(refused.counts),
                "values": [
                    {
                        "name": _cut(refusal.name, _MAX_NAME),
                        "fault": refusal.fault,
                        "reason": _cut(refusal.reason, _MAX_REASON),
                        "revision": refusal.revision,
                    }
                    for refusal in islice(refused, MAX_REFUSALS)
                ],
            },
        }

    def _warn(self, exc: EtcdError) -> None:
        now_s = trio.current_time()
        if self._warned_at_s is None or now_s - self._warned_at_s >= _WARN_EVERY_S:
            self._warned_at_s = now_s
            LOG.warning("ack not written", key=self.key, cause=str(exc), retry_in_s=self._delay_s)

    async def _revoke(self, client: EtcdClient, lease: Lease) -> None:
        try:
            await client.revoke_lease(lease.id)
        except EtcdError as exc:
            LOG.info("ack not removed", key=self.key, cause=str(exc), gone_in_s=lease.ttl_s)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."

"""Weights from etcd: the keys `golb/function/<zone>/<function>`, listed at one revision and watched from the next.

Rule: what is served is always the zone as it was at one revision of etcd, and `knowledge` says at which, and until when
that was the newest. A watch that ends is opened again from the next revision; the zone is listed where that cannot do.
"""

from __future__ import annotations

from functools import partial
from random import uniform
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.trio_etcd import Compacted, EtcdError, TlsFailed, Unavailable, WatchCancelled
from golb.updaters.base import WeightUpdater
from golb.updaters.etcd_check import StreamBehind, WatchCheck
from golb.updaters.etcd_client import make_client
from golb.updaters.lineage import Lineage, WentBack
from golb.updaters.staleness import report_staleness
from golb.updaters.zone import Zone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from golb.config import Config
    from golb.trio_etcd import EtcdClient, Watch
    from golb.updaters.base import Publish
    from golb.weights import WeightUpdate

LOG = structlog.get_logger()

_FIRST_DELAY_S = 0.1
# After an outage the weights are to be right within 2 s.
_MAX_DELAY_S = 1.0
# For what does not pass by itself: who is refused for a password or a certificate does harm by asking on.
_MAX_REFUSED_DELAY_S = 30.0
# etcd has lost events of a watch (etcd#15271, #17529, #18089, #19179).
_LIST_EVERY_S = 300.0
_LIST_RETRY_S = 30.0

_Failure = EtcdError | StreamBehind | WentBack


class EtcdWeightUpdater(WeightUpdater):
    """Follows one zone in etcd, through whatever happens to the connection."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._zone = Zone(config.zone, self.knowledge, config.target_networks)
        self.table = self._zone.table
        """What is served, and what was refused."""
        self.refused = self.table.refused
        self._lineage = Lineage(self.knowledge)
        self._must_list = True
        self._list_at = 0.0
        self._list_soon = trio.Event()
        self._raft_term = 0
        self._was_reached = False
        self._delay_s = 0.0
        self._is_suspect = False

    async def run(self, publish: Publish) -> NoReturn:
        self._must_list = True  # after a defect the table may be that of no revision
        async with make_client(self.config) as client, trio.open_nursery() as nursery:
            nursery.start_soon(report_staleness, self.knowledge, self.config.etcd_timeout)
            while True:
                self.knowledge.connecting()
                try:
                    await self._follow(client, publish)
                except (EtcdError, StreamBehind, WentBack) as exc:
                    await trio.sleep(self._take_failure(exc))
        raise AssertionError  # not reached

    # Following

    async def _follow(self, client: EtcdClient, publish: Publish) -> NoReturn:
        """List if that is needed, watch, and see to it that the watch is alive. Ends only by an error."""
        if self._must_list:
            await self._list(client, publish)
            self._must_list = False
        elif self.knowledge.age_s > self.config.etcd_timeout:
            # Long enough for etcd to have been restored from a backup, and to have come to this revision again.
            self._list_soon.set()
        # etcd's revision names the last change that is in the table, so the watch begins one after it.
        async with client.watch_prefix(self._zone.prefix, start_revision=self.knowledge.revision + 1) as watch:
            if not self._lineage.goes_on(watch.header):
                raise WentBack
            self._was_reached = True
            self.knowledge.opened(watch.member)
            LOG.info("watch opened", member=watch.member, revision=self.knowledge.revision)
            check = self._check(client, watch)
            failure = await _run_until_one_fails(
                partial(self._take_changes, watch, publish),
                partial(check.run, self._see_raft_term),
                partial(self._list_now_and_then, client, publish),
            )
        client.pass_over(watch.member)
        if check.has_confirmed:
            self._delay_s = 0.0
            self._is_suspect = False
        raise failure

    async def _take_changes(self, watch: Watch, publish: Publish) -> None:
        async for batch in watch:
            await self._zone.take_changes(batch, partial(self._publish_learnt, publish, trio.current_time()))

    def _publish_learnt(self, publish: Publish, learnt_at: float, updates: Iterable[WeightUpdate]) -> None:
        learnt = list(updates)
        if learnt:
            self.knowledge.delays.learnt(learnt[-1].revision, learnt_at)
        publish(learnt)

    def _check(self, client: EtcdClient, watch: Watch) -> WatchCheck:
        timeout_s = self.config.etcd_timeout
        return WatchCheck(
            client,
            watch,
            self._zone,
            self.knowledge,
            self._lineage,
            timeout_s=timeout_s,
            # Another watch has to be there before the timeout.
            patience_s=(0.3 if self._is_suspect else 0.6) * timeout_s,
            # As `make_client` has it; a member alone has no other to make room for, but the timeout to keep.
            answer_timeout_s=timeout_s / (3 if len(self.config.etcd_host) > 1 else 2),
        )

    def _see_raft_term(self, raft_term: int) -> None:
        if raft_term < self._raft_term:
            # A cluster's terms only grow, though a member that has just started may tell too low a one (etcd 3.5).
            self._list_soon.set()
        self._raft_term = raft_term

    async def _list_now_and_then(self, client: EtcdClient, publish: Publish) -> None:
        while True:
            with trio.move_on_at(self._list_at):
                await self._list_soon.wait()
            try:
                with self._zone.listing():
                    await self._list(client, publish)
            except EtcdError as exc:
                # The watch goes on, and is looked after by itself.
                self._list_at = trio.current_time() + _LIST_RETRY_S
                self._list_soon = trio.Event()
                LOG.info("weights not listed again", cause=str(exc), retry_in_s=_LIST_RETRY_S)

    async def _list(self, client: EtcdClient, publish: Publish) -> None:
        asked_at, served = trio.current_time(), self.knowledge.revision
        self.knowledge.delays.forget()
        listed = await client.get_prefix(self._zone.prefix)
        if not self._lineage.goes_on(listed.header, served) and not self._must_list:
            raise WentBack
        self._was_reached = True
        await self._zone.take_list(listed, asked_at, publish)
        self._lineage.begin()
        self._list_at = trio.current_time() + _LIST_EVERY_S * uniform(0.8, 1.2)  # noqa: S311 - no secret
        self._list_soon = trio.Event()

    # What goes wrong

    def _take_failure(self, failure: _Failure) -> float:
        """Note and log why it does not go on; return after how many seconds (> 0) to try again."""
        longest_s = _MAX_DELAY_S
        match failure:
            case WentBack():
                # The log has it already. And etcd is there: however long it was away, this is no time to wait.
                self._must_list = True
                self._delay_s = 0.0
                self.knowledge.lost(str(failure))
                return self._next_delay_s(longest_s)
            case Compacted():
                self._must_list = True
                self.knowledge.lost(str(failure))
                delay_s = self._next_delay_s(longest_s)
                LOG.info("weights to be listed", cause=str(failure), retry_in_s=delay_s)
                return delay_s
            case StreamBehind():
                # A new watch shows what the old one has withheld, unless etcd itself has lost it.
                self._must_list = self._is_suspect
                self._is_suspect = True
            case TlsFailed():
                longest_s = _MAX_REFUSED_DELAY_S
            case Unavailable() | WatchCancelled():
                pass
            case _:
                longest_s = _MAX_REFUSED_DELAY_S
        delay_s = self._next_delay_s(longest_s)
        self.knowledge.lost(str(failure))
        LOG.warning("etcd lost" if self._was_reached else "etcd not reached", cause=str(failure), retry_in_s=delay_s)
        return delay_s

    def _next_delay_s(self, longest_s: float) -> float:
        self._delay_s = min(max(2 * self._delay_s, _FIRST_DELAY_S), longest_s)
        # All nodes lose etcd at the same moment; they shall not come back at the same one.
        return round(self._delay_s * uniform(0.5, 1.0), 3)  # noqa: S311 - no secret


async def _run_until_one_fails(*tasks: Callable[[], Awaitable[None]]) -> _Failure:
    """Run tasks that end by a failure only; return the first one."""
    failures: list[_Failure] = []

    async def run(task: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await task()
        except (EtcdError, StreamBehind, WentBack) as exc:
            failures.append(exc)
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(run, task, nursery.cancel_scope)
    return failures[0]

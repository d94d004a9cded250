"""Is the watch still worth anything? Asked again and again, of the member that sends it, over another connection.

Facts: an open stream that says nothing may be quiet or dead (a frozen proxy, a NAT that forgot it, a gateway that hangs);
etcd's own progress notifications come every ten minutes, and its gateway takes no request for one on an open stream.
Method: a linearizable read of one key shows that the member is there, has a leader and is not behind, and the store's
revision R. Where the stream has reached R, the table is the newest. It need not reach it: the revision counts other
keys too. So if it does not for a while, etcd is asked for the zone's newest put and the number of its keys. No put after
the table's revision and as many keys as the table's: then nothing was put or deleted since, and the table is that of R.
That question costs etcd a look at each key, so it is asked only when the stream alone does not answer it in time.
"""

from __future__ import annotations

from random import uniform
from typing import TYPE_CHECKING, NoReturn

import trio

from golb.trio_etcd import Unavailable
from golb.updaters.lineage import WentBack

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.trio_etcd import EtcdClient, ResponseHeader, Watch
    from golb.updaters.knowledge import Knowledge
    from golb.updaters.lineage import Lineage
    from golb.updaters.zone import Zone

# Of etcd's time, at the most one tenth goes into the dear question.
_REST_FACTOR = 10


class StreamBehind(Exception):
    """The watch does not deliver what etcd has. Open another, elsewhere."""


class WatchCheck:
    """Confirms what a watch has delivered; `run` beside it, for as long as it is open.

    Args:
        client: asks; whoever is asked is the watch's member.
        watch: what is checked.
        zone: what it feeds.
        knowledge: is told what is confirmed; its clock is Trio's.
        lineage: is asked whether the answers go on from earlier ones.
        timeout_s: within so long a watch that is dead is known to be (> 0 s).
        patience_s: for how long a stream may stand still while etcd is ahead of it (> 0 s).
        answer_timeout_s: for how long an answer is waited for (> 0 s).
    """

    def __init__(
        self,
        client: EtcdClient,
        watch: Watch,
        zone: Zone,
        knowledge: Knowledge,
        lineage: Lineage,
        *,
        timeout_s: float,
        patience_s: float,
        answer_timeout_s: float,
    ) -> None:
        self._client = client
        self._watch = watch
        self._zone = zone
        self._knowledge = knowledge
        self._lineage = lineage
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._answer_timeout_s = answer_timeout_s
        self._moved_at = trio.current_time()
        self._moved_to = knowledge.revision
        self._reads: list[tuple[float, int]] = []
        self._next_proof_at = 0.0
        self.has_confirmed = False
        """Whether the watch was as good as etcd once."""
        self._raft_term = 0

    async def run(self, see_raft_term: Callable[[int], None]) -> NoReturn:
        """Confirm, again and again. Ends by an error only, and then the watch is to be left.

        `see_raft_term` is called with the Raft term that each answer names.

        Raises:
            Unavailable: the member does not answer, has no leader, or is behind.
            StreamBehind: etcd has what the stream does not deliver.
            WentBack: etcd's answers do not go on from what is served.
            EtcdError: as for any request.
        """
        while True:
            await self._read()
            see_raft_term(self._raft_term)
            is_behind = await self._prove() if self._is_proof_due() else False
            # A stream that moves is late, and its weights may be stale; another one would be later still.
            stuck_s = trio.current_time() - max(self._knowledge.confirmed_at, self._moved_at)
            if is_behind and stuck_s >= self._patience_s:
                raise StreamBehind(f"{self._watch.member}: the watch does not deliver what etcd has")
            await self._pause()

    async def _pause(self) -> None:
        # All nodes ask, and not all at the same moment.
        until = trio.current_time() + self._timeout_s / 5 * uniform(0.8, 1.0)  # noqa: S311 - no secret
        while self._reads and trio.current_time() < until:
            # The stream is mostly some milliseconds late.
            await trio.sleep(self._timeout_s / 50)
            self._confirm_reads()
        await trio.sleep_until(until)

    async def _read(self) -> None:
        asked_at, served = trio.current_time(), self._knowledge.revision
        with trio.move_on_after(self._answer_timeout_s) as asking:
            # Within the prefix, so that a role for no more than that is enough; there is hardly a key by this name.
            got = await self._client.get(self._zone.prefix, member=self._watch.member)
        if asking.cancelled_caught:
            raise self._silent()
        self._see(got.header, served)
        self._reads.append((asked_at, got.header.revision))
        self._confirm_reads()

    def _confirm_reads(self) -> None:
        if self._knowledge.revision != self._moved_to:
            self._moved_at, self._moved_to = trio.current_time(), self._knowledge.revision
        reached = [asked_at for asked_at, revision in self._reads if revision <= self._knowledge.revision]
        if reached:
            self._reads = [read for read in self._reads if read[1] > self._knowledge.revision]
            self._confirm(max(reached), self._knowledge.revision)

    def _is_proof_due(self) -> bool:
        now = trio.current_time()
        return (
            bool(self._reads)
            and now >= self._next_proof_at
            and now - self._knowledge.confirmed_at > self._timeout_s / 2
        )

    async def _prove(self) -> bool:
        """Ask etcd whether the table is the newest; return whether the stream owes something."""
        asked_at, served = trio.current_time(), self._knowledge.revision
        with trio.move_on_after(self._timeout_s) as asking:
            summary = await self._client.summarize_prefix(self._zone.prefix, member=self._watch.member)
        if asking.cancelled_caught:
            raise self._silent()
        self._see(summary.header, served)
        now = trio.current_time()
        self._next_proof_at = now + _REST_FACTOR * (now - asked_at)
        revision = summary.header.revision
        if self._knowledge.revision >= revision:
            self._confirm(asked_at, self._knowledge.revision)
            return False
        if summary.newest_revision <= self._knowledge.revision and summary.count == self._zone.keys:
            self._confirm(asked_at, revision)
            return False
        self._reads.append((asked_at, revision))
        return True

    def _confirm(self, at: float, revision: int) -> None:
        self.has_confirmed = True
        if at > self._knowledge.confirmed_at:
            self._knowledge.confirm("etcd", self._knowledge.cluster_id, revision, at)
            self._reads = [read for read in self._reads if read[0] > at]

    def _see(self, header: ResponseHeader, served: int) -> None:
        self._raft_term = header.raft_term
        if not self._lineage.goes_on(header, served):
            raise WentBack

    def _silent(self) -> Unavailable:
        return Unavailable(f"{self._watch.member}: no answer within {self._answer_timeout_s:g} s while watching")

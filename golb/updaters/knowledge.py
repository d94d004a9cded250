"""How much is known of the weights at any time: from where, up to which revision, and when that was last sure.

Rule: no I/O. Who follows a source tells it what it has learnt; everybody else only reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import trio
from attrs import Factory, define, field

from golb.updaters.delays import Delays

if TYPE_CHECKING:
    from collections.abc import Callable

Source = Literal["none", "disk", "file", "etcd"]
Connection = Literal["none", "connecting", "open", "lost"]


@define
class Knowledge:
    """What golb knows of the weights that it serves. Times are seconds of `clock`."""

    clock: Callable[[], float] = field(default=trio.current_time, repr=False)
    """Monotonic seconds; Trio's by default, which can be asked within `trio.run` only."""
    source: Source = field(default="none", init=False)
    """Where the weights served are from; `none` until there are any."""
    cluster_id: int = field(default=0, init=False)
    """Of the etcd whose weights they are; 0 while it is not known, or the source has none."""
    revision: int = field(default=0, init=False)
    """Of etcd: the weights served are those at this revision. 0 without a source."""
    confirmed_at: float = field(default=0.0, init=False)
    """When it was last sure that nothing newer was there; without meaning while the source is `none`. It may lie before
    the clock's zero: weights from disk can be older than the machine's uptime."""
    connection: Connection = field(default="none", init=False)
    """Of the source: `none` before the first try and for a source without one, `open` while its changes are followed."""
    member: str = field(default="", init=False)
    """The URL of the member of etcd that is followed; empty while none is."""
    cause: str = field(default="", init=False)
    """Why the last try to follow the source failed; empty while it is followed."""
    connects: int = field(default=0, init=False)
    """How often the source has begun to be followed."""
    losses: int = field(default=0, init=False)
    """How often it was followed, and then no more; tries that failed before do not count."""
    delays: Delays = field(default=Factory(lambda self: Delays(self.clock), takes_self=True), init=False, repr=False)
    """How long changes took to come into force."""

    @property
    def age_s(self) -> float:
        """For how long (>= 0 s) it has not been sure that the weights are the newest; infinite without a source."""
        return float("inf") if self.source == "none" else max(self.clock() - self.confirmed_at, 0.0)

    def take_from_disk(self, cluster_id: int, revision: int, age_s: float) -> None:
        """Take note that the weights served are saved ones, which were last sure `age_s` (>= 0 s) ago."""
        self.source, self.cluster_id, self.revision = "disk", cluster_id, revision
        self.confirmed_at = self.clock() - age_s

    def confirm(self, source: Source, cluster_id: int, revision: int, at: float) -> None:
        """Take note that the weights served were those of `source` at the time `at` (seconds of the clock), which was at `revision`."""
        self.source, self.cluster_id, self.revision = source, cluster_id, revision
        self.confirmed_at = at

    def advance(self, revision: int) -> None:
        """Take note that changes up to `revision` are served; whether there are newer ones, this does not say."""
        self.revision = revision

    def connecting(self) -> None:
        """Take note that the source is being tried."""
        self.connection, self.member = "connecting", ""

    def opened(self, member: str) -> None:
        """Take note that changes are followed, at this member."""
        self.connection, self.member, self.cause = "open", member, ""
        self.connects += 1

    def lost(self, cause: str) -> None:
        """Take note that changes are not followed, and why."""
        self.losses += self.connection == "open"
        self.connection, self.member, self.cause = "lost", "", cause

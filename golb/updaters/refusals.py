"""What of a source was refused: told in the log now and then, counted always, known by key while it lasts.

Rule: whoever puts bad values, however many and however often, gets bounded work, bounded memory and bounded lines of log.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from golb.weights import Fault

LOG = structlog.get_logger()

QUIET_S = 60.0
"""A key's refusals of one kind are told once in this time."""
MAX_KEPT = 1000
"""Refusals that are known by their key; those beyond are counted."""
# Of log, in QUIET_S, for all keys together and each kind: a flood of one kind leaves the others theirs.
_MAX_LINES = 50
_MAX_NAME = 200  # characters
_MAX_REASON = 300  # characters


@frozen
class Refusal:
    """A key whose newest value is refused."""

    name: str
    """The function, or the whole key where it names none; cut short where it is long."""
    fault: Fault
    reason: str
    """At most some 300 characters."""
    revision: int
    """Of the refused put."""


@define
class _Kept:
    refusal: Refusal
    value_hash: int | None
    round: int
    """The newest one in which it was refused."""


@define
class _Told:
    at_s: float
    untold: int = 0


class Refusals:
    """All that was refused, and what is refused now.

    Args:
        clock: tells monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._round = 0
        self._counts: dict[Fault, int] = {}
        self._told: dict[tuple[str, Fault], _Told] = {}
        self._window_began_s = clock()
        self._lines: dict[Fault, int] = {}
        self._untold = 0
        self.changes = 0
        """Grows whenever what is refused now has changed."""
        self.on_refusal: Callable[[Refusal], object] | None = None
        """Told of each refused put; must neither wait nor raise."""

    def __len__(self) -> int:
        """Return for how many keys a refusal is in force and known; `MAX_KEPT` at most."""
        return len(self._kept)

    def __iter__(self) -> Iterator[Refusal]:
        """Yield the refusals in force, as far as they are known, oldest key first."""
        return (kept.refusal for kept in self._kept.values())

    def __contains__(self, name: str) -> bool:
        return _short(name) in self._kept

    @property
    def counts(self) -> Mapping[Fault, int]:
        """How many puts were refused, by what was wrong with them; one that is only listed again is not counted again."""
        return self._counts

    @property
    def total(self) -> int:
        """How many puts were refused."""
        return sum(self._counts.values())

    def add(
        self, name: str, fault: Fault, reason: str, revision: int, *, value_hash: int | None = None, kept: bool
    ) -> None:
        """Take note of a refused put, and log it unless that was done a short while ago.

        Args:
            name: the function, or the key.
            fault: what is wrong, in a word.
            reason: what is wrong.
            revision: of the put; together with the hash it tells one that is only listed again.
            value_hash: of the value; None where the key is what is wrong.
            kept: whether the function's last good weights stay in force.
        """
        name = _short(name)
        known = self._kept.get(name)
        if known is not None:
            known.round = self._round
            if known.refusal.revision == revision and known.value_hash == value_hash:
                return
        if len(reason) > _MAX_REASON:
            reason = f"{reason[:_MAX_REASON]}..."
        refusal = Refusal(name, fault, reason, revision)
        self._counts[fault] = self._counts.get(fault, 0) + 1
        if known is not None:
            known.refusal, known.value_hash = refusal, value_hash
            self.changes += 1
        elif len(self._kept) < MAX_KEPT:
            # The first ones stay: of two thousand, each list would otherwise find those gone that come next in it.
            self._kept[name] = _Kept(refusal, value_hash, self._round)
            self.changes += 1
        self._tell(refusal, kept=kept)
        if self.on_refusal is not None:
            self.on_refusal(refusal)

    def repeat(self, name: str, value_hash: int, revision: int, *, kept: bool) -> bool:
        """Take note of a put if it brings the very value that is refused now, so that it need not be checked again.

        Returns:
            Whether it does.
        """
        known = self._kept.get(_short(name)) if self._kept else None
        if known is None or known.value_hash != value_hash:
            return False
        self.add(name, known.refusal.fault, known.refusal.reason, revision, value_hash=value_hash, kept=kept)
        return True

    def remove(self, name: str) -> None:
        """Forget a key's refusal: a good value, or none, has taken the place of the bad one."""
        if self._kept and self._kept.pop(_short(name), None) is not None:
            self.changes += 1

    def end_round(self, functions: Collection[str]) -> None:
        """Forget what a whole list of the source did not bring again.

        Keys that name no function are refused before their list is taken over; of those, what has come since the list
        before this one is kept, so that one whose delete was missed lasts a list longer.
        """
        gone = [
            name
            for name, kept in self._kept.items()
            if kept.round < self._round
            or (kept.value_hash is not None and len(name) <= _MAX_NAME and name not in functions)
        ]
        for name in gone:
            del self._kept[name]
        self.changes += bool(gone)
        self._round += 1

    def _tell(self, refusal: Refusal, *, kept: bool) -> None:
        now_s = self._clock()
        if now_s - self._window_began_s >= QUIET_S:
            self._begin_window(now_s)
        # By what is wrong and not by the text, which may be another one for each value.
        told = self._told.get((refusal.name, refusal.fault))
        if told is not None and now_s - told.at_s < QUIET_S:
            told.untold += 1
            return
        lines = self._lines.get(refusal.fault, 0)
        if lines == _MAX_LINES:
            self._untold += 1
            return
        self._lines[refusal.fault] = lines + 1
        times = 1 + (told.untold if told is not None else 0)
        self._told[refusal.name, refusal.fault] = _Told(now_s)
        LOG.warning(
            "refused",
            name=refusal.name,
            reason=refusal.reason,
            revision=refusal.revision,
            kept=kept,
            **({"times": times} if times > 1 else {}),
        )

    def _begin_window(self, now_s: float) -> None:
        if self._untold:
            LOG.warning("more refused", times=self._untold, within_s=round(now_s - self._window_began_s))
        self._untold = 0
        self._window_began_s = now_s
        self._lines.clear()
        # A count that is still to be told waits a whole time longer, then it goes: at most two windows' lines are known.
        self._told = {key: told for key, told in self._told.items() if now_s - told.at_s < 2 * QUIET_S}


def _short(name: str) -> str:
    if len(name) <= _MAX_NAME:
        return name
    # Two long keys with the same beginning are still two.
    return f"{name[:_MAX_NAME]}... and {len(name) - _MAX_NAME} more ({hash(name) & 0xFFFFFFFF:08x})"

"""What a source of weights has said so far: the last good weights of each function, and what changes them."""

from __future__ import annotations

import gc
import time
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from golb.limits import NO_LIMITS
from golb.line_budget import LineBudget
from golb.networks import ANYWHERE
from golb.updaters.refusals import Refusals
from golb.weights import Fault, Refused, Weights, WeightUpdate, parse_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from golb.networks import TargetNetworks

LOG = structlog.get_logger()

_LOGGED_CHANGES = 20
# A line takes as long as the change does, and where a thousand weights change in a second nobody reads them one by one.
_LINES_A_SECOND = 10
# So many equal values are passed over in the time that one changed value takes.
_EQUALS = 50

Row = tuple[str, bytes, int]
"""A function, its value, and the revision of the put that has brought its weights."""


class Table:
    """Turns the values of a source into updates. A bad value is refused with its reason, and changes nothing.

    Args:
        clock: tells monotonic seconds.
        targets: where endpoints may lie.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, targets: TargetNetworks = ANYWHERE) -> None:
        self._clock = clock
        self._targets = targets
        # The update is also the broadcaster's, so the table itself holds little more than the values.
        self._known: dict[str, tuple[bytes, WeightUpdate]] = {}
        self._lines = LineBudget(
            clock, lambda times: LOG.info("more weights changed", times=times), lines_a_second=_LINES_A_SECOND
        )
        self.is_filled = False
        """Whether the whole of the source has been taken once."""
        self.is_whole = True
        """Whether the table is as the source was at one revision; false while a list is being taken in steps."""
        self.refused = Refusals(clock)
        self.revision = 0
        """The newest of the source's that a function's key had, whether or not it has changed anything; then, a list's."""
        self.changes = 0
        """Grows whenever a value has changed, come or gone."""

    def __len__(self) -> int:
        return len(self._known)

    def put(self, function: str, value: bytes, revision: int) -> WeightUpdate | None:
        """Take a function's value; None if it changes nothing."""
        self.revision = revision
        return self._put(function, value, revision)

    def delete(self, function: str, revision: int) -> WeightUpdate | None:
        """Forget a function; None if it was not known."""
        self.revision = revision
        return self._delete(function, revision)

    def replace(self, values: Mapping[str, tuple[bytes, int]], revision: int) -> list[WeightUpdate]:
        """Take the whole of the source at one revision: for each function its value and the revision of that.

        Returns:
            What differs from before, functions that are gone included.
        """
        return [update for updates in self.replace_in_steps(values, revision) for update in updates]

    def replace_in_steps(
        self, values: Mapping[str, tuple[bytes, int]], revision: int, changes_at_once: int = 100
    ) -> Iterator[list[WeightUpdate]]:
        """Do what `replace` does, and yield what differs in parts, so that others may run in between.

        Each part is to be published before the next one is asked for. Where the iteration is not carried to its end,
        the table is what was yielded, and the next list makes up for the rest.
        """
        self.is_whole = False
        updates = []
        room = changes_at_once * _EQUALS
        for function in self._known.keys() - values.keys():
            updates.append(self._delete(function, revision))
            room -= _EQUALS
            if room <= 0:
                yield _changed(updates)
                updates, room = [], changes_at_once * _EQUALS
        for function, (value, put_revision) in values.items():
            known = self._known.get(function)
            room -= 1 if known is not None and known[0] == value else _EQUALS
            updates.append(self._put(function, value, put_revision))
            if room <= 0:
                if not self.is_filled:
                    # The first table stays. Python would go through it again and again while it grows, to find cycles.
                    gc.freeze()
                yield _changed(updates)
                updates, room = [], changes_at_once * _EQUALS
        self.refused.end_round(values.keys())
        self.revision = revision
        self.is_filled = self.is_whole = True
        yield _changed(updates)

    def restore(self, rows: Iterable[Row], revision: int) -> Iterator[list[WeightUpdate]]:
        """Take a table that was saved; it is checked as the source's values are, and stands until the source is listed.

        Yields:
            Its updates, in parts, as `replace_in_steps` does.
        """
        yield from self.replace_in_steps({function: (value, put) for function, value, put in rows}, revision)

    def rows(self) -> Iterator[Row]:
        """Return the table as it is now, to be iterated over later: what changes meanwhile does not show."""
        known = self._known.copy()
        return ((function, value, update.revision) for function, (value, update) in known.items())

    def refuse(self, name: str, reason: str, revision: int, fault: Fault = Fault.KEY) -> None:
        """Take note of a key that names no function, and log it unless it was logged a short while ago."""
        # The revision stays: a list's bad keys are refused before its values are taken.
        self.refused.add(name, fault, reason, revision, kept=False)

    def forget(self, name: str) -> None:
        """Take note that a key which names no function, and so was refused, is gone."""
        self.refused.remove(name)

    def _put(self, function: str, value: bytes, revision: int) -> WeightUpdate | None:
        known = self._known.get(function)
        if known is not None and known[0] == value:
            self.refused.remove(function)
            return None
        value_hash = hash(value)
        if self.refused.repeat(function, value_hash, revision, kept=known is not None):
            return None
        try:
            weights = parse_weights(value, self._targets)
        except Refused as exc:
            self.refused.add(function, exc.fault, str(exc), revision, value_hash=value_hash, kept=known is not None)
            return None
        self.refused.remove(function)
        self.changes += 1
        before = known[1].weights if known is not None else None
        if known is not None and weights == before:
            self._known[function] = value, known[1]  # another way to write the same weights
            return None
        update = WeightUpdate(function, weights, revision)
        self._known[function] = value, update
        if self._lines.take(is_missed=self.is_filled):
            # The first table is one line of its reader's.
            log = LOG.info if self.is_filled else LOG.debug
            log("weights changed", function=function, revision=revision, changes=describe_change(before, weights))
        return update

    def _delete(self, function: str, revision: int) -> WeightUpdate | None:
        self.refused.remove(function)
        if self._known.pop(function, None) is None:
            return None
        self.changes += 1
        if self._lines.take():
            LOG.info("function removed", function=function, revision=revision)
        return WeightUpdate(function, None, revision)


def _changed(updates: Iterable[WeightUpdate | None]) -> list[WeightUpdate]:
    return [update for update in updates if update is not None]


def describe_change(before: Weights | None, after: Weights) -> str:
    """Say in one line how the weights differ: what came, what went, and what has another weight."""
    old = before.by_endpoint if before else {}
    new = after.by_endpoint
    came = (f"+{endpoint}={weight:g}" for endpoint, weight in new.items() if endpoint not in old)
    went = (f"-{endpoint}" for endpoint in old if endpoint not in new)
    other = (
        f"{endpoint}={old[endpoint]:g}->{weight:g}"
        for endpoint, weight in new.items()
        if endpoint in old and old[endpoint] != weight
    )
    changes = [*came, *went, *other]
    if (before.limits if before else NO_LIMITS) != after.limits:
        changes.append(str(after.limits))
    if not changes:
        return "none: no endpoint"
    more = len(changes) - _LOGGED_CHANGES
    return " ".join(islice(changes, _LOGGED_CHANGES)) + (f" and {more} more" if more > 0 else "")

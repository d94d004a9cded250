"""What a source of weights has said so far: the last good weights of each function, and what changes them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import structlog
from attrs import define

from golb.errors import WeightsError
from golb.weights import Weights, WeightUpdate, parse_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = structlog.get_logger()

_LOGGED_CHANGES = 20


@define
class _Known:
    value: bytes
    weights: Weights


class Table:
    """Turns the values of a source into updates. A bad value is refused with its reason, and changes nothing."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._is_filled = False
        self.refused = 0
        """How many values and keys were refused."""

    def __len__(self) -> int:
        return len(self._known)

    def put(self, function: str, value: bytes, revision: int) -> WeightUpdate | None:
        """Take a function's value; None if it changes nothing."""
        known = self._known.get(function)
        if known is not None and known.value == value:
            return None
        try:
            weights = parse_weights(value)
        except WeightsError as exc:
            self.refuse(function, str(exc), revision)
            return None
        before = known.weights if known else None
        self._known[function] = _Known(value, weights)
        if weights == before:
            return None
        # The first table is one line of its reader's: a hundred thousand functions would be as many lines.
        log = LOG.info if self._is_filled else LOG.debug
        log("weights changed", function=function, revision=revision, changes=describe_change(before, weights))
        return WeightUpdate(function, weights, revision)

    def delete(self, function: str, revision: int) -> WeightUpdate | None:
        """Forget a function; None if it was not known."""
        if self._known.pop(function, None) is None:
            return None
        LOG.info("function removed", function=function, revision=revision)
        return WeightUpdate(function, None, revision)

    def replace(self, values: Mapping[str, tuple[bytes, int]], revision: int) -> list[WeightUpdate]:
        """Take the whole of the source at one revision: for each function its value and the revision of that.

        Returns:
            What differs from before, functions that are gone included.
        """
        gone = [self.delete(function, revision) for function in self._known.keys() - values.keys()]
        changed = [self.put(function, *value) for function, value in values.items()]
        self._is_filled = True
        return [update for update in (*gone, *changed) if update is not None]

    def refuse(self, name: str, reason: str, revision: int) -> None:
        """Count and log what is not taken."""
        self.refused += 1
        LOG.warning("refused", name=name, reason=reason, revision=revision, kept=name in self._known)


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
    if not changes:
        return "none: no endpoint"
    more = len(changes) - _LOGGED_CHANGES
    return " ".join(islice(changes, _LOGGED_CHANGES)) + (f" and {more} more" if more > 0 else "")

"""How weights, entries and changes are shown: as rows of tables, and as the objects of `--json`. No I/O.

Rule: the objects are what scripts rely on. Members may be added; none is taken away, renamed or given another type.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from golb.commands.output import Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from golb.commands.entries import Change, Entry
    from golb.limits import Limits
    from golb.weights import Endpoint, Refused, Weights

TARGET_COLUMNS = (Column("TARGET", style="cyan"), Column("WEIGHT", is_number=True), Column("SHARE", is_number=True))
FUNCTION_COLUMN = Column("FUNCTION", style="bold")
REVISION_COLUMN = Column("REVISION", is_number=True)
CHANGE_COLUMNS = (
    FUNCTION_COLUMN,
    Column("ACTION"),
    Column("TARGET", style="cyan"),
    Column("WEIGHT", is_number=True),
    Column("SHARE", is_number=True),
)


def share(weight: float, total: float) -> float:
    """Return a weight's part of all, from 0 to 1; 0 where there is nothing to share."""
    return weight / total if total else 0.0


def percent(part: float) -> str:
    """Write a part of 1, `12.5 %`."""
    return f"{100 * part:.1f} %"


def total(weights: Weights | None) -> float:
    """Return the sum of all weights."""
    return sum(weights.by_endpoint.values()) if weights else 0


def target_rows(weights: Weights) -> list[tuple[str, str, str]]:
    """Return a row of `TARGET_COLUMNS` for each target, as golb understands them."""
    all_of_it = total(weights)
    return [
        (str(endpoint), str(weight), percent(share(weight, all_of_it)))
        for endpoint, weight in weights.by_endpoint.items()
    ]


def limits_text(limits: Limits) -> str:
    """Write the limits that are set, as the value has them; empty if none is."""
    members = limits_object(limits)
    return " ".join(f"{name}={limit:g}" for name, limit in members.items() if limit is not None)


def weights_text(weights: Weights | None) -> str:
    """Write all weights on one line."""
    if weights is None:
        return "refused"
    return ", ".join(f"{target}={weight} ({part})" for target, weight, part in target_rows(weights)) or "no target"


def changes_text(before: Weights | None, after: Weights | None) -> str:
    """Write what differs between two, on one line: `10.42.0.5:8080 3->1`."""
    if before is None or after is None:
        return weights_text(after)
    said = [_step(endpoint, before, after) for endpoint in {**before.by_endpoint, **after.by_endpoint}]
    if before.limits != after.limits:
        said.append(limits_text(after.limits) or "no limits")
    return ", ".join(filter(None, said)) or "equal weights"


def change_rows(change: Change) -> list[tuple[str, str, str, str, str]]:
    """Return a row of `CHANGE_COLUMNS` for each target whose weight or share is another one, and for limits."""
    before = change.before.weights if change.before else None
    after = change.weights
    all_before, all_after = total(before), total(after)
    olds: Mapping[Endpoint, float] = before.by_endpoint if before else {}
    news: Mapping[Endpoint, float] = after.by_endpoint if after else {}
    rows: list[tuple[str, str, str, str, str]] = []
    for endpoint in {**olds, **news}:
        weight = _arrow(_weight(olds.get(endpoint)), _weight(news.get(endpoint)))
        part = _arrow(_part(olds.get(endpoint), all_before), _part(news.get(endpoint), all_after))
        if "->" in weight + part or change.action == "unchanged":
            rows.append((change.function, change.action, str(endpoint), weight, part))
    if before is not None and after is not None and before.limits != after.limits:
        limits = _arrow(limits_text(before.limits), limits_text(after.limits))
        rows.append((change.function, change.action, f"limits: {limits}", "", ""))
    return rows or [(change.function, change.action, "", "", "")]


def target_objects(weights: Weights) -> list[dict[str, Any]]:
    """Return an object for each target."""
    all_of_it = total(weights)
    return [
        {"target": str(endpoint), "weight": weight, "share": share(weight, all_of_it)}
        for endpoint, weight in weights.by_endpoint.items()
    ]


def limits_object(limits: Limits) -> dict[str, float | None]:
    """Return the limits, by the names of the value's members; None: as the configuration has it."""
    timeout = limits.timeout_s
    whole = timeout is not None and math.floor(timeout) == timeout
    return {
        "max_inflight": limits.max_inflight,
        "queue": limits.queue,
        "timeout": int(timeout) if whole and timeout is not None else timeout,
    }


def refused_object(refused: Refused | None) -> dict[str, str] | None:
    """Return why golb refuses a value; None if it does not."""
    return None if refused is None else {"fault": refused.fault.value, "reason": str(refused)}


def entry_object(entry: Entry) -> dict[str, Any]:
    """Return the object of a function as it stands."""
    return {
        "function": entry.function,
        "key": entry.key,
        "revision": entry.revision,
        "created_revision": entry.created_revision,
        "version": entry.version,
        "targets": _targets(entry.weights),
        "limits": None if entry.weights is None else limits_object(entry.weights.limits),
        "refused": refused_object(entry.refused),
        "value": entry.value_text,
    }


def change_object(change: Change, revision: int | None) -> dict[str, Any]:
    """Return the object of a change; its revision is None where nothing is or was written."""
    return {
        "function": change.function,
        "action": change.action,
        "revision": revision,
        "before": _targets(change.before.weights) if change.before else None,
        "after": _targets(change.weights),
    }


def changes_object(
    zone: str, changes: Sequence[Change], made: Mapping[str, int], *, transactions: int
) -> dict[str, Any]:
    """Return the object of what a command has changed, or would."""
    return {
        "zone": zone,
        "transactions": transactions,
        "changes": [change_object(change, made.get(change.function)) for change in changes],
    }


def _targets(weights: Weights | None) -> list[dict[str, Any]] | None:
    return None if weights is None else target_objects(weights)


def _step(endpoint: Endpoint, before: Weights, after: Weights) -> str:
    old, new = before.by_endpoint.get(endpoint), after.by_endpoint.get(endpoint)
    return "" if old == new else f"{endpoint} {_arrow(_weight(old), _weight(new))}"


def _arrow(old: str, new: str) -> str:
    return new if old == new else f"{old or 'none'} -> {new or 'none'}"


def _weight(weight: float | None) -> str:
    return "" if weight is None else str(weight)


def _part(weight: float | None, all_of_it: float) -> str:
    return "" if weight is None else percent(share(weight, all_of_it))

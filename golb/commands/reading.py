"""Commands that look: get, list, history, simulate."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import click

from golb.commands.errors import EXIT_OK, EXIT_REFUSED, NotFound, UsageFailed, ValueRefused
from golb.commands.options import command, complete_functions, typed_weight
from golb.commands.output import Column
from golb.commands.values import Value
from golb.commands.views import (
    FUNCTION_COLUMN,
    REVISION_COLUMN,
    TARGET_COLUMNS,
    changes_text,
    entry_object,
    limits_text,
    percent,
    share,
    target_objects,
    target_rows,
    total,
    weights_text,
)
from golb.errors import WeightsError
from golb.schedule import Schedule
from golb.trio_etcd import Compacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golb.commands.entries import Entry
    from golb.commands.options import Weighted
    from golb.commands.session import Session
    from golb.commands.store import Past, Store
    from golb.weights import Endpoint, Weights

# etcd's type for it is int64.
_MAX_REVISION = (1 << 63) - 1
_ENDS = {
    "created": "the key was made at revision {}",
    "compacted": "etcd has compacted what was before revision {}",
    "limit": "older ones than revision {}: ask for more with -n",
}
_SIMULATED_COLUMNS = (*TARGET_COLUMNS, Column("PICKS", is_number=True), Column("OF ALL", is_number=True))


@click.command()
@click.argument("function", shell_complete=complete_functions)
@command()
def get(session: Session, function: str) -> int:
    """Show a function's targets, with their shares.

    Exits with 1 if there is no such function, or golb refuses its value.
    """
    entry = session.run(lambda store: store.get(function))
    session.output.json({"zone": session.config.zone, **entry_object(entry)})
    if entry.weights is None:
        session.output.line(f"golb refuses the value of {function}, revision {entry.revision}: {entry.refused}")
        return EXIT_REFUSED
    session.output.table(TARGET_COLUMNS, target_rows(entry.weights), f"{function} at revision {entry.revision}")
    if limits := limits_text(entry.weights.limits):
        session.output.line(f"limits: {limits}")
    if not total(entry.weights):
        session.output.note(f"{function} has no target with a positive weight: golb answers 503")
    return EXIT_OK


@click.command(name="list")
@command()
def list_(session: Session) -> int:
    """Show all functions of the zone."""
    listing = session.run(lambda store: store.list())
    zone = session.config.zone
    functions = [entry_object(entry) for entry in listing.entries]
    session.output.json({"zone": zone, "revision": listing.revision, "functions": functions})
    columns = (FUNCTION_COLUMN, *TARGET_COLUMNS, REVISION_COLUMN, Column("LIMITS"))
    rows = [row for entry in listing.entries for row in _list_rows(entry)]
    session.output.table(columns, rows, f"zone {zone} at revision {listing.revision}")
    if not listing.entries:
        session.output.note(f"zone {zone} has no function")
    return EXIT_OK


@click.command()
@click.argument("function", shell_complete=complete_functions)
@click.option("-n", "most", type=click.IntRange(min=1), default=20, show_default=True, help="How many, at most.")
@click.option(
    "--at",
    "revision",
    type=click.IntRange(1, _MAX_REVISION),
    help="Begin at this revision: of a deleted function, say.",
)
@command()
def history(session: Session, function: str, most: int, revision: int | None) -> int:
    """Show what a function was, the newest first.

    etcd keeps each put until it is compacted, but not when it was made. One read for each put shown.
    """
    past = session.run(lambda store: _read_past(store, function, most, revision))
    oldest = past.entries[-1].revision
    session.output.json(
        {
            "zone": session.config.zone,
            "function": function,
            "entries": [entry_object(entry) for entry in past.entries],
            "ends": {"because": past.ends, "revision": oldest},
        }
    )
    changes = [changes_text(before.weights, entry.weights) for entry, before in pairwise(past.entries)]
    changes.append("made" if past.ends == "created" else "")
    rows = [
        (str(entry.revision), str(entry.version), change, weights_text(entry.weights))
        for entry, change in zip(past.entries, changes, strict=True)
    ]
    columns = (REVISION_COLUMN, Column("PUT", is_number=True), Column("CHANGE"), Column("WEIGHTS"))
    session.output.table(columns, rows, function)
    session.output.line(_ENDS[past.ends].format(oldest))
    return EXIT_OK


@click.command()
@click.argument("function", required=False, shell_complete=complete_functions)
@click.option(
    "--weights", "weighted", metavar="TARGET=WEIGHT", type=typed_weight, multiple=True, help="Once for each target."
)
@click.option("-n", "picks", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="How many picks.")
@click.option("--seed", type=int, default=0, show_default=True, help="Where in the cycle to begin.")
@command(offline_with="weighted")
def simulate(session: Session, function: str | None, weighted: Sequence[Weighted], picks: int, seed: int) -> int:
    """Show the first picks that golb would make.

    Of a function, or of weights that are typed.

    Each golb begins somewhere else in the cycle, at random; here --seed says where.
    """
    if (function is None) == (not weighted):
        raise UsageFailed("name a function, or weights by --weights; one of both")
    weights = _typed(weighted, session) if function is None else _of(session.run(lambda store: store.get(function)))
    schedule = Schedule(weights.by_endpoint, random=Random(seed))  # noqa: S311 - a phase is no secret
    if not schedule:
        raise NotFound("there is no target with a positive weight: golb answers 503")
    picked = [schedule.next() for _ in range(picks)]
    counts = Counter(picked)
    session.output.json(
        {
            "function": function,
            "seed": seed,
            "picks": [str(endpoint) for endpoint in picked],
            "targets": [
                {**target, "picks": counts[endpoint]}
                for endpoint, target in zip(weights.by_endpoint, target_objects(weights), strict=True)
            ],
        }
    )
    session.output.table(_SIMULATED_COLUMNS, _simulated_rows(weights, counts, picks))
    session.output.line("\n".join(["", *(f"{number} {endpoint}" for number, endpoint in enumerate(picked, 1))]))
    return EXIT_OK


def _list_rows(entry: Entry) -> list[tuple[str, str, str, str, str, str]]:
    name = entry.function or entry.key
    revision = str(entry.revision)
    if entry.weights is None:
        return [(name, f"refused: {entry.refused}", "", "", revision, "")]
    limits = limits_text(entry.weights.limits)
    return [(name, *row, revision, limits) for row in target_rows(entry.weights) or [("no target", "", "")]]


async def _read_past(store: Store, function: str, most: int, revision: int | None) -> Past:
    try:
        entry = await store.find(function, revision)
    except Compacted as exc:
        raise NotFound(f"{exc}") from exc
    if entry is None:
        when = "now; --at REVISION looks further back" if revision is None else f"at revision {revision}"
        raise NotFound(f"zone {store.zone} has no function {function} {when}")
    return await store.past(entry, most)


def _typed(weighted: Sequence[Weighted], session: Session) -> Weights:
    value = Value.make()
    for each in weighted:
        value.put(each.target, each.weight)
    try:
        return value.checked(session.config.target_networks)[1]
    except WeightsError as exc:
        raise ValueRefused(str(exc)) from None


def _of(entry: Entry) -> Weights:
    if entry.weights is None:
        raise ValueRefused(f"golb refuses the value of {entry.function}, revision {entry.revision}: {entry.refused}")
    return entry.weights


def _simulated_rows(weights: Weights, counts: Counter[Endpoint], picks: int) -> list[tuple[str, ...]]:
    all_of_it = total(weights)
    return [
        (
            str(endpoint),
            str(weight),
            percent(share(weight, all_of_it)),
            str(counts[endpoint]),
            percent(counts[endpoint] / picks),
        )
        for endpoint, weight in weights.by_endpoint.items()
    ]

"""Commands that change weights at once: set, drain, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from golb.commands.entries import Change, checked_change
from golb.commands.errors import EXIT_OK, EXIT_REFUSED, NotFound, UsageFailed, ValueRefused
from golb.commands.options import (
    command,
    complete_functions,
    complete_targets,
    complete_weights,
    typed_limit,
    typed_target,
    typed_weight,
)
from golb.commands.store import MAX_OPS, batches
from golb.commands.values import Value
from golb.commands.views import CHANGE_COLUMNS, change_rows, changes_object, total
from golb.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from golb.commands.entries import Entry
    from golb.commands.options import Limit, Weighted
    from golb.commands.session import Session
    from golb.commands.store import Store
    from golb.commands.values import Target
    from golb.networks import TargetNetworks


@click.command(name="set")
@click.argument("function", shell_complete=complete_functions)
@click.argument("weighted", type=typed_weight, nargs=-1, metavar="[TARGET=WEIGHT]...", shell_complete=complete_weights)
@click.option("--replace", is_flag=True, help="Take out all targets that are not named.")
@click.option(
    "--max-inflight", metavar="N", type=typed_limit, help="Requests under way at once; default: as configured for all."
)
@click.option("--queue", metavar="N", type=typed_limit, help="Requests that wait for a place at once, or default.")
@click.option(
    "--timeout", metavar="SECONDS", type=typed_limit, help="How long each of them may wait, in seconds, or default."
)
@command()
def set_(
    session: Session, function: str, weighted: tuple[Weighted, ...], *, replace: bool, **limits: Limit | None
) -> int:
    """Set weights of a function, and its limits.

    The function is made if it is not there. Targets that are not named keep their weights, unless --replace is given. A new target comes last.
    """
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not (weighted or given or replace):
        raise UsageFailed("nothing to set: name a TARGET=WEIGHT or a limit")
    if len({each.target.endpoint for each in weighted}) < len(weighted):
        raise UsageFailed("a target is named twice")

    async def change(store: Store) -> tuple[list[Change], dict[str, int]]:
        before = await store.find(function)
        if before is None and not weighted:
            raise NotFound(f"zone {store.zone} has no function {function}; it is made by naming a TARGET=WEIGHT")
        value = _editable(before, may_begin_anew=replace)
        for each in weighted:
            value.put(each.target, each.weight)
        if replace:
            value.keep_only([each.target.endpoint for each in weighted])
        for name, limit in given.items():
            value.limit(name, limit.number)
        changes = [checked_change(function, before, value, store.networks)]
        return changes, await store.commit(changes)

    changes, made = session.run(change)
    report(session, changes, made)
    return EXIT_OK


@click.command()
@click.argument("target", type=typed_target, shell_complete=complete_targets)
@command()
def drain(session: Session, target: Target) -> int:
    """Give a target weight 0 in every function.

    In every one of the zone. A target without a port is that host's port 80, as everywhere in golb.
    """

    async def change(store: Store) -> tuple[list[Change], list[str], dict[str, int]]:
        changes, stuck = _drains((await store.list()).by_function(), target, store.networks)
        return changes, stuck, await commit(session, store, changes)

    changes, stuck, made = session.run(change)
    report(session, changes, made)
    for line in stuck:
        session.output.note(line)
    return EXIT_REFUSED if stuck else EXIT_OK


@click.command()
@click.argument("functions", nargs=-1, required=True, metavar="FUNCTION...", shell_complete=complete_functions)
@command()
def delete(session: Session, functions: tuple[str, ...]) -> int:
    """Delete functions.

    golb answers 404 from then on, and what is under way finishes. If one of them is not there, none is deleted.
    """

    async def change(store: Store) -> tuple[list[Change], dict[str, int]]:
        names = list(dict.fromkeys(functions))
        entries = {name: await store.find(name) for name in names}
        missing = [name for name, entry in entries.items() if entry is None]
        if missing:
            raise NotFound(f"zone {store.zone} has no function {', '.join(missing)}; nothing was deleted")
        changes = [Change(name, entry, None, None) for name, entry in entries.items()]
        return changes, await commit(session, store, changes)

    changes, made = session.run(change)
    report(session, changes, made)
    return EXIT_OK


async def commit(session: Session, store: Store, changes: Sequence[Change]) -> dict[str, int]:
    """Make changes as `Store.commit` does, and say before if that takes more than one transaction."""
    parts = batches(changes)
    if len(parts) > 1:
        session.output.note(
            f"{sum(map(len, parts))} changes go in {len(parts)} transactions, of {MAX_OPS} changes and 1 MiB at most: "
            "each is made whole or not at all, but not all of them together"
        )
    return await store.commit(changes)


def report(session: Session, changes: Sequence[Change], made: Mapping[str, int]) -> None:
    """Say what was changed, and which functions are left without a target to pick."""
    zone = session.config.zone
    session.output.json(changes_object(zone, changes, made, transactions=len(batches(changes))))
    session.output.table(CHANGE_COLUMNS, [row for change in changes for row in change_rows(change)])
    for change in changes:
        if change.after is not None and not total(change.weights):
            session.output.note(f"{change.function} has no target with a positive weight: golb answers 503")


def _drains(entries: Mapping[str, Entry], target: Target, networks: TargetNetworks) -> tuple[list[Change], list[str]]:
    """Return a change for each function that has the target, and a line for each that cannot be changed.

    Raises:
        NotFound: no function has it.
    """
    changes, stuck = [], []
    other_ports: dict[str, None] = {}
    for function, entry in entries.items():
        try:
            value = Value.parse(entry.value)
        except WeightsError:
            stuck.append(_stuck(function, entry))
            continue
        endpoints = value.endpoints()
        if target.endpoint in endpoints:
            value.drain(target.endpoint)
            try:
                changes.append(checked_change(function, entry, value, networks))
            except ValueRefused:
                stuck.append(_stuck(function, entry))
        else:
            other_ports |= {str(each): None for each in endpoints if each.host == target.endpoint.host}
    if not changes and not stuck:
        hint = f"; they have {', '.join(other_ports)}" if other_ports else ""
        raise NotFound(f"no function of the zone has the target {target.endpoint}{hint}")
    return changes, stuck


def _stuck(function: str, entry: Entry) -> str:
    return f"not drained: golb refuses the value of {function}, revision {entry.revision}: {entry.refused}"


def _editable(entry: Entry | None, *, may_begin_anew: bool) -> Value:
    if entry is None:
        return Value.make()
    try:
        return Value.parse(entry.value)
    except WeightsError as exc:
        if may_begin_anew:
            return Value.make()
        raise ValueRefused(f"{entry.function}, revision {entry.revision}: {exc}; --replace makes it anew") from None

"""Commands that take a file of values by function: check, diff, apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

from golb.commands.errors import EXIT_DIFFERENT, EXIT_OK, EXIT_REFUSED, UsageFailed
from golb.commands.options import command
from golb.commands.output import Column
from golb.commands.plans import plan, read_value, read_values
from golb.commands.store import batches
from golb.commands.views import (
    CHANGE_COLUMNS,
    FUNCTION_COLUMN,
    change_rows,
    changes_object,
    limits_object,
    refused_object,
    target_objects,
    weights_text,
)
from golb.commands.writing import commit, report

if TYPE_CHECKING:
    from golb.commands.entries import Change
    from golb.commands.session import Session
    from golb.commands.store import Store

_FILE = click.argument("file", type=click.File("rb"))


@click.command()
@_FILE
@click.option("--value", "is_value", is_flag=True, help="The file holds one value, as a key in etcd does.")
@command(uses_etcd=False)
def check(session: Session, file: BinaryIO, *, is_value: bool) -> int:
    """Say what golb would refuse of a file.

    `-` is stdin. etcd is not asked. Exits with 1 if golb would refuse anything.
    """
    networks = session.config.target_networks
    content = _content(file)
    desired = [read_value(content, networks)] if is_value else read_values(content, networks)
    refused = sum(each.refused is not None for each in desired)
    session.output.json(
        {
            "refused": refused,
            "functions": [
                {
                    "function": None if is_value else each.function,
                    "targets": None if each.weights is None else target_objects(each.weights),
                    "limits": None if each.weights is None else limits_object(each.weights.limits),
                    "refused": refused_object(each.refused),
                }
                for each in desired
            ],
        }
    )
    rows = [
        (
            "(the value)" if is_value else each.function if each.function.isprintable() else ascii(each.function),
            "good" if each.refused is None else "refused",
            weights_text(each.weights) if each.refused is None else str(each.refused),
        )
        for each in desired
    ]
    session.output.table((FUNCTION_COLUMN, Column("VERDICT"), Column("WEIGHTS, OR WHY NOT")), rows)
    return EXIT_REFUSED if refused else EXIT_OK


@click.command()
@_FILE
@click.option("--prune", is_flag=True, help="Count functions that are not in the file as such that go.")
@command()
def diff(session: Session, file: BinaryIO, *, prune: bool) -> int:
    """Show what `apply` would change.

    `-` is stdin. Exits with 0 if there is nothing to change, with 5 if there is.
    """
    desired = read_values(_content(file), session.config.target_networks)

    async def compare(store: Store) -> list[Change]:
        return plan(desired, (await store.list()).by_function(), prune=prune)

    changes = session.run(compare)
    return EXIT_DIFFERENT if _show(session, changes) else EXIT_OK


@click.command()
@_FILE
@click.option("--prune", is_flag=True, help="Delete the functions of the zone that are not in the file.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@command()
def apply(session: Session, file: BinaryIO, *, prune: bool, dry_run: bool) -> int:
    """Make a zone's functions those of a file.

    `-` is stdin. All or nothing in one transaction, if there are 128 changes at most, and 1 MiB of values; else in several. If golb would
    refuse one value, or somebody else changes one of the functions meanwhile, nothing is written.
    """
    desired = read_values(_content(file), session.config.target_networks)

    async def change(store: Store) -> tuple[list[Change], dict[str, int]]:
        changes = plan(desired, (await store.list()).by_function(), prune=prune)
        if dry_run:
            return changes, {}
        return changes, await commit(session, store, changes)

    changes, made = session.run(change)
    if dry_run:
        _show(session, changes)
        session.output.note("dry run: nothing was written")
    else:
        report(session, changes, made)
    return EXIT_OK


def _content(file: BinaryIO) -> bytes:
    try:
        return file.read()
    except OSError as exc:
        raise UsageFailed(f"{file.name} cannot be read: {exc.strerror}") from exc


def _show(session: Session, changes: list[Change]) -> int:
    """Show changes that are not made; return how many there are."""
    differing = [change for change in changes if change.action != "unchanged"]
    session.output.json(changes_object(session.config.zone, changes, {}, transactions=len(batches(changes))))
    if differing:
        session.output.table(CHANGE_COLUMNS, [row for change in differing for row in change_rows(change)])
    session.output.line(f"{len(differing)} of {len(changes)} functions differ")
    return len(differing)

"""`watch`: what happens to a zone's functions, as it happens, until Ctrl-C."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import click
import trio
from attrs import frozen

from golb.commands.entries import Entry, read_entry
from golb.commands.errors import EXIT_OK, EtcdAway, Interrupted, failure_from
from golb.commands.options import command, complete_functions
from golb.commands.values import is_same
from golb.commands.views import changes_text, entry_object
from golb.trio_etcd import Compacted, EtcdError, EventType, Unavailable, WatchCancelled
from golb.weights import KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.commands.session import Session
    from golb.commands.store import Store
    from golb.trio_etcd import Event

_RETRY_S = 1.0

Kind: TypeAlias = Literal["listed", "put", "delete"]


@frozen
class Happening:
    """What has happened to a key."""

    kind: Kind
    key: str
    function: str | None
    revision: int
    before: Entry | None
    """As far as it is known."""
    after: Entry | None
    """None: the key is gone."""


@click.command()
@click.argument("functions", nargs=-1, metavar="[FUNCTION]...", shell_complete=complete_functions)
@click.option("--changed", is_flag=True, help="Leave out puts of what is there already.")
@command()
def watch(session: Session, functions: tuple[str, ...], *, changed: bool) -> int:
    """Show each change as it happens.

    First the functions as they are: all of the zone, if none is named. Ends with Ctrl-C.
    """

    def told(happening: Happening) -> None:
        if functions and happening.function not in functions:
            return
        if changed and happening.before and happening.after and is_same(happening.before.value, happening.after.value):
            return
        now = datetime.now().astimezone()
        session.output.json({"at": now.timestamp(), **_object(happening)})
        session.output.line(f"{now.isoformat(timespec='milliseconds')} {_line(happening)}")

    try:
        session.run(lambda store: follow(store, told, session.output.note))
    except Interrupted:
        return EXIT_OK


async def follow(store: Store, told: Callable[[Happening], None], noted: Callable[[str], None]) -> NoReturn:
    """Tell what is there, and then what happens, in the order of etcd's revisions. Ends by an error only.

    After a loss of etcd it goes on where it was; where etcd has forgotten that, with what differs.

    Args:
        store: the zone's.
        told: is called with each happening.
        noted: is called with a line for each loss.

    Raises:
        EtcdAway: etcd could not be reached at first.
        EtcdRefuses: as the name says.
    """
    known: dict[str, Entry] = {}
    revision = await _list(store, known, told)
    while True:
        try:
            if not revision:
                revision = await _list(store, known, told)
            async with store.client.watch_prefix(_prefix(store), start_revision=revision + 1) as events:
                if events.header.revision < revision:
                    noted("listing again: etcd's revision is less than before")  # restored from a backup
                    revision = 0
                    continue
                async for batch in events:
                    for event in batch.events:
                        _take(store, known, event, told)
                    revision = max(revision, batch.revision)
        except Compacted as exc:
            noted(f"listing again: {exc}")
            revision = 0
        except (EtcdAway, Unavailable, WatchCancelled) as exc:
            noted(f"etcd lost, trying again: {exc}")
            await trio.sleep(_RETRY_S)
        except EtcdError as exc:
            raise failure_from(exc) from exc


async def _list(store: Store, known: dict[str, Entry], told: Callable[[Happening], None]) -> int:
    listing = await store.list()
    entries = {entry.key: entry for entry in listing.entries}
    for key in known.keys() - entries.keys():
        gone = known.pop(key)
        told(Happening("delete", key, gone.function, listing.revision, gone, None))
    for key, entry in entries.items():
        before = known.get(key)
        if before is None or before.revision != entry.revision:
            known[key] = entry
            told(Happening("listed", key, entry.function, entry.revision, before, entry))
    return listing.revision


def _take(store: Store, known: dict[str, Entry], event: Event, told: Callable[[Happening], None]) -> None:
    entry = read_entry(event.kv, store.zone, store.networks)
    before = known.pop(entry.key, None)
    if event.type is EventType.DELETE:
        told(Happening("delete", entry.key, entry.function, entry.revision, before, None))
    else:
        known[entry.key] = entry
        told(Happening("put", entry.key, entry.function, entry.revision, before, entry))


def _prefix(store: Store) -> str:
    return f"{KEY_PREFIX}{store.zone}/"


def _line(happening: Happening) -> str:
    name = happening.function or happening.key
    if happening.after is None:
        return f"{name} revision {happening.revision}: deleted"
    if happening.after.refused is not None:
        return f"{name} revision {happening.revision}: refused: {happening.after.refused}"
    before = happening.before.weights if happening.before else None
    return f"{name} revision {happening.revision}: {changes_text(before, happening.after.weights)}"


def _object(happening: Happening) -> dict[str, Any]:
    if happening.after is not None:
        return {"event": happening.kind, **entry_object(happening.after)}
    return {
        "event": happening.kind,
        "function": happening.function,
        "key": happening.key,
        "revision": happening.revision,
    }

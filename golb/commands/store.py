"""A zone's keys in etcd, read and changed.

Rule: no change is made to what has changed since it was read. Each put and delete is guarded by the key's mod revision,
in a transaction, so a command either does what was decided from what was seen, or says who was faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import frozen

from golb.commands.entries import Entry, key_of, read_entry
from golb.commands.errors import Conflict, NotFound, ValueRefused, etcd_failures, failure_from
from golb.errors import WeightsError
from golb.trio_etcd import Compacted, Compare, DeleteOp, EtcdError, GetOp, PutOp, RangeResult, Unavailable
from golb.weights import KEY_PREFIX, check_function_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from golb.commands.entries import Change
    from golb.networks import TargetNetworks
    from golb.trio_etcd import EtcdClient, Op, TxnResult

MAX_OPS = 128
"""In one transaction: etcd's --max-txn-ops, by default."""
_MAX_BATCH_BYTES = 1 << 20
"""Of one transaction's values and keys. etcd takes requests of 1.5 MiB by default (--max-request-bytes)."""
_TIMES_KEY = 3
"""It is compared, put, and read if that fails."""


@frozen
class Listing:
    """All keys of a zone at one revision of etcd."""

    entries: tuple[Entry, ...]
    revision: int

    def by_function(self) -> dict[str, Entry]:
        """Return the entries whose keys name a function."""
        return {entry.function: entry for entry in self.entries if entry.function is not None}


@frozen
class Past:
    """What a function was, the newest first, and where that ends."""

    entries: tuple[Entry, ...]
    ends: Literal["created", "compacted", "limit"]
    """The oldest entry has made the key; or etcd has forgotten what was before; or no more was asked for."""


class Store:
    """One zone's functions, by a client that the caller opens and closes."""

    def __init__(self, client: EtcdClient, zone: str, networks: TargetNetworks) -> None:
        self.client = client
        self.zone = zone
        self.networks = networks

    async def find(self, function: str, revision: int | None = None) -> Entry | None:
        """Return a function as it stands, or as it stood at a revision; None if there is none.

        Raises:
            ValueRefused: no function can have this name.
            Compacted: the revision is gone.
        """
        try:
            check_function_name(function)
        except WeightsError as exc:
            raise ValueRefused(str(exc)) from None
        with etcd_failures(but=Compacted):
            got = await self.client.get(key_of(self.zone, function), revision=revision)
        return None if got.kv is None else read_entry(got.kv, self.zone, self.networks)

    async def get(self, function: str) -> Entry:
        """Return a function as it stands.

        Raises:
            NotFound: there is none.
        """
        entry = await self.find(function)
        if entry is None:
            raise NotFound(f"zone {self.zone} has no function {function}")
        return entry

    async def list(self) -> Listing:
        """Return all keys of the zone, in byte order."""
        prefix = f"{KEY_PREFIX}{self.zone}/"
        with etcd_failures():
            try:
                listed = await self.client.get_prefix(prefix)
            except Compacted:  # between two pages
                listed = await self.client.get_prefix(prefix)
        return Listing(tuple(read_entry(kv, self.zone, self.networks) for kv in listed.kvs), listed.revision)

    async def past(self, entry: Entry, most: int) -> Past:
        """Return what a function was before `entry`, and `entry`: `most` (> 0) entries at most."""
        entries = [entry]
        while len(entries) < most:
            oldest = entries[-1]
            if oldest.revision == oldest.created_revision:
                return Past(tuple(entries), "created")
            try:
                before = await self.find(_named(oldest), oldest.revision - 1)
            except Compacted:
                return Past(tuple(entries), "compacted")
            if before is None:
                raise RuntimeError(
                    f"{oldest.key} was made at {oldest.created_revision}, and etcd has no value of it since"
                )
            entries.append(before)
        is_first = entries[-1].revision == entries[-1].created_revision
        return Past(tuple(entries), "created" if is_first else "limit")

    async def commit(self, changes: Sequence[Change]) -> dict[str, int]:
        """Make changes; return the revision of each by function. What is unchanged already is left out.

        All or nothing, as long as they fit into one transaction, see `batches`; of several, those before the one that
        fails are made.

        Raises:
            Conflict: a function is not any more what the change was decided from.
            EtcdAway, EtcdRefuses: as the names say.
        """
        made: dict[str, int] = {}
        for batch in batches(changes):
            try:
                result = await self.client.txn(*_transaction(batch, self.zone))
            except EtcdError as exc:
                failure = failure_from(exc)
                is_unknown = isinstance(exc, Unavailable) and exc.sent
                raise type(failure)(
                    f"{failure}; {_progress(changes, made, batch if is_unknown else ())}",
                    written=list(made),
                    not_written=_left(changes, made),
                ) from exc
            if not result.succeeded:
                raise Conflict(
                    f"{_meanwhile(batch, result)}; {_progress(changes, made)}",
                    written=list(made),
                    not_written=_left(changes, made),
                )
            made |= {change.function: result.header.revision for change in batch}
        return made


def batches(changes: Iterable[Change]) -> list[list[Change]]:
    """Return the changes that are any, in transactions that etcd takes by default, in order."""
    parts: list[list[Change]] = []
    length = 0
    for change in changes:
        if change.action == "unchanged":
            continue
        size = len(change.after or b"") + _TIMES_KEY * len(change.function.encode())
        if not parts or len(parts[-1]) == MAX_OPS or length + size > _MAX_BATCH_BYTES:
            parts.append([])
            length = 0
        parts[-1].append(change)
        length += size
    return parts


def _transaction(batch: Sequence[Change], zone: str) -> tuple[list[Compare], list[Op], list[Op]]:
    compare: list[Compare] = []
    success: list[Op] = []
    failure: list[Op] = []
    for change in batch:
        key = key_of(zone, change.function)
        compare.append(Compare.mod_revision(key, "=", change.guard))
        lease = change.before.lease if change.before else 0
        success.append(DeleteOp(key) if change.after is None else PutOp(key, change.after, lease=lease))
        failure.append(GetOp(key))
    return compare, success, failure


def _meanwhile(batch: Sequence[Change], result: TxnResult) -> str:
    """Say which of the functions have changed since they were read."""
    said = []
    for change, response in zip(batch, result.responses, strict=True):
        if not isinstance(response, RangeResult):
            raise TypeError(response)
        revision = response.kvs[0].mod_revision if response.kvs else 0
        if revision == change.guard:
            continue
        if not revision:
            said.append(f"{change.function} was deleted meanwhile")
        elif not change.guard:
            said.append(f"{change.function} was made meanwhile, at revision {revision}")
        else:
            said.append(f"{change.function} was changed meanwhile, from revision {change.guard} to {revision}")
    return ", ".join(said)


def _progress(changes: Sequence[Change], made: dict[str, int], unknown: Sequence[Change] = ()) -> str:
    """Say what is written, after a failure."""
    said = []
    if made:
        said.append(f"written before: {', '.join(made)}")
    if unknown:
        said.append(f"whether this was written is not known: {', '.join(change.function for change in unknown)}")
        left = set(_left(changes, made)) - {change.function for change in unknown}
        said += [f"not written: {', '.join(sorted(left))}"] if left else []
    elif made:
        said.append(f"not written: {', '.join(_left(changes, made))}")
    else:
        said.append("nothing was written")
    return "; ".join(said)


def _left(changes: Sequence[Change], made: dict[str, int]) -> list[str]:
    return [change.function for change in changes if change.action != "unchanged" and change.function not in made]


def _named(entry: Entry) -> str:
    if entry.function is None:
        raise ValueError(f"{entry.key} names no function")
    return entry.function

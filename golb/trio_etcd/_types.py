"""What goes to etcd and what comes back, as values: frozen, so that tasks may share them.

Names and meanings are those of etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto. Keys and values are bytes;
a key may be given as str, which is encoded as UTF-8. Revisions count the changes to the whole store and start at 1.
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

from attrs import field, frozen
from attrs import validators as v

Key: TypeAlias = str | bytes


@frozen
class ResponseHeader:
    """Who answered, and at which revision."""

    cluster_id: int = 0
    """Unsigned 64 bit; another one than before means that this is another store, and old revisions mean nothing."""
    member_id: int = 0
    """Unsigned 64 bit."""
    revision: int = 0
    """The store's revision when the request was served."""
    raft_term: int = 0


@frozen
class KeyValue:
    """A key as it stands at one revision."""

    key: bytes
    value: bytes
    """Empty if only keys were asked for, and in the event of a delete."""
    create_revision: int = 0
    """The revision of the put that made the key (anew, after a delete)."""
    mod_revision: int = 0
    """The revision of the last change to it."""
    version: int = 0
    """Puts since it was made, counting from 1; 0 in the event of a delete."""
    lease: int = 0
    """The id of the lease that the key lives by; 0 for none."""


@frozen
class GetResult:
    """The answer to a get of one key."""

    header: ResponseHeader
    kv: KeyValue | None
    """None if there is no such key."""


@frozen
class RangeResult:
    """Keys with a common prefix, in byte order, all as they stood at one revision."""

    header: ResponseHeader
    """Of the first page, if there were several."""
    revision: int
    """The revision at which the keys were read: watch from the next one on to miss nothing."""
    kvs: tuple[KeyValue, ...]
    more: bool = False
    """Whether a limit has left keys out; only a `GetOp` in a transaction has one."""


@frozen
class PrefixSummary:
    """What tells whether anything has changed among the keys with a common prefix, as they stood at one revision."""

    header: ResponseHeader
    """Its revision is the one."""
    count: int
    """How many keys there are."""
    newest_revision: int
    """The revision of the last put among those that are there; 0 if there are none. Deletes do not show in it."""


@frozen
class PutResult:
    """The answer to a put."""

    header: ResponseHeader
    """Its revision is the put's own."""
    prev_kv: KeyValue | None = None
    """The key before the put, if that was asked for and there was one."""


@frozen
class DeleteResult:
    """The answer to a delete."""

    header: ResponseHeader
    deleted: int
    """How many keys went."""
    prev_kvs: tuple[KeyValue, ...] = ()
    """The keys before the delete, if that was asked for."""


class _Target(enum.Enum):
    VERSION = "VERSION"
    CREATE_REVISION = "CREATE"
    MOD_REVISION = "MOD"
    VALUE = "VALUE"


Relation: TypeAlias = Literal["=", "!=", "<", ">"]


@frozen
class Compare:
    """One condition of a transaction. Made by the class methods; an absent key has version and revisions 0 and no value.

    >>> Compare.version("leader", "=", 0)  # the key does not exist
    """

    key: Key
    target: _Target
    relation: Relation = field(validator=v.in_(("=", "!=", "<", ">")))
    operand: int | bytes

    @classmethod
    def version(cls, key: Key, relation: Relation, version: int) -> Compare:
        """Compare the number of puts since the key was made."""
        return cls(key, _Target.VERSION, relation, version)

    @classmethod
    def create_revision(cls, key: Key, relation: Relation, revision: int) -> Compare:
        """Compare the revision at which the key was made."""
        return cls(key, _Target.CREATE_REVISION, relation, revision)

    @classmethod
    def mod_revision(cls, key: Key, relation: Relation, revision: int) -> Compare:
        """Compare the revision of the key's last change."""
        return cls(key, _Target.MOD_REVISION, relation, revision)

    @classmethod
    def value(cls, key: Key, relation: Relation, value: bytes) -> Compare:
        """Compare the value, byte by byte. False for an absent key, whatever the relation."""
        return cls(key, _Target.VALUE, relation, value)


@frozen
class GetOp:
    """Read a key, or all with it as prefix, within a transaction; answered by a `RangeResult`."""

    key: Key
    prefix: bool = field(default=False, kw_only=True)
    limit: int = field(default=0, kw_only=True)
    """The most keys to answer; 0 for all."""


@frozen
class PutOp:
    """Put a key within a transaction, which may change a key only once; answered by a `PutResult`."""

    key: Key
    value: bytes = field(repr=False)
    lease: int = field(default=0, kw_only=True)
    prev_kv: bool = field(default=False, kw_only=True)


@frozen
class DeleteOp:
    """Delete a key, or all with it as prefix, within a transaction; answered by a `DeleteResult`."""

    key: Key
    prefix: bool = field(default=False, kw_only=True)
    prev_kv: bool = field(default=False, kw_only=True)


Op: TypeAlias = GetOp | PutOp | DeleteOp


@frozen
class TxnResult:
    """The answer to a transaction."""

    header: ResponseHeader
    succeeded: bool
    """Whether all comparisons held, so that the operations in `success` ran; otherwise those in `failure` did."""
    responses: tuple[RangeResult | PutResult | DeleteResult, ...]
    """One for each operation that ran, in their order. Of their headers etcd fills in the revision only."""


@frozen
class Lease:
    """A lease as granted."""

    header: ResponseHeader
    id: int
    ttl_s: int
    """The seconds it lives without being kept alive; etcd may grant more than was asked for, not less."""


@frozen
class Status:
    """How the member that answered is."""

    header: ResponseHeader
    version: str
    """Of etcd, such as 3.5.1."""
    db_size_bytes: int
    db_size_in_use_bytes: int
    leader: int
    """The member id of the leader; 0 if this member knows none."""
    raft_term: int
    raft_index: int
    raft_applied_index: int
    is_learner: bool
    errors: tuple[str, ...]
    """Alarms, such as NOSPACE."""


class EventType(enum.Enum):
    """What happened to a key."""

    PUT = "PUT"
    DELETE = "DELETE"


@frozen
class Event:
    """One change to one key."""

    type: EventType
    kv: KeyValue
    """The key after the change; of a delete only `key` and `mod_revision`, the revision of the delete, are set."""
    prev_kv: KeyValue | None = None
    """The key before the change, if that was asked for, there was one and it has not been compacted."""


@frozen
class WatchBatch:
    """What a watch has learnt next: the changes of one or more whole revisions, or that there were none."""

    revision: int
    """All changes up to and including this revision have been delivered: to resume, watch from the next one on."""
    events: tuple[Event, ...]
    """In the order of their revisions; all of a transaction are in one batch. Empty: a progress notification."""

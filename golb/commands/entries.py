"""What stands in etcd under a zone's keys, what golb makes of it, and what a command would change of it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import frozen

from golb.commands.errors import ValueRefused
from golb.commands.values import is_same
from golb.errors import WeightsError
from golb.weights import KEY_PREFIX, Refused, parse_function_name, parse_weights

if TYPE_CHECKING:
    from golb.commands.values import Value
    from golb.networks import TargetNetworks
    from golb.trio_etcd import KeyValue
    from golb.weights import Weights

Action: TypeAlias = Literal["create", "update", "delete", "unchanged"]


@frozen
class Entry:
    """A key of a zone as it stands at one revision."""

    key: str
    """Shown with escapes where it is no plain text."""
    function: str | None
    """None: the key names none, and golb ignores it."""
    value: bytes
    weights: Weights | None
    """None: golb refuses the key or the value."""
    refused: Refused | None
    """Why, if it does."""
    revision: int
    """Of the last put."""
    created_revision: int
    """Of the put that has made the key."""
    version: int
    """Puts since then, from 1 on."""
    lease: int
    """The id of the lease that the key lives by, which a change leaves to it; 0 for none."""

    @property
    def value_text(self) -> str:
        """The value as text, with escapes where it is none."""
        return self.value.decode(errors="backslashreplace")


@frozen
class Change:
    """What becomes of one function, and what it was when that was decided."""

    function: str
    before: Entry | None
    """None: there was no such key."""
    after: bytes | None
    """None: the key goes."""
    weights: Weights | None
    """What golb makes of `after`."""

    @property
    def action(self) -> Action:
        """What is to be done."""
        if self.after is None:
            return "delete" if self.before is not None else "unchanged"
        if self.before is None:
            return "create"
        return "unchanged" if is_same(self.before.value, self.after) else "update"

    @property
    def guard(self) -> int:
        """The revision that the key must still have for the change to be made; 0: it must not be there."""
        return 0 if self.before is None else self.before.revision


def key_of(zone: str, function: str) -> str:
    """Return the key of a function."""
    return f"{KEY_PREFIX}{zone}/{function}"


def read_entry(kv: KeyValue, zone: str, networks: TargetNetworks) -> Entry:
    """Return what golb makes of a key."""
    function: str | None = None
    weights: Weights | None = None
    refused: Refused | None = None
    try:
        function = parse_function_name(kv.key, zone)
        weights = parse_weights(kv.value, networks)
    except Refused as exc:
        refused = exc
    return Entry(
        key=_shown(kv.key),
        function=function,
        value=kv.value,
        weights=weights,
        refused=refused,
        revision=kv.mod_revision,
        created_revision=kv.create_revision,
        version=kv.version,
        lease=kv.lease,
    )


def checked_change(function: str, before: Entry | None, value: Value, networks: TargetNetworks) -> Change:
    """Return the change that puts `value`.

    Raises:
        ValueRefused: golb would not take it.
    """
    try:
        after, weights = value.checked(networks)
    except WeightsError as exc:
        raise ValueRefused(f"golb would refuse {function}: {exc}; nothing was written") from None
    return Change(function, before, after, weights)


def _shown(key: bytes) -> str:
    text = key.decode(errors="backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")

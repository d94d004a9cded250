"""A file of values by function, as the weight updater `file` takes it, and what it would change of a zone. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from golb.commands.entries import Change
from golb.commands.errors import ValueRefused
from golb.commands.values import decode, encode
from golb.errors import WeightsError
from golb.weights import Fault, Refused, check_function_name, parse_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from golb.commands.entries import Entry
    from golb.networks import TargetNetworks
    from golb.weights import Weights


@frozen
class Desired:
    """A function as a file has it."""

    function: str
    value: bytes
    weights: Weights | None
    """None: golb would refuse it."""
    refused: Refused | None
    """Why, if it would."""


def read_values(content: bytes, networks: TargetNetworks) -> list[Desired]:
    """Read a file: a JSON object of values by function.

    Raises:
        ValueRefused: it is none, so that golb would take nothing of it.
    """
    try:
        values = decode(content)
    except WeightsError as exc:
        raise ValueRefused(f"the file is {exc}") from None
    if not isinstance(values, dict):
        raise ValueRefused("the file holds no object; an object of values by function is needed")
    return [_desired(function, value, networks) for function, value in values.items()]


def read_value(content: bytes, networks: TargetNetworks) -> Desired:
    """Read a file that holds one value, of no function."""
    return _judged("", content.strip(), networks)


def plan(desired: Sequence[Desired], entries: Mapping[str, Entry], *, prune: bool) -> list[Change]:
    """Return what makes a zone as the file has it; of other functions, only if `prune`, that they go.

    Raises:
        ValueRefused: golb would refuse one of the values, and so none is to be written.
    """
    refused = [f"{each.function!r}: {each.refused}" for each in desired if each.refused is not None]
    if refused:
        raise ValueRefused("golb would refuse " + "; ".join(refused) + "; nothing was written")
    changes = [Change(each.function, entries.get(each.function), each.value, each.weights) for each in desired]
    if prune:
        named = {each.function for each in desired}
        changes += [Change(name, entry, None, None) for name, entry in entries.items() if name not in named]
    return changes


def _desired(function: str, value: object, networks: TargetNetworks) -> Desired:
    try:
        check_function_name(function)
        written = encode(value).encode()
    except Refused as exc:
        return Desired(function, b"", None, exc)
    except WeightsError as exc:
        return Desired(function, b"", None, Refused(Fault.JSON, f"the value is {exc}"))
    return _judged(function, written, networks)


def _judged(function: str, value: bytes, networks: TargetNetworks) -> Desired:
    try:
        return Desired(function, value, parse_weights(value, networks), None)
    except Refused as exc:
        return Desired(function, value, None, exc)

"""A value as its writers put it, for changes by hand. No I/O.

Rule: what a change does not name stays: other members, the spelling of each target, and each number as it was written
(33.30 does not become 33.3). Whether golb takes the outcome is asked of `golb.weights`, never decided here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from attrs import define, frozen

from golb.errors import WeightsError
from golb.weights import Endpoint, parse_endpoint, parse_weights

if TYPE_CHECKING:
    from collections.abc import Collection

    from golb.networks import TargetNetworks
    from golb.weights import Weights

Number: TypeAlias = int | float


class WrittenFloat(float):
    """A float that `encode` writes as it was read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


_DECODER = json.JSONDecoder(parse_float=WrittenFloat)


def decode(text: bytes | str) -> object:
    """Read JSON in UTF-8, for `encode` to write it again.

    Raises:
        WeightsError: it is none.
    """
    try:
        return _DECODER.decode(text.decode() if isinstance(text, bytes) else text)
    except UnicodeDecodeError as exc:
        raise WeightsError(f"not UTF-8: byte {exc.start} cannot be decoded") from None
    except RecursionError:
        raise WeightsError("nested too deeply") from None
    except ValueError as exc:
        raise WeightsError(f"not JSON: {exc}") from None


def encode(value: object) -> str:
    """Write what `decode` has read, in the form of the existing writers: `{"ips": ["10.42.0.5:8080"], "weights": [3]}`.

    Raises:
        WeightsError: it is nested too deeply.
    """
    try:
        return _encode(value)
    except RecursionError:
        raise WeightsError("nested too deeply") from None


def _encode(value: object) -> str:
    match value:
        case WrittenFloat():
            return value.text
        case dict():
            return "{" + ", ".join([f"{json.dumps(name)}: {_encode(member)}" for name, member in value.items()]) + "}"
        case list():
            return "[" + ", ".join([_encode(entry) for entry in value]) + "]"
        case _:
            return json.dumps(value)


@frozen
class Target:
    """An endpoint as it was typed."""

    text: str
    endpoint: Endpoint

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read what may stand in `ips`; raises `WeightsError`."""
        return cls(text, parse_endpoint(text))


def parse_number(text: str) -> Number:
    """Read a number as JSON has it: 3, 33.3, 1e3. Its range is not looked at.

    Raises:
        WeightsError: it is none.
    """
    try:
        number = decode(text)
    except WeightsError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise WeightsError(f"{text!r} is no number such as 3 or 33.3")
    return number


@define
class Value:
    """A value that is being changed: an object with two lists of one length, `ips` and `weights`."""

    members: dict[str, object]
    ips: list[object]
    weights: list[object]

    @classmethod
    def parse(cls, text: bytes | str) -> Value:
        """Read a value; golb may refuse it for all that.

        Raises:
            WeightsError: it is no object with two lists of one length, so no weight in it can be changed.
        """
        members = decode(text)
        if not isinstance(members, dict):
            raise WeightsError("the value is no object")
        ips, weights = members.get("ips"), members.get("weights")
        if not (isinstance(ips, list) and isinstance(weights, list) and len(ips) == len(weights)):
            raise WeightsError("the value has no two lists of one length, ips and weights")
        return cls(members, list(ips), list(weights))

    @classmethod
    def make(cls) -> Value:
        """Return a value without targets."""
        return cls({"ips": [], "weights": []}, [], [])

    def put(self, target: Target, weight: Number) -> None:
        """Give a target this weight; one that is new comes last, one that stands twice stands once from now on."""
        places = self._places(target.endpoint)
        if not places:
            self.ips.append(target.text)
            self.weights.append(weight)
            return
        self.weights[places[0]] = weight
        self._remove(places[1:])

    def keep_only(self, endpoints: Collection[Endpoint]) -> None:
        """Take out all targets but these."""
        kept = {place for endpoint in endpoints for place in self._places(endpoint)}
        self._remove([place for place in range(len(self.ips)) if place not in kept])

    def drain(self, endpoint: Endpoint) -> None:
        """Give a target weight 0, wherever it stands; what is 0 already stays as it was written."""
        for place in self._places(endpoint):
            weight = self.weights[place]
            if isinstance(weight, bool) or not isinstance(weight, int | float) or weight != 0:
                self.weights[place] = 0

    def limit(self, name: str, limit: Number | None) -> None:
        """Set a member of `golb.limits`; None leaves it to the configuration."""
        if limit is None:
            self.members.pop(name, None)
        else:
            self.members[name] = limit

    def endpoints(self) -> list[Endpoint]:
        """Return the targets that can be read, in their order."""
        return list(dict.fromkeys(endpoint for ip in self.ips if (endpoint := _endpoint(ip)) is not None))

    def to_bytes(self) -> bytes:
        """Return the value as it goes to etcd; raises `WeightsError` if it is nested too deeply."""
        return encode({**self.members, "ips": self.ips, "weights": self.weights}).encode()

    def checked(self, networks: TargetNetworks) -> tuple[bytes, Weights]:
        """Return the value as it goes to etcd, and what golb makes of it; raises `WeightsError` if golb refuses it."""
        written = self.to_bytes()
        return written, parse_weights(written, networks)

    def _places(self, endpoint: Endpoint) -> list[int]:
        return [place for place, ip in enumerate(self.ips) if _endpoint(ip) == endpoint]

    def _remove(self, places: list[int]) -> None:
        for place in reversed(places):
            del self.ips[place], self.weights[place]


def is_same(one: bytes, other: bytes) -> bool:
    """Tell whether two values differ in nothing but white space."""
    if one == other:
        return True
    try:
        return encode(decode(one)) == encode(decode(other))
    except WeightsError:
        return False


def _endpoint(ip: object) -> Endpoint | None:
    try:
        return parse_endpoint(ip)
    except WeightsError:
        return None

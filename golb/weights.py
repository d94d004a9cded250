"""Weights as values: what a weight source holds, checked whole and then taken whole.

Rule: a value is good or refused with a reason; there is no half-taken value and no guess at what was meant.
The form is that of the existing writers: `{"ips": ["10.42.0.5:8080", ...], "weights": [3, ...]}`.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import reprlib
import sys
from enum import StrEnum
from functools import lru_cache
from operator import is_
from typing import TYPE_CHECKING, NoReturn

from attrs import field, frozen

from golb.errors import WeightsError
from golb.limits import NO_LIMITS, Limits, parse_limits
from golb.networks import ANYWHERE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from golb.networks import TargetNetworks

DEFAULT_PORT = 80
KEY_PREFIX = "golb/function/"

MAX_ENDPOINTS = 5000
"""Of one function. Each update of it takes some 10 µs for each endpoint, to read it and to make its schedule anew, and no
request is served meanwhile. It is as many as Kubernetes has nodes at the most, and five times what an Endpoints object holds."""
MAX_VALUE_BYTES = 512 << 10
"""Of one value: 100 for each of `MAX_ENDPOINTS`. etcd takes 1.5 MiB by default, and to read as much JSON, 500,000 empty lists
say, takes half a second."""
MAX_NAME_LENGTH = 1024
"""Of a function's name, in characters: it goes into log lines, and into URLs, of which golb takes 32 KiB."""

# RFC 1123 labels; the underscore is no host name by the RFC, but container names carry it.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_MAX_HOST_LENGTH = 253
_MAX_PORT = 65535
_MAX_WEIGHT = sys.float_info.max

# What nearly all endpoints look like; the general way takes ten times as long. Without leading zeros, which might be
# meant as octal, and which `ipaddress` refuses too.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4_AND_PORT = re.compile(rf"({_OCTET}(?:\.{_OCTET}){{3}}):([1-9][0-9]{{0,4}})", re.ASCII)


class Fault(StrEnum):
    """What is wrong with a key or a value that is refused, in a word: one of few, unlike the reason's text."""

    KEY = "key"
    """The key names no function."""
    SIZE = "size"
    """The value is too long, or has too many endpoints."""
    JSON = "json"
    """The value is no JSON in UTF-8."""
    SHAPE = "shape"
    """The value is no object with two lists of one length."""
    ENDPOINT = "endpoint"
    """An entry of `ips` names no endpoint."""
    NETWORK = "network"
    """An entry of `ips` lies where no endpoint may."""
    WEIGHT = "weight"
    """A weight is none."""
    LIMIT = "limit"
    """A member that limits the function is not what it should be."""


class Refused(WeightsError):
    """A key or a value is refused; the text is the reason, `fault` says in a word of what kind it is."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


@frozen(cache_hash=True)  # it is a key in several tables, and the same ones come again every second
class Endpoint:
    """Where a function runs: a host and a TCP port, spoken to by plain HTTP."""

    host: str
    """IPv4 address, IPv6 address (no brackets, compressed) or host name in lower case."""
    port: int
    """1 to 65535."""

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 host in brackets: what stands in `Host` and `X-Final-Host`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.authority


@frozen
class Weights:
    """The weights of one function's endpoints; empty means that the function has no endpoint now."""

    by_endpoint: dict[Endpoint, int | float] = field(factory=dict)
    """In the order of the value. Each weight is finite and >= 0, and so is their sum; no unit."""
    limits: Limits = NO_LIMITS

    def __str__(self) -> str:
        return ", ".join(f"{endpoint}={weight:g}" for endpoint, weight in self.by_endpoint.items()) or "none"


def are_same_endpoints(some: Collection[Endpoint], others: Collection[Endpoint]) -> bool:
    """Tell whether both hold the same objects in the same order, which costs no hashing. Equal ones that are not the same do not count.

    Who reads weights gives one object for each endpoint, so nearly all updates of a function hold those of the one before.
    """
    return len(some) == len(others) and all(map(is_, some, others))


@frozen
class WeightUpdate:
    """What became of one function's weights at one revision of their source."""

    function: str
    weights: Weights | None
    """The whole new state; None: the function is gone."""
    revision: int
    """Of the source, growing; for etcd the mod revision of the put or delete."""


def parse_function_name(key: bytes, zone: str) -> str:
    """Return the function of `golb/function/<zone>/<function>`.

    Raises:
        Refused: the key has not exactly these four segments, or its name could not stand in a URL or a log.
    """
    prefix = f"{KEY_PREFIX}{zone}/".encode()
    try:
        name = key.removeprefix(prefix).decode()
    except UnicodeDecodeError:
        raise Refused(Fault.KEY, "the key is not UTF-8") from None
    if not key.startswith(prefix) or not name or "/" in name:
        raise Refused(Fault.KEY, f"the key is not {KEY_PREFIX}{zone}/<function>, four segments")
    check_function_name(name)
    return name


def check_function_name(name: str) -> None:
    """Refuse, by raising `Refused`, a name that could not stand in a URL or a log line."""
    if not name or "/" in name or not name.isprintable():
        raise Refused(Fault.KEY, "a function's name is not empty and holds neither slashes nor control characters")
    if len(name) > MAX_NAME_LENGTH:
        raise Refused(Fault.KEY, f"the function's name has {len(name)} characters; {MAX_NAME_LENGTH} are the most")


def parse_weights(value: bytes | str, targets: TargetNetworks = ANYWHERE) -> Weights:
    """Read a value as its writers put it.

    Members other than `ips`, `weights` and those of `golb.limits` are ignored. The weights of an endpoint that stands twice add up. What is
    longer than `MAX_VALUE_BYTES` is refused unread, and a value that names one address outside `targets` as a whole.

    Raises:
        Refused: the text says what is wrong and what would be right.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise Refused(Fault.SIZE, f"the value has {len(value)} bytes; {MAX_VALUE_BYTES} are the most")
    members = _load_object(value)
    ips = _load_list(members, "ips")
    weights = _load_list(members, "weights")
    if len(ips) != len(weights):
        raise Refused(Fault.SHAPE, f"{len(ips)} ips but {len(weights)} weights; each ip needs one weight")
    if len(ips) > MAX_ENDPOINTS:
        raise Refused(Fault.SIZE, f"{len(ips)} ips; {MAX_ENDPOINTS} are the most that a function may have")
    by_endpoint: dict[Endpoint, int | float] = {}
    for index, (ip, weight) in enumerate(zip(ips, weights, strict=True)):
        try:
            endpoint = parse_endpoint(ip)
        except WeightsError as exc:
            raise Refused(Fault.ENDPOINT, f"ips[{index}] {exc}") from None
        refusal = targets.refusal(endpoint.host)
        if refusal is not None:
            raise Refused(Fault.NETWORK, f"ips[{index}] is {_shown(ip)}; {refusal}")
        checked = _check_weight(weight, index)
        before = by_endpoint.get(endpoint)
        by_endpoint[endpoint] = checked if before is None else _sum((before, checked))
    if _sum(by_endpoint.values()) > _MAX_WEIGHT:
        raise Refused(Fault.WEIGHT, f"the weights' sum is beyond the range of a double, {_MAX_WEIGHT:.2g}")
    try:
        limits = parse_limits(members)
    except WeightsError as exc:
        raise Refused(Fault.LIMIT, str(exc)) from None
    return Weights(by_endpoint, limits)


def parse_endpoint(text: object) -> Endpoint:
    """Read `ip`, `ip:port`, `[ipv6]:port`, a bare IPv6 address or a host name, each with or without `http://`.

    Raises:
        WeightsError: the text names no endpoint.
    """
    if not isinstance(text, str):
        raise _no_string(text)
    return _parse_endpoint(text)


# Writers put the same endpoints again and again.
@lru_cache(maxsize=65536)
def _parse_endpoint(text: str) -> Endpoint:
    plain = _IPV4_AND_PORT.fullmatch(text)
    if plain is not None and (plain_port := int(plain[2])) <= _MAX_PORT:
        return Endpoint(plain[1], plain_port)
    host, port = split_endpoint(text)
    return Endpoint(host, DEFAULT_PORT if port is None else port)


def split_endpoint(text: str) -> tuple[str, int | None]:
    """Read an endpoint as `parse_endpoint` does; the port is None where the text names none."""
    rest = text
    if "://" in text:
        if not text.startswith("http://"):
            raise WeightsError(f"is {_shown(text)}; golb speaks plain http to endpoints")
        rest = text.removeprefix("http://").removesuffix("/")
    port: str | None
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise WeightsError(f"is {_shown(text)}; an IPv6 endpoint is written [address]:port")
        port = tail[1:] if tail else None
        return _parse_ipv6(host, text), _parse_port(port, text)
    if rest.count(":") > 1:
        return _parse_ipv6(rest, text), None
    host, colon, tail = rest.partition(":")
    return _parse_host(host, text), _parse_port(tail if colon else None, text)


def _load_object(value: bytes | str) -> dict[str, object]:
    try:
        # json.loads would take UTF-16 and UTF-32 bytes too; the contract has UTF-8 only.
        text = value.decode() if isinstance(value, bytes) else value
        members = _DECODER.decode(text)
    except UnicodeDecodeError as exc:
        raise Refused(Fault.JSON, f"the value is not UTF-8: byte {exc.start} cannot be decoded") from None
    except RecursionError:
        raise Refused(Fault.JSON, "the value is nested too deeply") from None
    except ValueError as exc:  # also an integer of more than 4,300 digits
        raise Refused(Fault.JSON, f"the value is not JSON: {exc}") from None
    if not isinstance(members, dict):
        raise Refused(Fault.SHAPE, f"the value is {_kind(members)}; an object with ips and weights is needed")
    return members


def _load_list(members: dict[str, object], name: str) -> list[object]:
    if name not in members:
        raise Refused(Fault.SHAPE, f"{name} is missing; a list is needed")
    found = members[name]
    if not isinstance(found, list):
        raise Refused(Fault.SHAPE, f"{name} is {_kind(found)}; a list is needed")
    return found


def _check_weight(weight: object, index: int) -> int | float:
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise Refused(Fault.WEIGHT, f"weights[{index}] is {_shown(weight)}; a number is needed")
    if not 0 <= weight <= _MAX_WEIGHT:  # NaN compares as false
        raise Refused(Fault.WEIGHT, f"weights[{index}] is {_shown(weight)}; a weight is finite and not negative")
    return weight


def _sum(weights: Iterable[float]) -> float:
    """Add, exactly where all are integers; infinite where an integer that is no double meets a double."""
    try:
        return sum(weights)
    except OverflowError:
        return math.inf


def _parse_host(host: str, text: str) -> str:
    lowered = host.lower()
    labels = lowered.removesuffix(".").split(".")
    if len(host) > _MAX_HOST_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise WeightsError(f"is {_shown(text)}; that is neither an address nor a host name")
    if labels[-1].isdigit():  # no top-level domain is a number, so this is meant as an IPv4 address
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise WeightsError(f"is {_shown(text)}; that is no valid IPv4 address") from None
    return lowered


def _parse_ipv6(host: str, text: str) -> str:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise WeightsError(f"is {_shown(text)}; that is no valid IPv6 address") from None
    if address.scope_id is not None:
        raise WeightsError(f"is {_shown(text)}; an address with a scope means another host on each node")
    return str(address)


def _parse_port(port: str | None, text: str) -> int | None:
    if port is None:
        return None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= _MAX_PORT:
        raise WeightsError(f"is {_shown(text)}; a port is a number from 1 to {_MAX_PORT}")
    return int(port)


def _refuse_constant(name: str) -> NoReturn:
    raise Refused(Fault.WEIGHT, f"the value holds {name}; a weight is finite")


# Made once: json.loads makes one for each call that says anything about constants, which takes longer than the reading.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return kinds[type(value)]


def _no_string(value: object) -> WeightsError:
    return WeightsError(f"is {_shown(value)}; an endpoint is a string such as 10.42.0.5:8080")


def _shown(value: object) -> str:
    """Show a value in a log line, cut short where it is long."""
    return json.dumps(value) if value is None or isinstance(value, bool) else reprlib.repr(value)

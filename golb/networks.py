"""Networks of IP addresses: where golb may connect to, and whose marks it believes.

Rule: an address is judged by the text that a connection is made to or comes from, never by a name; a name is resolved
first, and the address that was judged is the one that is used.
Method: an IPv6 address may stand for an IPv4 one. One that is mapped (`::ffff:10.0.0.5`) is that IPv4 address to the kernel,
and is judged as such; behind one that a translator or a tunnel knows (NAT64, 6to4, Teredo), both count.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGETS_VARIABLE = "eb_go_lb_target_networks"

_LINK_LOCAL = "link-local"
_METADATA = "a cloud's metadata service"
_UNSPECIFIED = "unspecified"
_MULTICAST = "multicast"
_BROADCAST = "broadcast"

# No function runs there, but the keys to a whole cloud account may lie there: most clouds serve the metadata of a machine,
# its credentials included, at 169.254.169.254, and names such as metadata.google.internal resolve to that.
_REFUSED = [
    (ipaddress.ip_network(text), kind)
    for text, kind in {
        "169.254.0.0/16": _LINK_LOCAL,
        "fe80::/10": _LINK_LOCAL,
        "100.100.100.200": _METADATA,  # Alibaba Cloud
        "168.63.129.16": _METADATA,  # Azure, WireServer
        "192.0.0.192": _METADATA,  # Oracle Cloud, Classic
        "fd00:ec2::/32": _METADATA,  # AWS: ::254, the credentials of pods at ::23, DNS and time
        "fd20:ce::254": _METADATA,  # Google Cloud
        "fd00:c1::a9fe:a9fe": _METADATA,  # Oracle Cloud
        "fd00:100::100:200": _METADATA,  # Alibaba Cloud
        "fd00:a9fe:a9fe::1": _METADATA,  # Akamai
        "fd00:42::42": _METADATA,  # Scaleway
        "0.0.0.0": _UNSPECIFIED,
        "::": _UNSPECIFIED,
        "224.0.0.0/4": _MULTICAST,
        "ff00::/8": _MULTICAST,
        "255.255.255.255": _BROADCAST,
    }.items()
]
# Apart, since a table's first list brings thousands of addresses, and nearly all are IPv4.
_REFUSED_BY_VERSION = {version: [pair for pair in _REFUSED if pair[0].version == version] for version in (4, 6)}

_CACHED_HOSTS = 65536

_MAPPED = IPv6Network("::ffff:0:0/96")
# The last 32 bits of these are an IPv4 address.
_TRANSLATED = (
    IPv6Network("::/96"),  # "IPv4-compatible" (RFC 4291, 2.5.5.1)
    IPv6Network("::ffff:0:0:0/96"),  # "IPv4-translated" (RFC 2765)
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a site's own (RFC 8215), as nearly all of them use it
)


@frozen
class Networks:
    """Some networks, as a variable lists them."""

    members: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Networks:
        """Read networks or addresses separated by white space or commas: `10.42.0.0/16`, `10.0.3.1`, `fd00::/8`.

        Raises:
            ValueError: an entry is neither, or is an address within its network (`10.42.0.5/16`); or there are commas only.
        """
        members = tuple(_network(entry) for entry in re.split(r"[\s,]+", text) if entry)
        if text and not members:
            raise ValueError(text)
        return cls(members)

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.members)

    def __str__(self) -> str:
        return " ".join(map(str, self.members))


@frozen
class TargetNetworks:
    """Where endpoints may lie: in the networks listed; if none is, anywhere but where no function would be.

    What is listed may be used, whatever it is.
    """

    listed: Networks = Networks()
    # Writers put the same endpoints again and again.
    _refusals: dict[str, str | None] = field(factory=dict, init=False, eq=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> TargetNetworks:
        """Read networks as `Networks.parse` does."""
        return cls(Networks.parse(text))

    def refusal(self, host: str) -> str | None:
        """Return why golb may not connect to an address; None if it may, or if the host is a name."""
        try:
            return self._refusals[host]
        except KeyError:
            if len(self._refusals) >= _CACHED_HOSTS:
                self._refusals.clear()
            refusal = self._refusals[host] = _refusal(self.listed, host)
            return refusal

    def __str__(self) -> str:
        return str(self.listed)


ANYWHERE = TargetNetworks()
"""But where no function would be."""


@frozen
class TrustedProxies:
    """Whose marks are believed: everyone's, or that of peers in some networks."""

    networks: Networks | None = None
    """None: everyone's."""

    @classmethod
    def parse(cls, text: str) -> TrustedProxies:
        """Read `all`, `none`, or networks as `Networks.parse` does.

        Raises:
            ValueError: it is none of these.
        """
        if text.lower() == "all":
            return cls()
        return cls(Networks() if text.lower() == "none" else Networks.parse(text))

    @property
    def trusts_all(self) -> bool:
        return self.networks is None

    def trusts(self, peer: str) -> bool:
        """Tell whether the marks of a peer count, by its address. One that has none, behind a Unix socket say, is not listed."""
        if self.networks is None:
            return True
        try:
            address = _unmapped(ipaddress.ip_address(peer))
        except ValueError:
            return False
        return address in self.networks

    def __str__(self) -> str:
        return "all" if self.networks is None else str(self.networks) or "none"


def _refusal(listed: Networks, host: str) -> str | None:
    try:
        address = _unmapped(ipaddress.ip_address(host))
    except ValueError:
        return None
    if address not in listed:
        if listed.members:
            return f"{address} lies in no network of {TARGETS_VARIABLE}"
        if (kind := _kind(address)) is not None:
            return f"{address} is {kind}, and {TARGETS_VARIABLE} does not list it"
    for embedded in _embedded(address):
        if embedded not in listed and (kind := _kind(embedded)) is not None:
            return f"{address} stands for {embedded}, which is {kind}, and {TARGETS_VARIABLE} does not list that"
    return None


def _network(text: str) -> IPv4Network | IPv6Network:
    if "%" in text:  # a scope means another network on each node
        raise ValueError(text)
    network = ipaddress.ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address may lead to."""
    if not isinstance(address, IPv6Address) or address.is_unspecified or address.is_loopback:
        return
    if any(address in network for network in _TRANSLATED):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _kind(address: IPv4Address | IPv6Address) -> str | None:
    """Return of which kind an address is that is refused unless it is listed."""
    return next((kind for network, kind in _REFUSED_BY_VERSION[address.version] if address in network), None)

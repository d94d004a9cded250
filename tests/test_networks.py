"""Networks: which addresses lie in them, which targets are refused, whose marks count."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.networks import ANYWHERE, Networks, TargetNetworks, TrustedProxies

REPEATABLE = settings(derandomize=True, deadline=None)


def targets(*networks: str) -> TargetNetworks:
    return TargetNetworks.parse(" ".join(networks))


def proxies(text: str) -> TrustedProxies:
    return TrustedProxies.parse(text)


# Reading


def test_networks_are_separated_by_white_space_or_commas() -> None:
    read = Networks.parse(" 10.42.0.0/16,fd00::/8\t10.0.3.1\n, ::1 ")
    assert str(read) == "10.42.0.0/16 fd00::/8 10.0.3.1/32 ::1/128"
    assert Networks.parse(str(read)) == read


@pytest.mark.parametrize(
    "text",
    ["10.42.0.5/16", "10.42.0.0/33", "10.42/16", "pod.example", "10.42.0.0/16;10.43.0.0/16", "fe80::%1/64", ",", "all"],
)
def test_what_is_no_list_of_networks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Networks.parse(text)


def test_an_ipv4_network_that_is_written_as_ipv6_is_that_ipv4_network() -> None:
    assert str(Networks.parse("::ffff:10.0.0.0/104")) == "10.0.0.0/8"


# Targets


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "10.42.0.5", "192.168.1.1", "172.16.0.9", "100.64.0.1", "fd00::5", "203.0.113.9", "2a00::1"],
)
def test_pods_private_networks_and_loopback_may_be_connected_to(host: str) -> None:
    assert ANYWHERE.refusal(host) is None


@pytest.mark.parametrize("host", ["pod.example", "metadata.google.internal", "0xa9fea9fe", "localhost"])
def test_a_name_is_judged_when_it_is_resolved(host: str) -> None:
    assert ANYWHERE.refusal(host) is None
    assert targets("10.0.0.0/8").refusal(host) is None


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::a9fe:a9fe", "link-local"),
        ("febf::1", "link-local"),
        ("100.100.100.200", "a cloud's metadata service"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("192.0.0.192", "a cloud's metadata service"),
        ("fd00:ec2::254", "a cloud's metadata service"),
        ("fd00:ec2::23", "a cloud's metadata service"),
        ("fd20:ce::254", "a cloud's metadata service"),
        ("fd00:c1::a9fe:a9fe", "a cloud's metadata service"),
        ("fd00:100::100:200", "a cloud's metadata service"),
        ("fd00:a9fe:a9fe::1", "a cloud's metadata service"),
        ("fd00:42::42", "a cloud's metadata service"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ],
)
def test_where_no_function_would_be_is_refused_unless_it_is_listed(host: str, kind: str) -> None:
    assert ANYWHERE.refusal(host) == f"{host} is {kind}, and eb_go_lb_target_networks does not list it"
    assert targets(host).refusal(host) is None
    assert targets("0.0.0.0/0", "::/0").refusal(host) is None
    assert targets("10.0.0.0/8").refusal(host) == f"{host} lies in no network of eb_go_lb_target_networks"


@pytest.mark.parametrize("host", ["::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "0:0:0:0:0:FFFF:A9FE:A9FE"])
def test_a_mapped_address_is_judged_as_the_ipv4_address_that_it_is(host: str) -> None:
    assert ANYWHERE.refusal(host) == ("169.254.169.254 is link-local, and eb_go_lb_target_networks does not list it")
    assert targets("::/0").refusal(host) is not None
    assert targets("169.254.169.254").refusal(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "64:ff9b::a9fe:a9fe",  # NAT64
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",  # 6to4
        "2001:0:c000:221:0:0:5601:5601",  # Teredo: the client, its bits inverted
        "2001:0:a9fe:a9fe::1",  # Teredo: the server
        "::a9fe:a9fe",
        "::ffff:0:a9fe:a9fe",
    ],
)
def test_an_ipv4_address_within_an_ipv6_one_is_judged_too(host: str) -> None:
    refusal = (
        f"{host.replace(':0:0:', '::')} stands for 169.254.169.254, which is link-local, "
        "and eb_go_lb_target_networks does not list that"
    )
    assert ANYWHERE.refusal(host) == refusal
    assert targets("::/0").refusal(host) == refusal
    assert targets("::/0", "169.254.169.254").refusal(host) is None
    # What leads to a listed address has to be listed itself.
    assert targets("169.254.169.254").refusal(host) == (
        f"{host.replace(':0:0:', '::')} lies in no network of eb_go_lb_target_networks"
    )


@pytest.mark.parametrize("host", ["64:ff9b::cb00:7109", "2002:cb00:7109::1", "::1"])
def test_an_ipv6_address_that_leads_to_an_allowed_one_is_allowed(host: str) -> None:
    assert ANYWHERE.refusal(host) is None


def test_with_networks_listed_nothing_else_may_be_connected_to() -> None:
    listed = targets("10.42.0.0/16", "fd00:42::/32")
    for host in ("10.42.0.0", "10.42.255.255", "::ffff:10.42.0.5", "fd00:42:1::1"):
        assert listed.refusal(host) is None
    for host in ("10.41.255.255", "10.43.0.0", "127.0.0.1", "::1", "fd00:43::1", "::ffff:10.43.0.0"):
        assert listed.refusal(host) is not None


def test_an_address_with_a_scope_is_judged_without_it() -> None:
    assert ANYWHERE.refusal("fe80::1%eth0") is not None


def test_only_so_many_answers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golb.networks._CACHED_HOSTS", 2)
    listed = targets("10.0.0.0/8")
    for _ in range(2):
        for number in range(5):
            assert listed.refusal(f"10.0.0.{number}") is None
            assert listed.refusal(f"11.0.0.{number}") is not None
            assert len(listed._refusals) <= 2  # noqa: SLF001 - nothing else shows it


@REPEATABLE
@given(st.ip_addresses(v=4))
def test_no_way_to_write_an_ipv4_address_as_ipv6_gets_around_a_refusal(address: ipaddress.IPv4Address) -> None:
    bits = int(address)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        written = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | bits))
        assert (ANYWHERE.refusal(written) is None) == (ANYWHERE.refusal(str(address)) is None)
    tunnelled = str(ipaddress.IPv6Address(0x2002 << 112 | bits << 80 | 1))
    assert (ANYWHERE.refusal(tunnelled) is None) == (ANYWHERE.refusal(str(address)) is None)


@REPEATABLE
@given(st.ip_addresses(v=4) | st.ip_addresses(network="2a00::/12"), st.integers(0, 128))
def test_an_address_is_allowed_by_the_networks_around_it_and_refused_by_others(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int
) -> None:
    around = ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False)
    far = ipaddress.ip_network((int(address) ^ (1 << (address.max_prefixlen - 1)), address.max_prefixlen), strict=False)
    assert targets(str(around)).refusal(str(address)) is None
    assert targets(str(far)).refusal(str(address)) is not None


# Peers


def test_everyone_may_be_trusted() -> None:
    for text in ("all", "ALL"):
        assert proxies(text).trusts_all
        assert proxies(text).trusts("203.0.113.9")
        assert str(proxies(text)) == "all"


def test_no_one_may_be_trusted() -> None:
    for text in ("none", "None"):
        assert not proxies(text).trusts_all
        assert not proxies(text).trusts("127.0.0.1")
        assert str(proxies(text)) == "none"


def test_peers_in_listed_networks_are_trusted() -> None:
    listed = proxies("10.0.3.0/24, fd00::/8 127.0.0.1")
    for peer in ("10.0.3.1", "fd00::5", "127.0.0.1", "::ffff:10.0.3.1", "::ffff:7f00:1"):
        assert listed.trusts(peer)
    for peer in ("10.0.4.1", "2a00::1", "127.0.0.2", "::1", "::ffff:10.0.4.1", "64:ff9b::10.0.3.1"):
        assert not listed.trusts(peer)
    assert str(listed) == "10.0.3.0/24 fd00::/8 127.0.0.1/32"


@pytest.mark.parametrize("peer", ["", "testclient", "/run/golb.sock"])
def test_a_peer_without_an_address_is_in_no_network(peer: str) -> None:
    assert not proxies("0.0.0.0/0 ::/0").trusts(peer)


@pytest.mark.parametrize("text", ["everyone", "all 10.0.0.0/8", "none,all", "10.0.3.1:8080", ","])
def test_what_names_neither_everyone_nor_no_one_nor_networks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        proxies(text)

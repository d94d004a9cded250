"""Where a new golb finds the running one."""

from __future__ import annotations

from golb.takeover.meeting import meeting_address


def test_each_place_has_an_address_of_its_own_however_long_its_name_is() -> None:
    hosts = ["127.0.0.1", "::1", "a" * 80, "a" * 81, "a" * 252 + "b", "a" * 253]
    addresses = {meeting_address(host, port) for host in hosts for port in (80, 65535)}
    assert len(addresses) == 2 * len(hosts)
    assert max(map(len, addresses)) <= 108

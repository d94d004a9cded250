"""Whose marks count, as golb sees its peers: what a mark is worth shows in whether a gateway may be chosen."""

from __future__ import annotations

import pytest
from support.other_server import ask
from support.pods import run_pods
from support.stack import running_golb

MARK = (b"x-forwarded-host-eb-b", b"1.0")
MARKED = b"GET /function/f HTTP/1.1\r\nHost: golb\r\nX-Forwarded-Host-Eb-B: 1.0\r\n\r\n"
BELIEVED, NOT_BELIEVED = 503, 200


@pytest.mark.parametrize(
    ("trusted", "status"),
    [
        ("all", BELIEVED),
        ("127.0.0.1", BELIEVED),
        ("10.0.3.0/24 127.0.0.0/8", BELIEVED),
        ("none", NOT_BELIEVED),
        ("127.0.0.2", NOT_BELIEVED),
        ("::/0", NOT_BELIEVED),
    ],
)
@pytest.mark.parametrize("listen_host", ["127.0.0.1", "::"])
async def test_a_peer_is_known_by_its_address_also_where_ipv6_is_listened_to(
    trusted: str, status: int, listen_host: str
) -> None:
    async with run_pods(1) as pods:
        gateway = pods[0].ip
        async with (
            running_golb(gateway, gateways=gateway, trusted_proxies=trusted, listen_host=listen_host) as golb,
            await golb.connect() as client,
        ):
            for _ in range(2):
                await client.send(MARKED)
                assert (await client.read_response()).status == status


@pytest.mark.parametrize(("trusted", "status"), [("all", BELIEVED), ("0.0.0.0/0 ::/0", NOT_BELIEVED)])
async def test_a_peer_without_an_address_is_trusted_only_if_all_are(trusted: str, status: int) -> None:
    async with run_pods(1) as pods:
        gateway = pods[0].ip
        async with running_golb(gateway, gateways=gateway, trusted_proxies=trusted) as golb:
            # As another server has it behind a Unix socket.
            sent = await ask(golb.handler, headers=[(b"host", b"golb"), MARK], client=None)
    assert sent[0]["status"] == status

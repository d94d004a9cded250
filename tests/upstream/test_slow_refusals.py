"""Failures to connect that take their time: a call does not wait through ten of them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio
from support.stack import running_golb

from golb.errors import NoConnection
from golb.weights import parse_endpoint

if TYPE_CHECKING:
    from golb.upstream import Pool

NAMES = [f"pod-{number}.example:80" for number in range(6)]


class Resolver(trio.abc.HostnameResolver):
    """Knows no name."""

    def __init__(self, takes_s: float) -> None:
        self._takes_s = takes_s
        self.questions = 0

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> list[Any]:
        del args, kwargs
        self.questions += 1
        await trio.sleep(self._takes_s)  # that it takes long is what is tested
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.mark.parametrize(("takes_s", "is_quick", "asked"), [(0.0, True, len(NAMES)), (0.15, False, 3)])
async def test_a_failure_to_connect_is_quick_only_if_it_came_so(takes_s: float, is_quick: bool, asked: int) -> None:  # noqa: FBT001 - a parameter
    resolver = Resolver(takes_s)
    trio.socket.set_custom_hostname_resolver(resolver)
    async with running_golb(*NAMES) as golb, await golb.connect() as client:
        await client.send(b"POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert (await client.read_response()).status == 502
        assert resolver.questions == asked
        pool: Pool = golb.upstream.open(parse_endpoint(NAMES[0]))
        with pytest.raises(NoConnection) as failure:
            await pool.connect()
        assert failure.value.quick is is_quick

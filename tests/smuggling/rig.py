"""A real golb, and the client's side of a case."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import trio
from attrs import frozen
from support.wire import Head, Message, Wire, connect

from smuggling.arrived import MARK, OWN_NAMES, check_arrival
from smuggling.case import arrives, fill_in
from smuggling.endpoint import plain_body, recording_endpoint

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Sequence

    from smuggling.arrived import Arrived
    from smuggling.case import AnswerCase, Arrival
    from smuggling.endpoint import RecordingEndpoint

# No case takes a tenth of it unless something hangs.
BOUND_S = 10.0
GOLB_NAMES = [b"X-Final-Host", b"X-Forwarded-For", MARK]
"""What golb puts in front of each answer to a function call."""
PROBE = b"GET /probe-"
_numbers = count(1)


@frozen
class Rig:
    """A golb whose only function, `f`, has one endpoint."""

    port: int
    """golb's."""
    listener: socket.socket
    """The endpoint's."""

    @property
    def authority(self) -> bytes:
        return b"127.0.0.1:%d" % self.listener.getsockname()[1]

    async def connect(self) -> Wire:
        return await connect(self.port)

    @asynccontextmanager
    async def endpoint(self, case: AnswerCase | None = None) -> AsyncIterator[RecordingEndpoint]:
        """Run the endpoint for one case, to which golb has no connection; bounds the time of what is done meanwhile."""
        with trio.fail_after(BOUND_S):
            async with recording_endpoint(self.listener, case) as endpoint:
                # The connection that the case before has left is closed, but golb may use it until it notices that.
                async with await self.connect() as client:
                    await call(client, arrives(target=b"/first"))
                endpoint.forget()
                yield endpoint

    def check(self, arrived: Sequence[Arrived], expected: Sequence[Arrival], name: str) -> None:
        """Compare all that reached the endpoint with all that had to."""
        assert [one.line for one in arrived] == [fill_in(wanted.line, name) for wanted in expected]
        for one, wanted in zip(arrived, expected, strict=True):
            check_arrival(one, wanted, name, self.authority)
            if wanted.line.startswith(PROBE):
                assert one.names() == OWN_NAMES


async def read_head(client: Wire) -> tuple[tuple[int, ...], Head]:
    """Return the statuses of what comes before the final answer, and that one's head."""
    interim = []
    while (head := await client.read_head()).status < 200 and head.status != 101:
        interim.append(head.status)
    return tuple(interim), head


async def read_body(client: Wire, head: Head, method: bytes) -> Message:
    """Read what is behind the head of an answer to a method, strictly.

    Raises:
        EOFError, trio.BrokenResourceError: it breaks off.
    """
    if method == b"HEAD" or head.status in (204, 304):
        return Message(head, b"")
    lengths, codings = head.values(b"Content-Length"), head.values(b"Transfer-Encoding")
    if codings:
        assert (codings, lengths) == ([b"chunked"], [])
        return Message(head, *await client.read_chunked())
    if lengths:
        assert len(lengths) == 1
        return Message(head, await client.read_exactly(int(lengths[0])))
    assert head.status == 101 or head.values(b"Connection") == [b"close"]
    return Message(head, await client.read_to_end())


async def probe(client: Wire) -> Arrival:
    """Make a plain call behind a case, see it answered as if there had been no case, and return how it has to arrive."""
    arrival = arrives(target=b"/probe-%d" % next(_numbers))
    await call(client, arrival)
    return arrival


async def call(client: Wire, arrival: Arrival) -> None:
    """Make a plain call, and see it answered."""
    await client.send(b"%b\r\nHost: golb\r\n\r\n" % arrival.line.replace(b"/", b"/function/f/", 1))
    interim, head = await read_head(client)
    message = await read_body(client, head, b"GET")
    assert (interim, head.status, message.body, message.trailers) == ((), 200, plain_body(arrival.line), [])
    assert head.names() == [*GOLB_NAMES, b"Content-Length"]


async def expect_close(client: Wire, *, may_break: bool = False) -> None:
    """See golb close the connection, with nothing more on it; `may_break` allows a reset, where it takes no answer along."""
    try:
        assert await client.read_to_end() == b""
    except trio.BrokenResourceError:
        if not may_break:
            raise

"""The relay does to connections what it says, and nothing to those it does not mean."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from support.relay import Relay, open_relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUND_S = 5.0


@asynccontextmanager
async def relay_to_echo() -> AsyncIterator[Relay]:
    """Yield a relay to a server that sends back what it gets."""

    async def echo(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
            async with open_relay(listeners[0].socket.getsockname()[1]) as relay:
                yield relay
            nursery.cancel_scope.cancel()


async def connect(relay: Relay) -> trio.SocketStream:
    """Connect, and show that bytes pass."""
    stream = await trio.open_tcp_stream("127.0.0.1", relay.port)
    assert await exchange(stream)
    return stream


async def exchange(stream: trio.SocketStream) -> bool:
    await stream.send_all(b"x")
    return await stream.receive_some() == b"x"


async def is_silent(stream: trio.SocketStream) -> bool:
    """Tell whether nothing at all comes, once every other task has done what it can."""
    await stream.send_all(b"y")
    with trio.move_on_after(0.1) as scope:
        await stream.receive_some()
    return scope.cancelled_caught


async def is_reset(stream: trio.SocketStream) -> bool:
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    return True


async def test_what_is_stopped_is_silent_and_flows_on_when_healed() -> None:
    async with relay_to_echo() as relay, await connect(relay) as stream:
        relay.stop_reading()
        assert await is_silent(stream)
        async with await trio.open_tcp_stream("127.0.0.1", relay.port) as late:
            assert await is_silent(late)
            relay.heal()
            assert await stream.receive_some() == b"y"
            assert await late.receive_some() == b"y"
            assert await exchange(stream)


async def test_only_connections_that_begin_with_a_mark_are_stopped_also_new_ones() -> None:
    async with relay_to_echo() as relay, await connect(relay) as marked:
        async with await trio.open_tcp_stream("127.0.0.1", relay.port) as other:
            await other.send_all(b"z")
            assert await other.receive_some() == b"z"
            relay.stop_reading_from(b"x")
            assert await is_silent(marked)
            assert await exchange(other)  # only how it began counts
        async with await trio.open_tcp_stream("127.0.0.1", relay.port) as late:
            await late.send_all(b"ax")
            assert await is_silent(late)
            relay.heal()
            assert await marked.receive_some() == b"y"
            assert (await late.receive_some()).startswith(b"ax")


async def test_what_is_forgotten_stays_silent_while_new_connections_pass() -> None:
    async with relay_to_echo() as relay, await connect(relay) as stream:
        relay.forget()
        assert await is_silent(stream)
        async with await connect(relay):
            assert relay.connections == 2
            assert relay.accepted == 2
            relay.heal()
            assert await is_reset(stream)


async def test_a_cut_connection_is_reset_and_a_new_one_passes() -> None:
    async with relay_to_echo() as relay, await connect(relay) as stream:
        relay.cut()
        assert await is_reset(stream)
        async with await connect(relay):
            pass


async def test_a_relay_that_refuses_is_there_again_at_the_same_port_when_healed() -> None:
    async with relay_to_echo() as relay, await connect(relay) as stream:
        relay.refuse()
        assert await is_reset(stream)
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", relay.port)
        relay.heal()
        async with await connect(relay):
            pass


async def test_a_delay_is_for_each_direction() -> None:
    async with relay_to_echo() as relay, await connect(relay) as stream:
        relay.delay(0.05)
        began = trio.current_time()
        assert await exchange(stream)
        assert trio.current_time() - began >= 0.1


async def test_what_one_end_closes_is_closed_at_the_other_without_a_reset() -> None:
    async with relay_to_echo() as relay, await connect(relay) as stream:
        await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_where_nobody_listens_a_connection_is_reset() -> None:
    async with open_relay(1) as relay, await trio.open_tcp_stream("127.0.0.1", relay.port) as stream:
        with trio.fail_after(BOUND_S):
            assert await is_reset(stream)

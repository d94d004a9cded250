"""Messages with descriptors: all arrive, or the channel is lost; and none is left open by whoever did not want it."""

from __future__ import annotations

import array
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from support.stack import BOUND_S
from takeover.running import another_user, descriptors

from golb.takeover.channel import DESCRIPTORS_AT_ONCE, Channel, ChannelLost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from golb.takeover.channel import Channel as Other

GARBAGE = {
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "no object": b"[1]",
    "no UTF-8": b'{"take": "\xff"}',
    "nested too deeply": b"[" * 60_000,
    "too long": b'{"take": "' + b"x" * 70_000 + b'"}',
    "nothing": b"",
}


@contextmanager
def channels() -> Iterator[tuple[Channel, Other]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Channel(one) as here, Channel(other) as there:
        yield here, there


@contextmanager
def channel_and_socket() -> Iterator[tuple[Channel, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Channel(one) as channel, other:
        yield channel, other


@contextmanager
def pipes(count: int) -> Iterator[list[int]]:
    """Make descriptors that may be passed."""
    found = [end for _ in range(count // 2) for end in os.pipe()]
    try:
        yield found
    finally:
        for descriptor in found:
            os.close(descriptor)


async def test_a_message_arrives_with_its_descriptors_which_are_passed_to_no_other_program() -> None:
    with channels() as (here, there), pipes(2) as (reader, writer), trio.fail_after(BOUND_S):
        await here.send({"sockets": "größe"}, [writer])
        message, received = await there.receive_descriptors()
        assert message == {"sockets": "größe"}
        (copy,) = received
        assert not os.get_inheritable(copy)
        os.write(copy, b"x")
        os.close(copy)
        assert os.read(reader, 1) == b"x"


async def test_as_many_descriptors_arrive_as_may_be_sent_at_once() -> None:
    with channels() as (here, there), pipes(DESCRIPTORS_AT_ONCE) as passed, trio.fail_after(BOUND_S):
        await here.send({}, passed)
        _, received = await there.receive_descriptors()
        assert [os.fstat(one).st_ino for one in received] == [os.fstat(one).st_ino for one in passed]
        for descriptor in received:
            os.close(descriptor)


async def test_descriptors_that_nobody_asked_for_are_closed() -> None:
    with channels() as (here, there), pipes(2) as passed, trio.fail_after(BOUND_S):
        before = descriptors()
        await here.send({"ready": True}, passed)
        assert await there.receive() == {"ready": True}
        assert descriptors() == before


@pytest.mark.parametrize("packet", GARBAGE.values(), ids=GARBAGE)
async def test_what_no_golb_sends_ends_the_channel_and_leaves_nothing_open(packet: bytes) -> None:
    with channel_and_socket() as (channel, peer), pipes(2) as passed, trio.fail_after(BOUND_S):
        before = descriptors()
        socket.send_fds(peer, [packet], passed)
        with pytest.raises(ChannelLost):
            await channel.receive_descriptors()
        assert descriptors() == before


async def test_fewer_descriptors_than_were_sent_are_none() -> None:
    with channel_and_socket() as (channel, peer), pipes(252) as passed, trio.fail_after(BOUND_S):
        before = descriptors()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))]
        peer.sendmsg([b'{"sockets": "here"}'], rights)
        with pytest.raises(ChannelLost, match="no room for so many descriptors"):
            await channel.receive_descriptors()
        assert descriptors() == before


async def test_the_end_of_the_other_process_is_told() -> None:
    with channel_and_socket() as (channel, peer), trio.fail_after(BOUND_S):
        peer.send(b'{"all": true}')
        peer.close()
        assert await channel.receive() == {"all": True}
        with pytest.raises(ChannelLost, match="has ended"):
            await channel.receive()
        with pytest.raises(ChannelLost):
            await channel.send({"ready": True})


async def test_what_the_other_process_said_before_it_ended_is_heard_though_it_had_not_read_everything() -> None:
    with channel_and_socket() as (channel, peer), trio.fail_after(BOUND_S):
        await channel.send({"ready": True})
        peer.send(b'{"no": "too late"}')
        peer.close()
        assert await channel.receive() == {"no": "too late"}
        with pytest.raises(ChannelLost, match="has ended"):
            await channel.receive()


async def test_a_descriptor_that_is_closed_is_not_sent() -> None:
    with channels() as (here, _), trio.fail_after(BOUND_S), pytest.raises(ChannelLost):
        await here.send({"sockets": "here"}, [-1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
async def test_only_the_same_user_and_root_are_trusted() -> None:
    with channels() as (here, _):
        assert here.is_trusted
    with another_user(), channels() as (here, _):
        assert here.peer_user == 65534
        assert here.is_trusted
        os.seteuid(0)
        assert not here.is_trusted

"""A new golb takes the place of a running one: at every moment one of them serves, whatever becomes of the other."""

from __future__ import annotations

import json
import os
import resource
import socket
from contextlib import ExitStack, suppress

import pytest
import structlog
import trio
from takeover.running import HOST, another_user, descriptors, giving, meet, offering, running
from trio.testing import wait_all_tasks_blocked

from golb.errors import ListenError
from golb.takeover import INHERITED, NOTHING_TAKEN, Taken, offer, take_over
from golb.takeover import giving as giving_module
from golb.takeover import taking as taking_module
from golb.takeover.channel import Channel
from golb.takeover.meeting import meeting_address

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
TAKE = b'{"take": {"pid": 1}}'


def close(taken: Taken, place: str) -> None:
    for sock in taken.sockets(place):
        sock.close()


# As it should be.


@pytest.mark.parametrize("is_found", [True, False])
async def test_the_sockets_arrive_and_nobody_finds_the_port_closed(is_found: bool) -> None:  # noqa: FBT001 - a case's value
    async with offering() as old, giving(old) as variables:
        if is_found:
            os.close(int(variables[INHERITED]))
            taken = await old.taken_by_asking()
        else:
            taken = await take_over(HOST, old.port, variables, is_wanted=False)
        (listener,) = taken.sockets(old.place)
        with listener, socket.create_connection((HOST, old.port)) as early:
            assert old.stops == 0
            await taken.confirm()
            assert old.stops == 1
            with socket.create_connection((HOST, old.port)) as late:
                for client in (early, late):
                    accepted, address = listener.accept()
                    accepted.close()
                    assert address == client.getsockname()
            assert not listener.get_inheritable()
            with listener.dup():
                assert not os.get_blocking(listener.fileno())  # nor does the old one's, whose flags are the same


async def test_more_sockets_than_one_message_holds_arrive_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_module, "DESCRIPTORS_AT_ONCE", 3)
    async with offering(listeners=7) as old:
        inodes = [os.fstat(listener.fileno()).st_ino for listener in old.listeners]
        taken = await old.taken_by_asking()
        sockets = taken.sockets(old.place)
        assert [os.fstat(sock.fileno()).st_ino for sock in sockets] == inodes
        await taken.confirm()
        for sock in sockets:
            sock.close()


async def test_sockets_of_places_where_the_new_one_does_not_listen_are_closed() -> None:
    async with offering() as old:
        before = descriptors()
        taken = await old.taken_by_asking()
        assert taken.sockets("elsewhere:1") == []
        await taken.confirm()
        await wait_all_tasks_blocked()
        assert descriptors().count("socket") < before.count("socket")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, old.port))


async def test_without_a_running_one_nothing_is_taken() -> None:
    with running() as old:
        taken = await old.taken_by_asking()
        assert taken is NOTHING_TAKEN
        await taken.settled()
        assert taken.sockets(old.place) == []
        await taken.confirm()


async def test_one_that_is_there_is_left_alone_unless_that_is_wanted() -> None:
    async with offering() as old:
        assert await take_over(HOST, old.port, {}, is_wanted=False) is NOTHING_TAKEN


async def test_one_that_has_been_taken_over_makes_room_for_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_module, "_OFFER_AGAIN_S", 0.01)
    async with offering() as old, trio.open_nursery() as nursery:
        taken = await old.taken_by_asking()
        (listener,) = taken.sockets(old.place)
        with running() as new:
            new.close()
            new.port, new.listeners = old.port, [listener]
            nursery.start_soon(offer, HOST, new.port, new.giver)
            await taken.confirm()
            await old.giver.given.wait()
            await trio.sleep(0.05)  # several times as long as until it looks again
            await wait_all_tasks_blocked()
            third = await new.taken_by_asking()
            close(third, new.place)
            await third.confirm()
            await new.giver.given.wait()


# One of them ends.


async def test_a_new_one_that_ends_before_it_is_ready_changes_nothing() -> None:
    async with offering() as old:
        before = descriptors()
        for _ in range(3):
            taken = await old.taken_by_asking()
            taken.close()
            await wait_all_tasks_blocked()
            assert descriptors() == before
        assert old.stops == 0
        taken = await old.taken_by_asking()
        close(taken, old.place)
        await taken.confirm()
        assert old.stops == 1


async def test_a_new_one_whose_start_is_cancelled_leaves_nothing_open() -> None:
    with running() as old, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hanging:
        hanging.bind(meeting_address(HOST, old.port))
        hanging.listen()
        before = descriptors()
        with trio.move_on_after(0.01):
            await old.taken_by_asking()
        assert descriptors() == before


async def test_one_that_is_told_to_end_as_the_new_one_gets_ready_leaves_its_place_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_to_end = trio.CancelScope()
    receive = Channel.receive

    async def receive_and_be_told(channel: Channel) -> dict[str, object]:
        message = await receive(channel)
        if "ready" in message:
            told_to_end.cancel()
        return message

    monkeypatch.setattr(Channel, "receive", receive_and_be_told)
    with running() as old:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Channel(ours) as channel:
            theirs.send(TAKE)
            theirs.send(b'{"ready": true}')
            theirs.settimeout(5)
            with told_to_end:
                await old.giver.give(channel)
            assert told_to_end.cancelled_caught
            messages = [json.loads(theirs.recv(65536)) for _ in range(3)]
        assert messages[-1] == {"no": "it is stopping"}
        assert old.stops == 0


async def test_a_new_one_that_ends_when_it_was_ready_ends_the_old_one_too() -> None:
    with running() as old:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Channel(ours) as channel, structlog.testing.capture_logs() as logs:
            theirs.send(TAKE)
            theirs.send(b'{"ready": true}')
            real_stop = old.stop

            async def stop() -> None:
                theirs.close()
                await real_stop()

            giver = giving_module.Giver(lambda: {old.place: old.listeners}, stop)
            assert await giver.give(channel)
        assert logs[-1]["log_level"] == "error"
        assert giver.given.is_set()


@pytest.mark.parametrize("when", ["before it has answered", "amid its sockets", "before it has stopped"])
async def test_where_the_old_one_ends_the_new_one_serves(when: str) -> None:
    with running() as old:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        async def end() -> None:
            await wait_all_tasks_blocked()
            if when != "before it has answered":
                socket.send_fds(ours, [json.dumps({"sockets": old.place}).encode()], [old.listeners[0].fileno()])
            if when == "before it has stopped":
                ours.send(b'{"all": true}')
                await wait_all_tasks_blocked()
            ours.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            taken = await take_over(HOST, old.port, {INHERITED: str(theirs.detach())}, is_wanted=False)
            sockets = taken.sockets(old.place)
            assert len(sockets) == (when != "before it has answered")
            await taken.confirm()
        for sock in sockets:
            sock.close()


# One of them is slow.


async def test_one_that_is_not_ready_in_time_must_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_module, "_READY_TIMEOUT_S", 0.3)
    async with offering() as old:
        taken = await old.taken_by_asking()
        await trio.sleep(0.4)
        with pytest.raises(ListenError, match=r"goes on: it was not ready within 0\.3 s"):
            await taken.confirm()
        assert old.stops == 0
        monkeypatch.undo()
        taken = await old.taken_by_asking()
        close(taken, old.place)
        await taken.confirm()
        assert old.stops == 1


async def test_a_second_one_is_refused_and_told_why() -> None:
    async with offering() as old:
        first = await old.taken_by_asking()
        before = descriptors()
        with pytest.raises(ListenError, match=f"{old.place} cannot be taken over: another one takes over"):
            await old.taken_by_asking()
        await wait_all_tasks_blocked()
        assert descriptors() == before
        close(first, old.place)
        await first.confirm()
        assert old.stops == 1


async def test_those_who_connect_and_say_nothing_keep_nobody_from_it() -> None:
    async with offering() as old:
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(meet(old.port))
                await wait_all_tasks_blocked()
            taken = await old.taken_by_asking()
            close(taken, old.place)
            await taken.confirm()
            assert old.stops == 1


async def test_an_old_one_that_does_not_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_module, "_ANSWER_TIMEOUT_S", 0.05)
    with running() as old, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hanging:
        hanging.bind(meeting_address(HOST, old.port))
        hanging.listen(1)
        before = descriptors()
        with pytest.raises(ListenError, match=r"cannot be taken over: it has not answered for 0\.05 s"):
            await old.taken_by_asking()
        assert descriptors() == before
        with ExitStack() as stack:
            fill_backlog(stack, old.port)
            with pytest.raises(ListenError, match="too many ask it, or it hangs"):
                await old.taken_by_asking()


async def test_where_an_old_one_hangs_that_has_given_its_sockets_the_new_one_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(taking_module, "_ANSWER_TIMEOUT_S", 0.3)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(b'{"all": true}')
        taken = await take_over(HOST, 1, {INHERITED: str(theirs.detach())}, is_wanted=False)
        with structlog.testing.capture_logs() as logs:
            await taken.confirm()
        assert logs[-1]["event"] == "the golb to take over from does not answer"


def fill_backlog(stack: ExitStack, port: int) -> None:
    """Connect until no more have room before they are accepted."""
    with suppress(BlockingIOError):
        while True:
            stack.enter_context(meet(port))


# Others.


@pytest.mark.parametrize(
    "packet",
    [b"GET / HTTP/1.1\r\n\r\n", b"[" * 60_000, b'"take"', b'{"ready": true}', b'{"take": ["event"]}', b"{}"],
    ids=["HTTP", "deep", "string", "ready", "odd", "empty"],
)
async def test_garbage_harms_nobody(packet: bytes) -> None:
    async with offering() as old:
        before = descriptors()
        for _ in range(5):
            with meet(old.port) as peer:
                socket.send_fds(peer, [packet], [peer.fileno()])
                await wait_all_tasks_blocked()
                socket.send_fds(peer, [packet], [peer.fileno()]) if packet == b'{"take": ["event"]}' else None
            await wait_all_tasks_blocked()
        assert descriptors() == before
        assert old.stops == 0
        taken = await old.taken_by_asking()
        close(taken, old.place)
        await taken.confirm()
        assert old.stops == 1


@only_root
async def test_another_user_is_refused() -> None:
    async with offering() as old:
        with another_user():
            peer = meet(old.port)
        with structlog.testing.capture_logs() as logs:
            await wait_all_tasks_blocked()
            with pytest.raises(ListenError, match="cannot be taken over: it belongs to another user"):
                await take_over(HOST, old.port, {INHERITED: str(peer.detach())}, is_wanted=True)
        assert logs[0]["user"] == 65534
        assert old.stops == 0


@only_root
async def test_nothing_is_taken_from_another_user() -> None:
    with running() as old, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        with another_user():
            other.bind(meeting_address(HOST, old.port))
            other.listen()
        with pytest.raises(ListenError, match="it belongs to another user, 65534"):
            await old.taken_by_asking()


async def test_a_golb_without_a_descriptor_left_can_be_taken_over_when_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(giving_module, "_SHORTAGE_PAUSE_S", 0.01)
    async with offering() as old:
        with meet(old.port) as peer, structlog.testing.capture_logs() as logs:
            with no_descriptors():
                await wait_all_tasks_blocked()
            assert logs[0]["cause"] == "Too many open files"
            peer.send(TAKE)
            with trio.socket.from_stdlib_socket(peer.dup()) as answers:
                assert json.loads(await answers.recv(1000)) == {"sockets": old.place}


def no_descriptors() -> ExitStack:
    """Have none left until it is closed."""
    stack = ExitStack()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, hard))
    stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    stack.callback(os.close, last)
    return stack


def taken_by_a_pair() -> tuple[Taken, socket.socket]:
    """Return what is taken of a golb that gives nothing, and that one's end of the channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Taken(Channel(ours)), theirs


async def test_nothing_is_settled_before_the_old_one_is_gone() -> None:
    taken, theirs = taken_by_a_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(taken.settled)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        theirs.close()
    await taken.confirm()


async def test_a_refusal_settles_it_and_is_told_by_confirm() -> None:
    taken, theirs = taken_by_a_pair()
    with theirs:
        theirs.send(b'{"no": "it is stopping"}')
        await taken.settled()
        await taken.settled()
        with pytest.raises(ListenError, match="goes on: it is stopping"):
            await taken.confirm()

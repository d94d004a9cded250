"""What the parent does for a worker that is away: connections go to the others, and none is lost."""

from __future__ import annotations

import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from golb.server.spread import Spread, cells
from golb.service import understudy
from golb.service.understudy import Understudies, stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BOUND_S = 10.0
AWAY, OTHER = 0, 1


@frozen
class Workers:
    """Two, of which one is away; the other says what it takes."""

    listener: socket.socket
    """Of the one that is away."""
    away: Spread
    other: Spread
    mailboxes: list[tuple[socket.socket, socket.socket]]
    counts: memoryview

    @property
    def outbox(self) -> socket.socket:
        """To the one that is away."""
        return self.mailboxes[AWAY][1]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname())

    async def taken_by(self, worker: Spread) -> socket.socket:
        """Wait until a connection is passed to a worker, and return it."""
        with trio.fail_after(BOUND_S):
            await trio.lowlevel.wait_readable(worker.inbox)
            (sock,) = worker.take(1)
            return sock


@pytest.fixture
def workers() -> Iterator[Workers]:
    with open_workers() as opened:
        yield opened


@contextmanager
def open_workers() -> Iterator[Workers]:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    for pair in pairs:
        for sock in pair:
            sock.setblocking(False)
    counts = memoryview(bytearray(8 * cells(2))).cast("q")
    outboxes = [outbox for _, outbox in pairs]
    away, other = (Spread(index, counts, pairs[index][0], outboxes) for index in (AWAY, OTHER))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Workers(listener, away, other, pairs, counts)
    for pair in pairs:
        for sock in pair:
            sock.close()


async def test_connections_go_to_a_worker_that_takes_some(workers: Workers) -> None:
    workers.other.publish(1000)  # however many it has
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_in, [workers.listener], workers.away, workers.outbox)
        for number in range(3):
            with workers.connect() as client:
                client.sendall(b"%d" % number)
                with await workers.taken_by(workers.other) as taken:
                    assert taken.recv(1) == b"%d" % number
        nursery.cancel_scope.cancel()


async def test_where_no_worker_takes_any_they_wait_in_the_socket(workers: Workers) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_in, [workers.listener], workers.away, workers.outbox)
        with workers.connect() as client:
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            accepted, address = workers.listener.accept()
            with accepted:
                assert address == client.getsockname()


async def test_what_was_passed_to_it_goes_to_another_worker_too(workers: Workers) -> None:
    workers.other.publish(0)
    with workers.connect() as client:
        accepted, _ = workers.listener.accept()
        with accepted:
            socket.send_fds(workers.outbox, [b"\0"], [accepted.fileno()])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand_in, [workers.listener], workers.away, workers.outbox)
            with await workers.taken_by(workers.other) as taken:
                assert taken.getpeername() == client.getsockname()
            nursery.cancel_scope.cancel()


async def test_what_the_other_worker_has_no_room_for_waits_for_the_one_that_comes_back(workers: Workers) -> None:
    workers.other.publish(0)
    outbox = workers.other.inbox.dup()
    with outbox, workers.away.inbox.dup() as inbox:
        outbox.shutdown(socket.SHUT_RD)  # whoever writes to it fails
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand_in, [workers.listener], workers.away, workers.outbox)
            with workers.connect() as client:
                with trio.fail_after(BOUND_S):
                    await trio.lowlevel.wait_readable(inbox)
                nursery.cancel_scope.cancel()
                (taken,) = workers.away.take(1)
                with taken:
                    assert taken.getpeername() == client.getsockname()


# All of them.


@asynccontextmanager
async def understudies(workers: Workers) -> AsyncIterator[Understudies]:
    """Run those of two workers that share a listening socket."""
    made = Understudies([[workers.listener]] * 2, workers.mailboxes, workers.counts)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()
    made.dismiss()


async def test_nobody_passes_anything_to_a_worker_that_is_away(workers: Workers) -> None:
    workers.away.publish(0)
    assert workers.other.has_taker()
    async with understudies(workers) as made:
        made.begin(AWAY)
        assert not workers.other.has_taker()


async def test_workers_that_share_a_socket_may_be_away_together(workers: Workers) -> None:
    async with understudies(workers) as made:
        made.begin(OTHER)
        made.begin(AWAY)
        await wait_all_tasks_blocked()
        made.end(OTHER)
        workers.other.publish(0)
        with workers.connect() as client, await workers.taken_by(workers.other) as taken:
            assert taken.getpeername() == client.getsockname()


async def assert_left_to_the_worker(workers: Workers) -> None:
    """See that nobody else takes a connection that comes now."""
    with workers.connect() as client:
        await wait_all_tasks_blocked()
        accepted, address = workers.listener.accept()
        with accepted:
            assert address == client.getsockname()


async def test_one_that_answers_again_has_its_connections_for_itself(workers: Workers) -> None:
    workers.other.publish(0)
    async with understudies(workers) as made:
        made.begin(AWAY)
        await wait_all_tasks_blocked()
        made.end(AWAY)
        await assert_left_to_the_worker(workers)


async def test_at_the_end_what_waits_is_passed_on_first_and_what_comes_later_is_not(workers: Workers) -> None:
    workers.other.publish(0)
    async with understudies(workers) as made:
        made.begin(AWAY)
        with ExitStack() as stack:
            clients = {stack.enter_context(workers.connect()).getsockname() for _ in range(50)}
            await made.finish()
            made.dismiss()
            taken = [stack.enter_context(sock) for sock in workers.other.take(100)]
            assert {sock.getpeername() for sock in taken} == clients
        made.begin(OTHER)
        await assert_left_to_the_worker(workers)


async def test_the_end_does_not_wait_for_long_where_nobody_takes_anything(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(understudy, "_LAST_TIMEOUT_S", 0.05)
    async with understudies(workers) as made:
        made.begin(AWAY)
        with workers.connect(), trio.fail_after(BOUND_S):
            await made.finish()

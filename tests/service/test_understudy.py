"""What the parent does for a worker that is away: connections go to the others, and none is lost."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from golb.server.spread import Spread, cells
from golb.service.understudy import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND_S = 10.0
AWAY, OTHER = 0, 1


@frozen
class Workers:
    """Two, of which one is away; the other says what it takes."""

    listener: socket.socket
    """Of the one that is away."""
    away: Spread
    other: Spread
    outbox: socket.socket
    """To the one that is away."""

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
        yield Workers(listener, away, other, outboxes[AWAY])
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


async def test_what_the_other_worker_has_no_room_for_waits_for_the_one_that_comes_back(workers: Workers) -> None:
    workers.other.publish(0)
    outbox = socket.socket(fileno=socket.dup(workers.other.inbox.fileno()))
    with outbox:
        outbox.shutdown(socket.SHUT_RD)  # whoever writes to it fails
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand_in, [workers.listener], workers.away, workers.outbox)
            with workers.connect() as client, await workers.taken_by(workers.away) as taken:
                assert taken.getpeername() == client.getsockname()
            nursery.cancel_scope.cancel()

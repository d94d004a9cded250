"""Connections spread over workers: who passes one on, to whom, and that none is lost on its way.

The workers are servers in one process, each with a listening socket of its own; what they share is what processes share.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import evolve, frozen
from support.stack import BOUND_S, make_config
from support.tls import make_tls_files
from support.wire import Wire, connect

from golb.deadlines import Deadlines
from golb.poller import Poller
from golb.server import Server
from golb.server.listening import open_sockets
from golb.server.spread import Spread, cells, withdraw

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from golb.asgi import Receive, Scope, Send
    from golb.config import Config

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@frozen
class Shared:
    """What whoever starts the workers makes for them."""

    counts: memoryview
    inboxes: list[socket.socket]
    outboxes: list[socket.socket]

    def spread(self, index: int) -> Spread:
        return Spread(index, self.counts, self.inboxes[index], self.outboxes)


@contextmanager
def shared_by(workers: int) -> Iterator[Shared]:
    with ExitStack() as stack:
        inboxes: list[socket.socket] = []
        outboxes: list[socket.socket] = []
        for _ in range(workers):
            inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for sock, group in ((inbox, inboxes), (outbox, outboxes)):
                sock.setblocking(False)
                group.append(stack.enter_context(sock))
        yield Shared(memoryview(bytearray(8 * cells(workers))).cast("q"), inboxes, outboxes)


@contextmanager
def client_socket() -> Iterator[socket.socket]:
    """Return a socket that may be passed on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def take_all(spread: Spread) -> int:
    """Take what is in the inbox, and return how many connections that were."""
    taken = list(spread.take(1000))
    for sock in taken:
        sock.close()
    return len(taken)


# Who passes to whom.


@pytest.mark.parametrize(
    ("own", "other", "passes"),
    [
        (0, 0, False),
        (3, 0, False),
        (4, 0, True),
        (9, 6, False),
        (9, 5, True),
        (90, 61, False),
        (90, 60, True),
        (3000, 2001, False),
        (3000, 2000, True),
        (4, 100, False),
    ],
)
def test_a_connection_is_passed_to_a_worker_that_has_noticeably_fewer(own: int, other: int, *, passes: bool) -> None:
    with shared_by(2) as shared, client_socket() as sock:
        shared.spread(1).publish(other)
        assert shared.spread(0).pass_on(sock, own) == passes
        assert take_all(shared.spread(1)) == passes


def test_it_is_passed_to_the_worker_that_has_fewest() -> None:
    with shared_by(4) as shared, client_socket() as sock:
        for worker, open_connections in enumerate((20, 9, 4, 6)):
            shared.spread(worker).publish(open_connections)
        assert shared.spread(0).pass_on(sock, 20)
        assert [take_all(shared.spread(worker)) for worker in range(4)] == [0, 0, 1, 0]


def test_what_is_on_its_way_counts() -> None:
    with shared_by(3) as shared, client_socket() as sock:
        workers = [shared.spread(worker) for worker in range(3)]
        workers[1].publish(0)
        workers[2].publish(2)
        kept = 0
        for _ in range(24):
            if not workers[0].pass_on(sock, kept):
                kept += 1
        taken = [take_all(worker) for worker in workers]
        assert kept + sum(taken) == 24
        assert taken[0] == 0
        assert max(kept, taken[1], taken[2] + 2) - min(kept, taken[1], taken[2] + 2) <= 4


def test_what_is_on_its_way_to_a_worker_counts_as_its_own() -> None:
    with shared_by(2) as shared, client_socket() as sock:
        first, second = shared.spread(0), shared.spread(1)
        first.publish(0)
        second.publish(9)
        for _ in range(5):
            assert second.pass_on(sock, 9)
        second.publish(0)
        assert first.pass_on(sock, 0)


@pytest.mark.parametrize("how", ["not there yet", "withdrawn", "found dead"])
def test_nothing_is_passed_to_a_worker_that_takes_nothing(how: str) -> None:
    with shared_by(2) as shared, client_socket() as sock:
        other = shared.spread(1)
        if how != "not there yet":
            other.publish(0)
            assert shared.spread(0).has_taker()
        if how == "withdrawn":
            other.withdraw()
        elif how == "found dead":
            withdraw(shared.counts, 2, 1)
        worker = shared.spread(0)
        assert not worker.has_taker()
        assert not worker.pass_on(sock, 100)
        assert not worker.pass_on(sock, 100, is_full=True)


def test_a_full_worker_passes_to_any_that_takes_more() -> None:
    with shared_by(2) as shared, client_socket() as sock:
        shared.spread(1).publish(50)
        assert shared.spread(0).pass_on(sock, 10, is_full=True)


def test_a_worker_keeps_what_another_one_has_no_room_for_at_the_moment() -> None:
    with shared_by(2) as shared, client_socket() as sock:
        worker, other = shared.spread(0), shared.spread(1)
        other.publish(0)
        passed = 0
        while worker.pass_on(sock, 1_000_000):
            passed += 1
        assert passed > 0
        for taken in other.take(1):
            taken.close()
        # What could not be passed is not on its way.
        assert worker.pass_on(sock, next(own for own in count() if own - max(4, own // 3) == passed - 1))
        assert take_all(other) == passed


def test_counts_that_a_killed_worker_left_wrong_are_mended() -> None:
    with shared_by(2) as shared, client_socket() as sock:
        worker, other = shared.spread(0), shared.spread(1)
        other.publish(0)
        assert worker.pass_on(sock, 4)
        _, descriptors, _, _ = socket.recv_fds(shared.inboxes[1], 1, 1)  # by one that is killed before it has counted
        os.close(descriptors[0])
        assert not worker.pass_on(sock, 4)
        assert take_all(other) == 0
        assert worker.pass_on(sock, 4)


def test_an_inbox_to_which_nobody_is_left_to_pass_is_closed() -> None:
    with shared_by(2) as shared:
        spread = shared.spread(0)
        shared.outboxes[0].close()
        assert take_all(spread) == 0
        assert spread.is_closed


# Servers that do.


@frozen
class Worker:
    server: Server
    port: int
    stopped: trio.Event


async def tell_client(scope: Scope, receive: Receive, send: Send) -> None:
    text = f"{scope['client'][1]} {scope['scheme']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@asynccontextmanager
async def running_workers(
    shared: Shared, config: Config | None = None, *, shares_port: bool = False
) -> AsyncIterator[list[Worker]]:
    """Run a server for each, at a port of its own or all at the same one."""
    config = config or make_config()
    poller, deadlines = Poller(), Deadlines()
    workers = []
    with trio.fail_after(BOUND_S), ExitStack() as stack:
        if shares_port:  # a port that nobody else gets
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            config = evolve(config, listen_port=holder.getsockname()[1])
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            await nursery.start(deadlines.run)
            for index in range(len(shared.inboxes)):
                server = Server(config, tell_client, poller, deadlines, spread=shared.spread(index))
                sockets = open_sockets(config, shares_port=shares_port)
                worker = Worker(server, sockets[0].getsockname()[1], trio.Event())
                await nursery.start(run_worker, worker, sockets)
                workers.append(worker)
            yield workers
            nursery.cancel_scope.cancel()


async def run_worker(worker: Worker, sockets: list[socket.socket], task_status: trio.TaskStatus[None]) -> None:
    await worker.server.run(sockets, task_status=task_status)
    worker.stopped.set()


async def ask(client: Wire, scheme: str = "http") -> list[bytes]:
    """Make a request, and see that the server knows who makes it; return what its answer says of the connection."""
    await client.send(GET)
    response = await client.read_response()
    stream = client.stream.transport_stream if isinstance(client.stream, trio.SSLStream) else client.stream
    assert response.body == f"{stream.socket.getsockname()[1]} {scheme}".encode()
    return response.head.values(b"Connection")


async def connect_and_ask(stack: ExitStack, port: int, count: int, context: ssl.SSLContext | None = None) -> list[Wire]:
    """Open connections that stay, one after the other."""
    clients = []
    for _ in range(count):
        client = await connect(port, context)
        stack.callback(_close, client)
        assert await ask(client, "http" if context is None else "https") == []
        clients.append(client)
    return clients


def _close(client: Wire) -> None:
    stream = client.stream.transport_stream if isinstance(client.stream, trio.SSLStream) else client.stream
    stream.socket.close()


def pass_connection(stack: ExitStack, shared: Shared, *, to: int) -> Wire:
    """Let a connection be on its way to a worker, as if the other one had accepted it; return the client's end."""
    spread = shared.spread(1 - to)
    if not spread.has_taker():
        shared.spread(to).publish(0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        with listener.accept()[0] as accepted:
            assert spread.pass_on(accepted, 100)
    return wire(client)


def wire(sock: socket.socket) -> Wire:
    return Wire(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))


async def wait_for_clients(workers: list[Worker], count: int) -> None:
    while sum(opened(workers)) != count:
        await trio.lowlevel.checkpoint()


def opened(workers: list[Worker]) -> list[int]:
    return [worker.server.admission.open for worker in workers]


async def test_sixteen_connections_that_stay_are_spread_ten_to_six_or_better() -> None:
    with shared_by(2) as shared:
        async with running_workers(shared, shares_port=True) as workers:
            for _ in range(20):
                with ExitStack() as stack:
                    await connect_and_ask(stack, workers[0].port, 16)
                    assert sum(opened(workers)) == 16
                    assert max(opened(workers)) <= 10
                await wait_for_clients(workers, 0)


async def test_a_burst_at_one_worker_is_spread_before_another_one_has_seen_any_of_it() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        async with running_workers(shared) as workers:
            # The kernel accepts them all before the worker has its turn.
            address = ("127.0.0.1", workers[0].port)
            socks = [stack.enter_context(socket.create_connection(address)) for _ in range(16)]
            await wait_for_clients(workers, 16)
            assert max(opened(workers)) <= 10
            for sock in socks:
                await ask(wire(sock))


async def test_a_new_connection_for_each_request_is_not_passed_on() -> None:
    with shared_by(2) as shared:
        async with running_workers(shared) as workers:
            for _ in range(50):
                async with await connect(workers[0].port) as client:
                    await ask(client)
                await wait_for_clients(workers, 0)
            assert [worker.server.admission.accepted for worker in workers] == [50, 0]


async def test_a_connection_that_was_passed_on_is_never_passed_on_again() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        async with running_workers(shared) as workers:
            shared.spread(0).withdraw()
            await connect_and_ask(stack, workers[1].port, 6)
            shared.spread(0).publish(0)
            client = pass_connection(stack, shared, to=1)
            await ask(client)
            assert opened(workers) == [0, 7]


async def test_tls_begins_where_the_connection_is_served(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    with shared_by(2) as shared:
        async with running_workers(shared, make_config(**tls.variables)) as workers:
            with ExitStack() as stack:
                await connect_and_ask(stack, workers[0].port, 8, tls.client_context())
                assert opened(workers) == [6, 2]


async def test_a_full_worker_has_its_connections_served_by_another_one() -> None:
    with shared_by(2) as shared:
        async with running_workers(shared, make_config(max_connections="2")) as workers:
            with ExitStack() as stack:
                await connect_and_ask(stack, workers[0].port, 4)
                assert opened(workers) == [2, 2]
                assert [worker.server.admission.closed_for_room for worker in workers] == [0, 0]


async def test_a_full_worker_whose_neighbour_hangs_takes_no_more_than_one_too_many() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        async with running_workers(shared, make_config(max_connections="2", keep_alive_timeout="1h")) as workers:
            shared.spread(1).withdraw()
            await connect_and_ask(stack, workers[0].port, 2)
            shared.outboxes[1].close()  # nothing can be passed there
            shared.spread(1).publish(0)
            admission = workers[0].server.admission
            for _ in range(4):
                stack.enter_context(socket.create_connection(("127.0.0.1", workers[0].port)))
            while not admission.delayed:
                await trio.lowlevel.checkpoint()
            assert admission.open == 3


async def test_nothing_is_passed_to_a_full_worker() -> None:
    with shared_by(2) as shared:
        async with running_workers(shared) as workers:
            workers[1].server.reconfigure(make_config(max_connections="1"))
            with ExitStack() as stack:
                await connect_and_ask(stack, workers[0].port, 8)
                assert opened(workers) == [7, 1]


async def test_a_client_that_has_gone_on_its_way_takes_no_place() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        async with running_workers(shared) as workers:
            gone = pass_connection(stack, shared, to=1)
            await gone.reset()
            await ask(pass_connection(stack, shared, to=1))
            assert workers[1].server.admission.accepted == 1


async def test_a_worker_that_somebody_has_withdrawn_is_passed_connections_again_once_it_has_said_so() -> None:
    with shared_by(2) as shared:
        async with running_workers(shared) as workers:
            withdraw(shared.counts, 2, 1)
            assert not shared.spread(0).has_taker()
            workers[1].server.publish_load()
            assert shared.spread(0).has_taker()
            workers[1].server.drain()
            workers[1].server.publish_load()
            assert not shared.spread(0).has_taker()


# The end of a worker.


async def test_a_worker_that_drains_serves_what_was_passed_to_it_and_gets_no_more() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        async with running_workers(shared) as workers:
            client = pass_connection(stack, shared, to=1)
            workers[1].server.drain()
            assert not shared.spread(0).has_taker()
            assert await ask(client) == [b"close"]
            await connect_and_ask(stack, workers[0].port, 8)
            assert opened(workers)[0] == 8


async def test_what_waits_in_the_inbox_of_a_dead_worker_is_served_by_the_next_one() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        clients = [pass_connection(stack, shared, to=1) for _ in range(3)]
        withdraw(shared.counts, 2, 1)
        async with running_workers(shared) as workers:
            for client in clients:
                await ask(client)
            assert opened(workers) == [0, 3]


async def test_a_worker_serves_on_when_nobody_is_left_to_pass_to_it() -> None:
    with shared_by(2) as shared, ExitStack() as stack:
        async with running_workers(shared) as workers:
            for outbox in shared.outboxes:
                outbox.close()
            await connect_and_ask(stack, workers[0].port, 8)
            assert opened(workers) == [8, 0]

"""A TCP stream against the kernel: what leaves and in which order, who waits and who is woken, what a failure looks like."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from attrs import frozen

from golb.fibers import Fiber
from golb.pipes import Pipe
from golb.sockets import SocketStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from golb.poller import Poller

BOUND_S = 5
LATER_BYTES = 16384
LARGE = bytes(range(256)) * 4096  # a MiB: more than the buffers below hold
RESET = struct.pack("ii", 1, 0)


@frozen
class Ends:
    """A stream over TCP, and its peer: a socket that does nothing by itself."""

    stream: SocketStream
    peer: socket.socket
    poller: Poller

    def reset_by_peer(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.peer.close()

    def break_writing(self) -> None:
        """Let writes fail with EPIPE, of which the peer knows nothing and a reader would not be told."""
        self.stream.socket.shutdown(socket.SHUT_WR)

    def fill(self) -> bytes:
        """Write until the socket takes no more; return what it took."""
        taken = 0
        while sent := self.stream.send_now(LARGE[taken % 256 : taken % 256 + 65536]):
            taken += sent
        return (LARGE * (1 + taken // len(LARGE)))[:taken]

    async def read_to_end(self) -> bytes:
        """Read what the peer gets until the end of the stream."""
        parts = []
        while data := await self._receive():
            parts.append(data)
        return b"".join(parts)

    async def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self._receive()
            assert more, f"the end came {count - len(data)} bytes too early"
            data += more
        assert len(data) == count
        return data

    async def _receive(self) -> bytes:
        await trio.lowlevel.wait_readable(self.peer)
        return self.peer.recv(65536)


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect two sockets over loopback; their buffers are small, so that they are soon full."""
    with socket.socket() as listener, socket.socket() as ours:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
        with theirs:
            theirs.setblocking(False)
            yield ours, theirs


@pytest.fixture
async def ends(poller: Poller) -> AsyncIterator[Ends]:
    with tcp_pair() as (ours, theirs):
        stream = SocketStream(ours, poller)
        with trio.fail_after(BOUND_S):
            yield Ends(stream, theirs, poller)
        stream.abort()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def fill_pipe(pipe: Pipe, data: bytes) -> None:
    """Put bytes into a pipe, by way of a socket as golb does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(data)
        moved = 0
        while moved < len(data):
            moved += pipe.fill(ours.fileno(), len(data) - moved)


# What leaves later.


async def test_a_small_message_leaves_at_the_end_of_the_round(ends: Ends) -> None:
    assert ends.stream.send_later(b"hello")
    with pytest.raises(BlockingIOError):
        ends.peer.recv(10)
    assert (ends.stream.is_flushed, ends.stream.has_sent) == (False, False)
    await trio.lowlevel.checkpoint()
    assert ends.peer.recv(10) == b"hello"
    assert (ends.stream.is_flushed, ends.stream.has_sent) == (True, True)


async def test_a_stream_leaves_for_later_one_small_message(ends: Ends) -> None:
    assert not ends.stream.send_later(bytes(LATER_BYTES + 1))
    assert ends.stream.is_flushed
    assert ends.stream.send_later(bytes(LATER_BYTES))
    assert not ends.stream.send_later(b"second")
    assert await ends.read_exactly(LATER_BYTES) == bytes(LATER_BYTES)
    assert ends.stream.send_later(b"second")
    assert await ends.read_exactly(6) == b"second"


# An end waits for room; an abort does not, and all it sends has to fit.
@pytest.mark.parametrize(("end", "length"), [("send_eof", len(LARGE)), ("abort", 20_000), ("aclose", 20_000)])
async def test_what_was_to_leave_later_leaves_before_what_is_written_now(ends: Ends, end: str, length: int) -> None:
    stream = ends.stream

    async def write() -> None:
        assert stream.send_later(b"first")
        await stream.send_all(LARGE[:length])
        assert stream.send_later(b"last")
        if end == "abort":
            stream.abort()
        else:
            await getattr(stream, end)()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        received = await ends.read_to_end()
    assert received == b"first" + LARGE[:length] + b"last"


async def test_small_messages_among_large_ones_arrive_in_order(ends: Ends, pipe: Pipe) -> None:
    stream = ends.stream
    pieces = [
        bytes([index]) * size for index, size in enumerate([1, 65536, 16384, 16385, 3, 200_000, 7, 131_072, 2, 9])
    ]

    async def write() -> None:
        for piece in pieces:
            if len(piece) == 131_072:
                fill_pipe(pipe, piece)
                await stream.send_from(pipe, lambda: None)
            elif not stream.send_later(piece):
                await stream.send_all(piece)
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        received = await ends.read_to_end()
    assert received == b"".join(pieces)


async def test_what_a_full_socket_did_not_take_leaves_when_there_is_room(ends: Ends) -> None:
    filling = ends.fill()
    assert ends.stream.send_later(bytes(LATER_BYTES))
    await trio.testing.wait_all_tasks_blocked()
    assert not ends.stream.is_flushed
    assert not ends.stream.send_later(b"more")
    assert ends.stream.send_now(b"more") == 0  # it would overtake what waits
    assert await ends.read_exactly(len(filling) + LATER_BYTES) == filling + bytes(LATER_BYTES)
    assert ends.stream.is_flushed


@pytest.mark.parametrize("later", [1, LATER_BYTES])
async def test_the_end_waits_behind_what_a_full_socket_did_not_take(ends: Ends, later: int) -> None:
    filling = ends.fill()
    ended = trio.Event()

    async def send_eof() -> None:
        await ends.stream.send_eof()
        ended.set()

    assert ends.stream.send_later(b"z" * later)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_eof)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        assert await ends.read_to_end() == filling + b"z" * later


async def test_all_that_the_socket_holds_arrives_before_an_abort(ends: Ends) -> None:
    filling = ends.fill()
    ends.stream.abort()
    assert await ends.read_to_end() == filling


async def test_streams_that_fail_or_close_before_the_flush_leave_the_others_theirs(poller: Poller) -> None:
    with tcp_pair() as a, tcp_pair() as b, tcp_pair() as c, tcp_pair() as d:
        before, failing, closing, behind = streams = [SocketStream(ours, poller) for ours, _ in (a, b, c, d)]
        await trio.testing.wait_all_tasks_blocked()
        for stream in streams:
            assert stream.send_later(b"hello")
        b[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        b[1].close()
        closing.abort()
        await trio.lowlevel.checkpoint()
        for _, theirs in (a, c, d):
            assert theirs.recv(10) == b"hello"
        assert c[1].recv(10) == b""
        assert [stream.has_sent for stream in streams] == [True, False, True, True]
        with pytest.raises(trio.BrokenResourceError):
            await failing.receive_some()
        # The poller goes on.
        assert before.send_later(b"again")
        a[1].send(b"answer")
        assert await before.receive_some() == b"answer"
        assert a[1].recv(10) == b"again"
        for stream in (before, failing, behind):
            stream.abort()


async def test_a_descriptor_that_is_used_again_before_the_flush_gets_nothing_of_the_old_ones(poller: Poller) -> None:
    with tcp_pair() as (ours, theirs), tcp_pair() as (others, others_peer):
        old, number = SocketStream(ours, poller), ours.fileno()
        assert old.send_later(b"for the old one")
        old.abort()
        os.dup2(others.fileno(), number)
        others.close()
        new = SocketStream(socket.socket(fileno=number), poller)
        assert new.send_later(b"for the new one")
        await trio.lowlevel.checkpoint()
        assert others_peer.recv(100) == b"for the new one"
        assert theirs.recv(100) == b"for the old one"
        others_peer.send(b"answer")
        assert await new.receive_some() == b"answer"
        new.abort()


# Writers and readers that wait.


async def test_a_writer_waits_for_a_peer_that_does_not_read_and_is_woken(ends: Ends) -> None:
    written = trio.Event()

    async def write() -> None:
        await ends.stream.send_all(LARGE)
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert not written.is_set()
        assert await ends.read_exactly(len(LARGE)) == LARGE
        await written.wait()


async def test_a_piped_piece_waits_likewise_and_tells_of_its_progress(ends: Ends, pipe: Pipe) -> None:
    data = LARGE[:262_144]
    fill_pipe(pipe, data)
    left: list[int] = []

    async def write() -> None:
        await ends.stream.send_from(pipe, lambda: left.append(pipe.held))
        left.append(pipe.held)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < pipe.held < len(data)
        assert ends.stream.has_sent
        assert await ends.read_exactly(len(data)) == data
    assert left[-1] == 0
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == len(left) > 1


async def test_a_piped_piece_leaves_behind_what_a_full_socket_did_not_take(ends: Ends, pipe: Pipe) -> None:
    filling = ends.fill()
    fill_pipe(pipe, b"piece")
    assert ends.stream.send_later(bytes(LATER_BYTES))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.stream.send_from, pipe, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        assert pipe.held == 5
        received = await ends.read_exactly(len(filling) + LATER_BYTES + 5)
    assert received == filling + bytes(LATER_BYTES) + b"piece"
    assert pipe.held == 0


async def test_a_peer_that_drops_in_bytes_is_read_into_a_pipe_as_it_comes(ends: Ends, pipe: Pipe) -> None:
    moved: list[int] = []

    async def read() -> None:
        moved.append(await ends.stream.receive_into(pipe, 65536))

    for piece in (b"a", b"bc", b"def"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            ends.peer.send(piece)
        assert moved[-1] == len(piece) == pipe.held
        await ends.stream.send_from(pipe, lambda: None)
        assert await ends.read_exactly(len(piece)) == piece
    ends.peer.shutdown(socket.SHUT_WR)
    assert await ends.stream.receive_into(pipe, 65536) == 0
    assert (moved, pipe.held) == ([1, 2, 3], 0)


async def test_a_pipe_takes_no_more_than_it_is_asked_to(ends: Ends, pipe: Pipe) -> None:
    ends.peer.send(b"body" + b"next request")
    assert await ends.stream.receive_into(pipe, 4) == 4
    assert await ends.stream.receive_some() == b"next request"


async def _wait_in_receive_some(stream: SocketStream, pipe: Pipe) -> None:
    await stream.receive_some()


async def _wait_in_receive_into(stream: SocketStream, pipe: Pipe) -> None:
    await stream.receive_into(pipe, 65536)


async def _wait_in_send_all(stream: SocketStream, pipe: Pipe) -> None:
    await stream.send_all(LARGE)


async def _wait_in_send_from(stream: SocketStream, pipe: Pipe) -> None:
    await stream.send_from(pipe, lambda: None)


async def _wait_in_send_eof(stream: SocketStream, pipe: Pipe) -> None:
    await stream.send_eof()


async def _wait_in_receive_some_as_fiber(stream: SocketStream, pipe: Pipe) -> None:
    await Fiber(stream.receive_some())


Operation = Callable[[SocketStream, Pipe], Awaitable[None]]
READS: list[Operation] = [_wait_in_receive_some, _wait_in_receive_some_as_fiber, _wait_in_receive_into]
WRITES: list[Operation] = [_wait_in_send_all, _wait_in_send_from, _wait_in_send_eof]


@pytest.fixture
def busy(ends: Ends, pipe: Pipe) -> Ends:
    """Let each write wait: the socket is full, and something waits for room already."""
    ends.fill()
    assert ends.stream.send_later(bytes(LATER_BYTES))
    fill_pipe(pipe, b"piece")
    return ends


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS)
async def test_an_abort_wakes_reader_and_writer(
    busy: Ends,
    pipe: Pipe,
    read: Operation,
    write: Operation,
) -> None:
    reading_pipe = Pipe()
    woken: list[object] = []

    async def wait(operation: Operation, used: Pipe) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await operation(busy.stream, used)
        woken.append(operation)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, read, reading_pipe)
        nursery.start_soon(wait, write, pipe)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == []
        busy.stream.abort()
    assert set(woken) == {read, write}
    reading_pipe.close()
    # And so for whoever comes later.
    for operation in (*READS, _wait_in_send_all, _wait_in_send_from, _wait_in_send_eof):
        with pytest.raises(trio.ClosedResourceError):
            await operation(busy.stream, pipe)
    busy.stream.abort()


@pytest.mark.parametrize("operation", [*READS, *WRITES])
async def test_a_wait_that_is_cancelled_leaves_the_stream_to_the_next(
    busy: Ends, pipe: Pipe, operation: Operation
) -> None:
    pipe_bytes = pipe.held
    reading_pipe = Pipe()
    used = reading_pipe if operation in READS else pipe
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operation, busy.stream, used)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    reading_pipe.close()
    assert pipe.held == pipe_bytes
    busy.peer.send(b"answer")
    assert await busy.stream.receive_some() == b"answer"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(busy.stream.send_eof)
        received = await busy.read_to_end()
    assert received.endswith(bytes(LATER_BYTES))


@pytest.mark.parametrize("operation", [*READS, *WRITES])
async def test_a_second_task_in_the_same_direction_is_refused(busy: Ends, pipe: Pipe, operation: Operation) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operation, busy.stream, pipe)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await operation(busy.stream, pipe)
        nursery.cancel_scope.cancel()


# Failures.


async def test_a_failed_flush_is_told_at_once_to_who_reads(ends: Ends) -> None:
    failed = trio.Event()

    async def read() -> None:
        with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
            await ends.stream.receive_some()
        failed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        ends.break_writing()
        assert ends.stream.send_later(b"never")
        await failed.wait()
    assert not ends.stream.has_sent


async def test_a_failed_flush_is_told_to_whoever_uses_the_stream_next(ends: Ends, pipe: Pipe) -> None:
    ends.break_writing()
    assert ends.stream.send_later(b"never")
    await trio.lowlevel.checkpoint()
    assert not ends.stream.send_later(b"neither")
    assert ends.stream.is_flushed
    fill_pipe(pipe, b"piece")
    for operation in (_wait_in_send_all, _wait_in_send_from):
        with pytest.raises(trio.BrokenResourceError):
            await operation(ends.stream, pipe)
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await ends.stream.receive_some()
    assert not ends.stream.has_sent


async def test_what_had_arrived_before_a_failed_flush_can_be_read(ends: Ends) -> None:
    ends.peer.send(b"answer")
    ends.break_writing()
    assert ends.stream.send_later(b"never")
    await trio.lowlevel.checkpoint()
    assert await ends.stream.receive_some() == b"answer"
    with pytest.raises(trio.BrokenResourceError):
        await ends.stream.receive_some()


@pytest.mark.parametrize("read", READS)
async def test_a_reset_wakes_who_reads(ends: Ends, pipe: Pipe, read: Operation) -> None:
    await _expect_reset(ends, read, pipe)


@pytest.mark.parametrize("operation", [_wait_in_receive_some, *WRITES])
async def test_a_reset_wakes_who_uses_a_stream_that_has_something_to_flush(
    busy: Ends, pipe: Pipe, operation: Operation
) -> None:
    await _expect_reset(busy, operation, pipe)


async def _expect_reset(ends: Ends, operation: Operation, pipe: Pipe) -> None:
    async def wait() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await operation(ends.stream, pipe)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        ends.reset_by_peer()


@pytest.mark.parametrize("by_pipe", [False, True])
async def test_a_reset_that_a_write_has_met_is_no_end_for_who_reads(ends: Ends, pipe: Pipe, *, by_pipe: bool) -> None:
    # The kernel tells of a reset once; what was cut off must not look complete because of that.
    ends.reset_by_peer()
    with pytest.raises(trio.BrokenResourceError):
        await ends.stream.send_all(b"x")
    with pytest.raises(trio.BrokenResourceError):
        await (ends.stream.receive_into(pipe, 1) if by_pipe else ends.stream.receive_some())
    with pytest.raises(trio.BrokenResourceError):
        await ends.stream.send_eof()


async def test_an_abort_with_reset_is_a_failure_for_the_peer(ends: Ends) -> None:
    await ends.stream.send_all(b"part")
    assert await ends.read_exactly(4) == b"part"
    ends.stream.abort(reset=True)
    with pytest.raises(ConnectionResetError):
        await ends.read_exactly(1)


# What a stream knows.


async def test_has_sent_is_true_for_the_first_byte_on(ends: Ends, pipe: Pipe) -> None:
    async def send_later() -> None:
        assert ends.stream.send_later(b"x")
        assert not ends.stream.has_sent
        await trio.lowlevel.checkpoint()

    async def send_from() -> None:
        fill_pipe(pipe, b"x")
        await ends.stream.send_from(pipe, lambda: None)

    async def send_all() -> None:
        await ends.stream.send_all(b"x")

    for send in (send_later, send_all, send_from):
        ends.stream.has_sent = False
        await send()
        assert ends.stream.has_sent
        assert await ends.read_exactly(1) == b"x"


async def test_has_sent_stays_false_while_the_socket_takes_nothing(ends: Ends, pipe: Pipe) -> None:
    ends.fill()
    fill_pipe(pipe, b"piece")
    ends.stream.has_sent = False
    assert ends.stream.send_now(b"x") == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.stream.send_from, pipe, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ends.stream.send_later(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert not ends.stream.has_sent


async def test_has_input_knows_what_waits_in_line(poller: Poller) -> None:
    """As it does for an endpoint that has closed behind a long answer, and would otherwise be asked again."""
    seen: list[tuple[bool, bool]] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(tcp_pair()) for _ in range(18)]
        streams = [SocketStream(ours, poller, gives_way=True) for ours, _ in pairs]
        silent = streams.pop()
        await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()  # sixteen at a time learn that they may write

        async def read() -> None:
            await streams[0].receive_some()
            seen.append((streams[-1].has_input(), silent.has_input()))

        async def serve() -> None:
            await Fiber(read())

        with trio.fail_after(BOUND_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                await trio.testing.wait_all_tasks_blocked()
                for _, theirs in pairs[:-1]:
                    theirs.send(b"x")
        assert seen == [(True, False)]
        for stream in [*streams, silent]:
            stream.abort()


async def test_has_input_tells_whether_a_read_would_wait(ends: Ends, pipe: Pipe) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert not ends.stream.has_input()
    ends.peer.send(b"hello")
    await trio.testing.wait_all_tasks_blocked()
    assert ends.stream.has_input()
    assert await ends.stream.receive_some(5) == b"hello"  # it may have been more
    assert not ends.stream.has_input()
    ends.peer.send(b"hello")
    assert await ends.stream.receive_into(pipe, 5) == 5
    assert not ends.stream.has_input()
    ends.peer.shutdown(socket.SHUT_WR)
    await trio.testing.wait_all_tasks_blocked()
    assert ends.stream.has_input()
    assert await ends.stream.receive_some() == b""
    assert ends.stream.has_input()


async def test_a_stream_finds_out_a_peer_that_has_lost_its_power(ends: Ends) -> None:
    sock = ends.stream.socket
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    idle_s, interval_s, count = (
        sock.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )
    assert (idle_s, interval_s, count) == (60, 15, 4)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

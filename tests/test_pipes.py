"""Pipes and their pool against the kernel: what is moved, what is kept, and what happens where there are none to have."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from golb import pipes
from golb.pipes import PIPE_BYTES, Pipe, PipePool

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect two sockets that do not wait, over TCP: a pipe takes its bytes out of the kernel's packets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def move(data: bytes, pipe: Pipe) -> bytes:
    """Send bytes from socket to socket by way of a pipe; return what arrives."""
    with socket_pair() as (client, taking), socket_pair() as (giving, endpoint):
        received = b""
        sent = 0
        while len(received) < len(data):
            with suppress(BlockingIOError):
                sent += client.send(data[sent:])
            if not pipe.held:
                with suppress(BlockingIOError):
                    assert pipe.fill(taking.fileno(), PIPE_BYTES) > 0
            if pipe.held:
                with suppress(BlockingIOError):
                    pipe.drain(giving.fileno())
            with suppress(BlockingIOError):
                received += endpoint.recv(1 << 20)
        assert pipe.held == 0
        return received


@pytest.mark.parametrize("length", [1, 4096, PIPE_BYTES - 1, PIPE_BYTES, PIPE_BYTES + 1, 3_000_017])
def test_bytes_pass_unchanged(pipe: Pipe, length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert hashlib.sha256(move(data, pipe)).digest() == hashlib.sha256(data).digest()


def test_a_smaller_pipe_takes_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PIPE_BYTES", 4096)  # as a system does that grants no more
    data = random.Random(1).randbytes(200_000)
    small = Pipe()
    assert move(data, small) == data
    with socket_pair() as (ours, theirs):
        theirs.send(bytes(20_000))
        assert small.fill(ours.fileno(), PIPE_BYTES) < 20_000
    small.close()


def test_a_pipe_that_cannot_be_enlarged_works_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PIPE_BYTES", 1 << 40)  # the kernel refuses that to everybody
    data = random.Random(2).randbytes(200_000)
    usual = Pipe()
    assert move(data, usual) == data
    usual.close()


def test_a_pipe_takes_no_more_than_it_is_asked_to(pipe: Pipe) -> None:
    with socket_pair() as (ours, theirs):
        theirs.send(b"body" + b"next")
        assert pipe.fill(ours.fileno(), 4) == 4 == pipe.held
        assert ours.recv(10) == b"next"


def test_neither_call_waits(pipe: Pipe) -> None:
    with socket_pair() as (ours, theirs):
        with pytest.raises(BlockingIOError):
            pipe.fill(ours.fileno(), 1)
        assert pipe.held == 0
        theirs.send(b"hello")
        pipe.fill(ours.fileno(), 5)
        with suppress(BlockingIOError):
            while ours.send(bytes(1 << 20)):
                pass
        with pytest.raises(BlockingIOError):
            pipe.drain(ours.fileno())
        assert pipe.held == 5


def test_the_end_of_a_stream_is_no_bytes_and_a_reset_is_an_error(pipe: Pipe) -> None:
    with socket_pair() as (ours, theirs):
        theirs.shutdown(socket.SHUT_WR)
        assert pipe.fill(ours.fileno(), 1) == 0 == pipe.held
    with socket_pair() as (ours, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with pytest.raises(ConnectionResetError):
            pipe.fill(ours.fileno(), 1)


# The pool.


def test_an_empty_pipe_is_used_again() -> None:
    pool = PipePool()
    first = pool.take()
    assert first is not None
    pool.give_back(first)
    assert pool.take() is first
    second = pool.take()
    assert second is not None
    assert second is not first
    first.close()
    second.close()


def test_a_pipe_with_something_in_it_is_never_used_again() -> None:
    pool = PipePool()
    before = descriptors()
    used = pool.take()
    assert used is not None
    with socket_pair() as (ours, theirs):
        theirs.send(b"of another client")
        used.fill(ours.fileno(), 100)
    pool.give_back(used)
    assert descriptors() == before
    other = pool.take()
    assert other is not None
    assert (other is not used, other.held) == (True, 0)
    other.close()


def test_a_few_pipes_are_kept_and_closed_with_the_pool() -> None:
    pool = PipePool()
    before = descriptors()
    taken = [pipe for pipe in (pool.take() for _ in range(40)) if pipe is not None]
    assert (len(taken), descriptors()) == (40, before + 80)
    for pipe in taken:
        pool.give_back(pipe)
    assert descriptors() == before + 2 * 16
    pool.close()
    assert descriptors() == before


_WITHOUT_DESCRIPTORS = """
import os, resource
from golb.pipes import PipePool

pool = PipePool()
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
lowest_free = os.dup(0)
os.close(lowest_free)
for spare in (0, 1):  # a pipe needs two
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, hard))
    assert pool.take() is None
assert os.dup(0) == lowest_free  # a connection could have what is left
os.close(lowest_free)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 2, hard))
pipe = pool.take()
assert pipe is not None
assert pool.take() is None
pool.give_back(pipe)
assert pool.take() is pipe
print("done")
"""


def test_where_there_are_no_descriptors_there_is_no_pipe_until_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_DESCRIPTORS], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_pipe_is_not_inherited() -> None:
    before = _pipe_descriptors()
    pipe = Pipe()
    opened = _pipe_descriptors() - before
    assert len(opened) == 2
    assert not any(os.get_inheritable(fd) for fd in opened)
    pipe.close()


def _pipe_descriptors() -> set[int]:
    links = ((int(path.name), path) for path in Path("/proc/self/fd").iterdir())
    return {fd for fd, path in links if path.is_fifo()}

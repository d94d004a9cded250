"""A golb that can be taken over, as far as that is concerned: it listens, and it stops when it is told to."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import Factory, define
from support.stack import BOUND_S

from golb.takeover import INHERITED, Giver, Taken, offer, take_over
from golb.takeover.channel import Channel
from golb.takeover.meeting import meeting_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HOST = "127.0.0.1"


@define
class Running:
    listeners: list[socket.socket]
    port: int
    stops: int = 0
    """How often it was told to stop."""
    giver: Giver = Factory(
        lambda self: Giver(lambda: {self.place: self.listeners}, self.stop),
        takes_self=True,
    )

    @property
    def place(self) -> str:
        return f"{HOST}:{self.port}"

    async def stop(self) -> None:
        self.stops += 1
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()

    async def taken_by_asking(self) -> Taken:
        """Let a new golb take over that finds this one."""
        return await take_over(HOST, self.port, {}, is_wanted=True)


@contextmanager
def running(listeners: int = 1) -> Iterator[Running]:
    """Listen by so many sockets at a free port."""
    socks = [socket.create_server((HOST, 0), reuse_port=True)]
    port: int = socks[0].getsockname()[1]
    socks += [socket.create_server((HOST, port), reuse_port=True) for _ in range(listeners - 1)]
    old = Running(socks, port)
    try:
        yield old
    finally:
        old.close()


@asynccontextmanager
async def offering(listeners: int = 1) -> AsyncIterator[Running]:
    """Run one that offers itself to be taken over."""
    with running(listeners) as old, trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer, HOST, old.port, old.giver)
            await trio.testing.wait_all_tasks_blocked()
            yield old
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def giving(old: Running) -> AsyncIterator[dict[str, str]]:
    """Let it give to whoever has the other end of a channel; yield the variables that tell a new golb of that."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            with Channel(ours) as channel:
                nursery.start_soon(old.giver.give, channel)
                yield {INHERITED: str(theirs.detach())}
                nursery.cancel_scope.cancel()


def meet(port: int) -> socket.socket:
    """Connect to where a golb offers itself; what is sent there is up to the caller."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        sock.connect(meeting_address(HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


def descriptors() -> list[str]:
    """Return of what kind each descriptor is that this process has."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this very listing
            found.append(str(path.readlink()).partition(":")[0])
    return sorted(found)


@contextmanager
def another_user() -> Iterator[None]:
    """Be another one for a moment; takes root."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

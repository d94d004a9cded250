"""One epoll for all connections, behind Trio's.

`trio.lowlevel.wait_readable` arms and disarms a socket for each wait: two system calls and a dozen calls of Python.
Here each socket is registered once, edge-triggered, and one task passes on what a single poll has found for all of
them; that saves a third of what a bare proxy on Trio costs. Whoever reads a socket has to know the rules of edges:

- An event says that something has come since the last one. Who has not read until the socket was empty gets no other.
- A read that returns less than it asked for has emptied the socket, unless the peer has ended its side (epoll(7)).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, NoReturn, Protocol

import trio

if TYPE_CHECKING:
    import socket

_INPUT = select.EPOLLIN
_WATCHED = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


class Reader(Protocol):
    """Whoever reads a socket."""

    def notice_input(self, *, ended: bool) -> None:
        """Learn that there is something to read; `ended`: also the peer's end, or an error."""


class Poller:
    """Tells readers when there is something to read. Made once for a process, and run by its root nursery."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}

    def add(self, sock: socket.socket, reader: Reader) -> None:
        """Begin to watch a socket; what is there already counts as new."""
        fd = sock.fileno()
        self._epoll.register(fd, _WATCHED)
        self._readers[fd] = reader

    def remove(self, sock: socket.socket) -> None:
        """End that. Close the socket next: that takes it out of the epoll."""
        self._readers.pop(sock.fileno(), None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Pass events on until cancelled."""
        task_status.started()
        fd = self._epoll.fileno()
        readers, poll = self._readers, self._epoll.poll
        try:
            while True:
                await trio.lowlevel.wait_readable(fd)
                for ready_fd, events in poll(0):
                    reader = readers.get(ready_fd)
                    if reader is not None:
                        reader.notice_input(ended=events != _INPUT)
        finally:
            self._epoll.close()

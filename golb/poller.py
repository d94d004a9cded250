"""One epoll for all connections, behind Trio's, and one moment at which small writes leave.

`trio.lowlevel.wait_readable` arms and disarms a socket for each wait: two system calls and a dozen calls of Python.
Here each socket is registered once, edge-triggered, and what a single poll has found for all of them is passed on
whenever Trio has waited for I/O; that saves a third of what a bare proxy on Trio costs. Fibers (golb/fibers.py) go on while
it is passed on, tasks directly behind it. Whoever reads or writes a socket has to know the rules of edges (epoll(7)):

- An event says that something has come since the last one. Who has not read until the socket was empty gets no other.
- A read that returns less than it asked for has emptied the socket, unless the peer has ended its side.
- An event for output comes only after a write that the socket did not take in full.

Small writes wait until all tasks that can run have run, just before Trio waits for I/O, and leave one behind the
other. A peer that sleeps on another core is woken by the first of them and finds the others there, where each write
by itself would wake it anew; under load that saves a third of a proxy's time, and a write never waits for an event.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import structlog
import trio

if TYPE_CHECKING:
    import socket

LOG = structlog.get_logger()

_INPUT: Final = select.EPOLLIN
_OUTPUT: Final = select.EPOLLOUT
_MAY_WRITE: Final = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP
# So many events are passed on before others wait for I/O again. What one poll has found is done as a whole, so who comes
# just behind it waits for all of it: bounding that takes a quarter from the 99th percentile at 256 connections.
_EVENTS_AT_ONCE: Final = 64
# Urgent data (tcp(7)) arrives in line with the rest; a read stops at its mark, and only this tells that more is behind.
_WATCHED: Final = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLOUT | select.EPOLLET


class Pollable(Protocol):
    """Whoever reads and writes a socket."""

    def notice_input(self, *, ended: bool) -> None:
        """Learn that there is something to read; `ended`: also the peer's end, or an error."""

    def notice_output(self) -> None:
        """Learn that the socket takes more, if it was full."""

    def flush(self) -> None:
        """Write what has waited for the end of the round; must not raise."""


class Poller(trio.abc.Instrument):
    """Tells connections when there is something to do. Made once for a process, and run by its root nursery."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._watched: dict[int, Pollable] = {}
        self._to_flush: list[Pollable] = []

    def add(self, sock: socket.socket, pollable: Pollable) -> None:
        """Begin to watch a socket; what is there already counts as new."""
        fd = sock.fileno()
        self._epoll.register(fd, _WATCHED)
        self._watched[fd] = pollable

    def remove(self, sock: socket.socket) -> None:
        """End that. Close the socket next: that takes it out of the epoll."""
        self._watched.pop(sock.fileno(), None)

    def flush_later(self, pollable: Pollable) -> None:
        """Call its `flush` once, when the tasks that can run now have run."""
        self._to_flush.append(pollable)

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - Trio's signature
        """Flush; Trio calls this at the end of each round of tasks."""
        pending = self._to_flush
        if pending:
            for pollable in pending:
                try:
                    pollable.flush()
                except Exception:  # the boundary of one connection: what escapes would end the poller for all
                    LOG.exception("connection cannot be flushed")
            pending.clear()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - Trio's signature
        """Pass events on; Trio calls this before it runs the tasks that can run."""
        watched = self._watched
        # What goes on here may close descriptors of the events behind it, but opens none: no descriptor is mistaken.
        for fd, events in self._poll(0, _EVENTS_AT_ONCE):
            pollable = watched.get(fd)
            if pollable is None:
                continue
            try:
                if events != _OUTPUT:
                    pollable.notice_input(ended=events & ~_OUTPUT != _INPUT)
                if events & _MAY_WRITE:
                    pollable.notice_output()
            except Exception:  # the boundary of one connection, as in `before_io_wait`
                LOG.exception("connection cannot be told of its events")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep watch until cancelled."""
        trio.lowlevel.add_instrument(self)
        task_status.started()
        fd = self._epoll.fileno()
        try:
            while True:
                # Only so that Trio's own wait ends: what there is, or a first part of it, has been passed on by then.
                await trio.lowlevel.wait_readable(fd)
        finally:
            self.before_io_wait(0)
            trio.lowlevel.remove_instrument(self)
            self._epoll.close()

"""One epoll for all connections, in front of Trio's, and one moment at which small writes leave.

`trio.lowlevel.wait_readable` arms and disarms a socket for each wait: two system calls and a dozen calls of Python.
Here each socket is registered once, edge-triggered, and Trio's own epoll is one more thing to watch. When no task can
run, the poller waits in Trio's place, and lets fibers (golb/fibers.py) go on, round by round, until something needs Trio: a
task can run, Trio's epoll has an event, or a deadline of Trio's has come. So a request costs no round of Trio's
scheduler. Whoever reads or writes a socket has to know the rules of edges (epoll(7)):

- An event says that something has come since the last one. Who has not read until the socket was empty gets no other.
- A read that returns less than it asked for has emptied the socket, unless the peer has ended its side.
- An event for output comes only after a write that the socket did not take in full.

Small writes wait until all that has been found to do is done, and leave one behind the other. A peer that sleeps on
another core is woken by the first of them and finds the others there, where each write by itself would wake it anew;
under load that saves a third of a proxy's time, and a write never waits for an event.

What is under way goes first. The event that an answer begins with is passed on as soon as it is found. Those of clients wait
in line, as do those of the further pieces of long answers, and a few of the line pass between two polls. So few requests are under way
at a time, however many clients there are: their state, golb's and the kernel's, is still in the processor's cache when the
answer comes, where it would otherwise come behind the requests of all other clients. With 256 clients that saves a fifth of a
request's time. Nobody starves: an answer begins once, for a request that has passed the line.

Rule: what runs while Trio waits must not bring a deadline of Trio's forward, as setting that of an open scope would, nor
cancel the poller: either is noticed at the next deadline only. `trio.testing.wait_all_tasks_blocked` with a cushion
waits for ever.
"""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import structlog
import trio

if TYPE_CHECKING:
    import socket

LOG = structlog.get_logger()

_INPUT: Final = select.EPOLLIN
_OUTPUT: Final = select.EPOLLOUT
_MAY_WRITE: Final = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP
# What one poll has found is passed on or put in line as a whole, and Trio waits for it, so a poll finds no more than so many
# events; enough to find an answer among the requests of many clients.
_EVENTS_AT_ONCE: Final = 64
# Of the line, between two polls, one of which costs a hundredth of what these cost. Of fewer, fewer writes leave together; of
# more, more requests are under way.
_OF_LINE_AT_ONCE: Final = 16
# Urgent data (tcp(7)) arrives in line with the rest; a read stops at its mark, and only this tells that more is behind.
_WATCHED: Final = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLOUT | select.EPOLLET

# What epoll_ctl says of another descriptor: it is no epoll, or was closed since the folder was read.
_NO_EPOLL: Final = {errno.EINVAL, errno.EBADF}

# In a run of Trio there is one: each of two would wait in Trio's place while the other one has events.
_is_running: Final = trio.lowlevel.RunVar("poller", default=False)


class Pollable(Protocol):
    """Whoever reads and writes a socket."""

    def notice_input(self, *, ended: bool) -> None:
        """Learn that there is something to read; `ended`: also the peer's end, or an error."""

    def notice_output(self) -> None:
        """Learn that the socket takes more, if it was full."""

    def flush(self) -> None:
        """Write what has waited for the end of the round; must not raise."""


class Watch:
    """A socket that is watched. It is in line once at most, however much has come from it."""

    __slots__ = ("events", "gives_way", "pollable")

    def __init__(self, pollable: Pollable, *, gives_way: bool) -> None:
        self.pollable = pollable
        self.gives_way = gives_way
        """What comes from it waits in line. May be set at any time, for what comes from then on."""
        self.events = 0
        """To pass on; kept by the poller. With none it is not in line, or has been removed."""


class Poller(trio.abc.Instrument):
    """Tells connections when there is something to do. Made once for a process, and run by its root nursery."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._watched: list[Watch | None] = []
        """By descriptor: small numbers, as the kernel gives the smallest that is free."""
        self._line: deque[Watch] = deque()
        """Those that give way, and of whom there are events to pass on."""
        self._to_flush: list[Pollable] = []
        self._trios_epoll = -1
        self._trio_alone = select.poll()
        self._poll_trio = self._trio_alone.poll
        self._bell = -1
        """An eventfd that ends Trio's own wait."""
        self._failure: BaseException | None = None
        self._passes_single = False
        """What is passed on is all there is."""
        self._is_trio_needed = False
        """A task can run, or Trio's epoll has an event."""

    def add(self, sock: socket.socket, pollable: Pollable, *, gives_way: bool = False) -> Watch:
        """Begin to watch a socket; what is there already counts as new. The result is where to change `gives_way`.

        Args:
            sock: non-blocking.
            pollable: learns of its events.
            gives_way: what comes from it waits in line, as what clients send does.

        Raises:
            OSError: epoll has no room left for it.
        """
        fd = sock.fileno()
        self._make_room_for(fd)
        self._epoll.register(fd, _WATCHED)
        watch = self._watched[fd] = Watch(pollable, gives_way=gives_way)
        return watch

    def _make_room_for(self, fd: int) -> None:
        watched = self._watched
        watched += [None] * (fd + 1 - len(watched))

    def remove(self, sock: socket.socket) -> None:
        """End that. Close the socket next: that takes it out of the epoll."""
        fd = sock.fileno()
        watch = self._watched[fd] if 0 <= fd < len(self._watched) else None
        if watch is not None:
            self._watched[fd] = None
            watch.events = 0

    def flush_later(self, pollable: Pollable) -> None:
        """Call its `flush` once, when what has been found to do is done; at once where that is for a single event."""
        if self._passes_single:
            pollable.flush()
        else:
            self._to_flush.append(pollable)

    def before_io_wait(self, timeout: float) -> None:
        """Wait in Trio's place until Trio is needed; called by Trio at the end of each round of tasks.

        Args:
            timeout: until Trio's next deadline, in seconds; 0 if a task can run.
        """
        try:
            self._wait(timeout)
        except BaseException as exc:  # noqa: BLE001 - `run` raises it; Trio would drop the poller, and golb stand still
            self._failure = exc
            os.eventfd_write(self._bell, 1)

    def _wait(self, timeout: float) -> None:
        self._is_trio_needed = timeout <= 0
        deadline_s = perf_counter() + timeout
        remaining_s = timeout
        self._flush()
        line = self._line
        while True:
            found = self._poll(0 if self._is_trio_needed or line else remaining_s, _EVENTS_AT_ONCE)
            # For a single event no other write is to come, so its own need not wait for what is done behind it.
            self._passes_single = len(found) + len(line) == 1
            self._pass_on(found)
            if line:
                self._pass_line()
            self._passes_single = False
            self._flush()
            remaining_s = deadline_s - perf_counter()
            # Where there is more than one poll tells of, Trio's place among it may be far behind.
            if self._is_trio_needed or remaining_s <= 0 or (len(found) == _EVENTS_AT_ONCE and self._poll_trio(0)):
                break
        if timeout > 0:
            # Trio still means to wait as long as it did before all this. Its own event does not keep it from that for
            # certain: who else has the same listening socket may have taken the connection meanwhile.
            os.eventfd_write(self._bell, 1)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - Trio's signature
        """Learn that a task can run; called by Trio."""
        self._is_trio_needed = True

    def _pass_on(self, found: list[tuple[int, int]]) -> None:
        """Pass on what a poll has found, or put it in line."""
        watched = self._watched
        # What goes on here may close descriptors of the events behind it, but opens none: no descriptor is mistaken.
        for fd, events in found:
            watch = watched[fd]
            if watch is None:
                if fd == self._trios_epoll:
                    self._is_trio_needed = True
            elif not watch.gives_way:
                _tell(watch.pollable, events)
            else:
                if not watch.events:
                    self._line.append(watch)
                watch.events |= events

    def _pass_line(self) -> None:
        """Pass on the events of the first in line."""
        line = self._line
        left = _OF_LINE_AT_ONCE
        while line and left:
            watch = line.popleft()
            events, watch.events = watch.events, 0
            if events:  # otherwise it was removed meanwhile
                left -= 1
                _tell(watch.pollable, events)

    def _flush(self) -> None:
        pending = self._to_flush
        if pending:
            for pollable in pending:
                try:
                    pollable.flush()
                except Exception:  # the boundary of one connection, as in `_pass_on`
                    LOG.exception("connection cannot be flushed")
            pending.clear()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep watch until cancelled.

        Raises:
            RuntimeError: another poller runs already, or Trio's epoll is not found.
            OSError: there is no descriptor left.
            BaseException: what passing on has raised and no boundary of a connection holds.
        """
        if _is_running.get():
            raise RuntimeError("a poller runs already: there can be one in a run of Trio")
        self._bell = os.eventfd(1)
        _is_running.set(True)
        try:
            await trio.lowlevel.wait_readable(self._bell)  # from here on Trio's epoll knows it
            self._trios_epoll = _epoll_that_watches(self._bell)
            self._make_room_for(self._trios_epoll)
            self._epoll.register(self._trios_epoll, _INPUT)
            self._trio_alone.register(self._trios_epoll, select.POLLIN)
            trio.lowlevel.add_instrument(self)
            task_status.started()
            while self._failure is None:
                os.eventfd_read(self._bell)
                await trio.lowlevel.wait_readable(self._bell)
            raise self._failure
        finally:
            with suppress(KeyError):  # cancelled before it was added
                trio.lowlevel.remove_instrument(self)
            self._epoll.close()
            os.close(self._bell)
            _is_running.set(False)
            self._flush()


def _tell(pollable: Pollable, events: int) -> None:
    try:
        if events != _OUTPUT:
            pollable.notice_input(ended=events & ~_OUTPUT != _INPUT)
        if events & _MAY_WRITE:
            pollable.notice_output()
    except Exception:  # the boundary of one connection: what escapes would end the poller for all
        LOG.exception("connection cannot be told of its events")


def _epoll_that_watches(fd: int) -> int:
    """Find Trio's epoll, for which Trio has no name, by what it watches.

    Raises:
        RuntimeError: there is none.
        OSError: the descriptors cannot be looked at.
    """
    for path in Path("/proc/self/fd").iterdir():
        if _watches(int(path.name), fd):
            return int(path.name)
    raise RuntimeError("this process has no epoll of Trio's: golb needs Linux, and Trio's usual event loop")


def _watches(epoll_fd: int, fd: int) -> bool:
    try:
        with select.epoll.fromfd(os.dup(epoll_fd)) as epoll:
            epoll.register(fd, 0)
            epoll.unregister(fd)
    except FileExistsError:
        return True
    except OSError as exc:
        if exc.errno not in _NO_EPOLL:
            raise
    return False

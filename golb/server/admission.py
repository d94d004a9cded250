"""Which clients have a place: the limit on connections, and who gives way while others wait.

A client for which there is no place is not accepted: the kernel's backlog holds it. While one waits there,
- the connection that has waited for longest for the end of a request's head is closed, unless that is usual: 408, or nothing if no head has begun;
- if there is none, the one that has been idle for longest, unless it is so only since a moment: its next request may be on its way;
- a response that begins is its connection's last, and says so.
So clients are served in turn, none is cut off in a request that has come, and those that say nothing hold up nobody for long.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import structlog
import trio

from golb.deadlines import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.deadlines import Deadlines, TimeoutQueue
    from golb.server.ending import Ending
    from golb.server.timeouts import Timeouts

LOG = structlog.get_logger()

# For connections to etcd, the log, state files, listening sockets, epolls: golb has some 20 of them.
_RESERVED = 32
# What pipes take at most; see golb/pipes.py.
_PIPES_SHARE = 8
_PIPES_MOST = 400
# An idle connection costs 6.4 KiB (10,000 of them, measured), so these hold some 100 MiB.
MOST_BY_DEFAULT = 16384

# How long a connection has to have been idle to be closed for another.
_IDLE_S = 0.25
# The same for one whose first request, or whose request that has begun, does not come.
_SILENT_S = 1.0
# A connection becomes idle without saying so to who looks for one.
_LOOK_AGAIN_S = 0.1
# A shortage that has not shown for so long is over.
_CALM_S = 5.0

# No descriptor or no memory: for these another connection has to end. Anything else is over by itself.
_SHORT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def connection_limit(wanted: int, descriptors: int, *, others: int = 0) -> int:
    """Return how many clients may be connected at once, 1 at least.

    Args:
        wanted: as configured; 0: as many as have a descriptor each, and another one for an endpoint, up to `MOST_BY_DEFAULT`.
        descriptors: how many the process may have.
        others: how many connections another port may have.
    """
    free = descriptors - _RESERVED - others - min(descriptors // _PIPES_SHARE, _PIPES_MOST)
    return max(min(wanted, free) if wanted else min(free // 2, MOST_BY_DEFAULT), 1)


class Admission:
    """The places for clients, and those who have them.

    Args:
        limit: how many places there are.
        timeouts: knows who is idle.
        deadlines: tells when a shortage is over.
        make_room: closes something else that holds a descriptor and is not in use; false if there is nothing.
        ending: told whether somebody waits for a place.
    """

    def __init__(
        self, limit: int, timeouts: Timeouts, deadlines: Deadlines, make_room: Callable[[], bool], ending: Ending
    ) -> None:
        self.limit = limit
        self.open = 0
        """Clients connected now."""
        self.accepted = 0
        """Clients that ever got a place."""
        self.delayed = 0
        """How often one found none and had to wait."""
        self.closed_for_room = 0
        """Connections that gave way to another, since they were idle or silent."""
        self.on_change: Callable[[], object] | None = None
        """Called when `open` has changed, or `limit`."""
        self._timeouts = timeouts
        self._make_room = make_room
        self._ending = ending
        self._leaving = trio.lowlevel.ParkingLot()
        self._shortages: TimeoutQueue[str] = deadlines.queue(_CALM_S, self._tell_end)
        """What has been told of, by the name of its event in the log."""
        self._waits: dict[str, Wait] = {}

    @property
    def room(self) -> int:
        """How many places are free."""
        return max(self.limit - self.open, 0)

    def report(self) -> dict[str, int]:
        """Tell of it: `limit`, `open`, `accepted`, `delayed`, `closed_for_room`."""
        return {
            "limit": self.limit,
            "open": self.open,
            "accepted": self.accepted,
            "delayed": self.delayed,
            "closed_for_room": self.closed_for_room,
        }

    def enter(self) -> None:
        """Take a place."""
        self.open += 1
        self.accepted += 1
        if self.on_change is not None:
            self.on_change()

    def leave(self) -> None:
        """Give a place back; the connection has been closed."""
        self.open -= 1
        if self.on_change is not None:
            self.on_change()
        self._leaving.unpark_all()

    def change_limit(self, limit: int) -> None:
        """Let there be another number of places; who has one keeps it."""
        self.limit = limit
        if self.on_change is not None:
            self.on_change()
        self._leaving.unpark_all()

    async def wait_for_room(self) -> None:
        """Return once there is a place, for who waits in the backlog."""
        if self.open < self.limit:
            return
        self.delayed += 1
        try:
            while self.open >= self.limit:
                self._ending.place_is_wanted = True
                self._tell("connection limit reached", limit=self.limit, variable="eb_go_lb_max_connections")
                self._close_longest_waiting()
                await self.wait_for_an_end(_LOOK_AGAIN_S)
        finally:
            self._ending.place_is_wanted = False

    async def recover(self, failure: OSError, pause_s: float) -> None:
        """Make room after a failure to accept, if that is what was missing; otherwise wait, so that the failure is not met again at once."""
        self._tell("cannot accept", cause=failure.strerror, connections=self.open)
        if failure.errno not in _SHORT_OF_DESCRIPTORS:
            await trio.sleep(pause_s)
            return
        # A client that is idle gives way first: a connection to an endpoint that does is missed by the very next request.
        self._close_longest_waiting()
        if self._timeouts.idle.oldest() is None and self._make_room():
            return
        self._ending.place_is_wanted = True
        try:
            await self.wait_for_an_end(pause_s)
        finally:
            self._ending.place_is_wanted = False

    def _close_longest_waiting(self) -> None:
        if (silent := self._timeouts.head.oldest(_SILENT_S)) is not None:
            silent.time_head_out()
        elif (idle := self._timeouts.idle.oldest(_IDLE_S)) is not None:
            idle.stop_waiting()
        else:
            return
        self.closed_for_room += 1

    async def wait_for_an_end(self, at_most_s: float) -> None:
        """Return when a connection has ended, or after so many seconds."""
        with trio.move_on_after(at_most_s):
            await self._leaving.park()

    def _tell(self, event: str, **details: object) -> None:
        """Tell of a shortage once, until it is over."""
        wait = self._waits.setdefault(event, Wait())
        is_new = wait.queue is None
        self._shortages.start(wait, event)
        if is_new:
            LOG.warning(event, **details)

    def _tell_end(self, event: str) -> None:
        LOG.info(
            "accepts again",
            after=event,
            accepted=self.accepted,
            delayed=self.delayed,
            closed_for_room=self.closed_for_room,
        )

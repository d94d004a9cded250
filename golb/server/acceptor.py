"""Where a server's connections come from: its listening sockets, and other workers."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import structlog
import trio

from golb.server.listening import BACKLOG

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from golb.server.admission import Admission
    from golb.server.spread import Spread

LOG = structlog.get_logger()

# One turn of the loop takes so many new connections at most, so that the others get theirs.
_ACCEPTED_AT_ONCE = 64
# Whatever else accept(2) may report is of a client or of the moment: no descriptors left, a firewall, a network down.
_BROKEN_LISTENER = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
_PAUSE_S = 0.1


class Acceptor:
    """Takes connections in as there is room.

    Args:
        admission: has the places.
        spread: of this worker, if there are several.
        serve: called with each connection and its client's address; it gives the place back. Must neither wait nor raise.
    """

    def __init__(
        self, admission: Admission, spread: Spread | None, serve: Callable[[socket.socket, tuple[str, int]], None]
    ) -> None:
        self._admission = admission
        self._spread = spread
        self._serve = serve
        self._is_ending = False

    async def run(
        self, sockets: Sequence[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until cancelled; ready once it does."""
        async with trio.open_nursery() as nursery:
            for sock in sockets:
                nursery.start_soon(self._accept_all, sock)
            if self._spread is not None:
                self._admission.on_change = self._publish
                self._publish()
            task_status.started()

    def publish_again(self) -> None:
        """Tell the other workers what this one has, of which somebody else may have told them; nothing if it does not accept."""
        if self._admission.on_change is not None:
            self._publish()

    def withdraw(self) -> None:
        """Have nothing more passed here; whoever takes this worker's place tells the others what it takes."""
        if not self._is_ending:
            self._is_ending = True
            self._admission.on_change = None
            if self._spread is not None:
                self._spread.withdraw()

    def accept_last(self, sockets: Sequence[socket.socket]) -> None:
        """Take in what has queued up, which the close of the sockets would refuse."""
        for sock in sockets:
            try:
                self._accept_some(sock, min(BACKLOG, self._admission.room))
            except OSError as exc:
                LOG.warning("cannot accept", cause=exc.strerror, connections=self._admission.open)

    async def run_inbox(self) -> None:
        """Take in what other workers pass here, until cancelled or nobody is left to do so."""
        spread = self._spread
        while spread is not None and not spread.is_closed:
            await trio.lowlevel.wait_readable(spread.inbox)
            await self._admission.wait_for_room()
            if not self.take_passed():
                await trio.sleep(_PAUSE_S)  # it was nothing after all, or cannot be taken

    def take_passed(self) -> bool:
        """Take in what other workers have passed here; false if that was nothing."""
        if self._spread is None:
            return False
        open_before = self._admission.open
        try:
            for client in self._spread.take(min(_ACCEPTED_AT_ONCE, self._admission.room)):
                try:
                    address = client.getpeername()
                except OSError:  # it has gone on its way here
                    client.close()
                    continue
                self._admission.enter()
                self._serve(client, address)
        except OSError as exc:
            LOG.warning("cannot take connections from other workers", cause=exc.strerror)
        return self._admission.open > open_before

    async def _accept_all(self, sock: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            if not self._may_pass_all_on():
                await self._admission.wait_for_room()
            try:
                self._accept_some(sock, min(_ACCEPTED_AT_ONCE, max(self._admission.room, 1)))
            except OSError as exc:
                if exc.errno in _BROKEN_LISTENER:
                    raise
                await self._admission.recover(exc, _PAUSE_S)

    def _may_pass_all_on(self) -> bool:
        """Tell whether another worker takes what this one has no room for. If that fails, a client is one too many, and no more than one."""
        return self._spread is not None and self._spread.has_taker() and self._admission.open <= self._admission.limit

    def _accept_some(self, sock: socket.socket, at_most: int) -> None:
        admission, spread = self._admission, self._spread
        for _ in range(at_most):
            try:
                client, address = sock.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it went away before it was taken (accept(2))
            if (
                spread is not None
                and not self._is_ending
                and spread.pass_on(client, admission.open, is_full=not admission.room)
            ):
                client.close()
                continue
            admission.enter()
            self._serve(client, address)

    def _publish(self) -> None:
        """Tell the other workers what this one has, and whether it takes more."""
        assert self._spread is not None  # noqa: S101 - otherwise nobody calls it
        if self._admission.room:
            self._spread.publish(self._admission.open)
        else:
            self._spread.withdraw()

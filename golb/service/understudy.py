"""Who takes the connections of a worker that is away: the parent, which passes each on to another worker at once.

A worker is away while its process is being replaced, while it drains, and while it does not answer. In the last two cases
there is a process still, which may take connections too: whoever has one first has it.
"""

from __future__ import annotations

import select
import socket
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.server.spread import Spread, withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG = structlog.get_logger()

# How soon to look again where no other worker takes connections either.
_LOOK_AGAIN_S = 0.02
# What waits is passed on in milliseconds, unless there is nobody who takes it.
_LAST_TIMEOUT_S = 1.0


class Understudies:
    """The parent's, one for each worker that is away.

    Args:
        listeners: the sockets that each worker accepts from, by index; the parent has them too, and workers may share one.
        mailboxes: each worker's inbox, and what leads there; the parent has them too.
        counts: the memory by which workers spread connections; see `golb.server.spread`.
    """

    def __init__(
        self,
        listeners: Sequence[Sequence[socket.socket]],
        mailboxes: Sequence[tuple[socket.socket, socket.socket]],
        counts: memoryview,
    ) -> None:
        # Copies, since no two tasks of Trio may wait for one descriptor.
        self._listeners = [[sock.dup() for sock in of_one] for of_one in listeners]
        self._mailboxes = mailboxes
        self._counts = counts
        self._scopes: dict[int, trio.CancelScope] = {}
        self._are_dismissed = False
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Let there be some, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError  # not reached

    def begin(self, worker: int) -> None:
        """Stand in for a worker, to which nobody passes anything any more."""
        withdraw(self._counts, len(self._mailboxes), worker)
        if self._are_dismissed or worker in self._scopes:
            return
        inbox, outbox = self._mailboxes[worker]
        # It counts in the worker's own row. Where both do so at once, a number may come out wrong, until the next inbox is empty.
        spread = Spread(worker, self._counts, inbox, [other for _, other in self._mailboxes])
        self._scopes[worker] = scope = trio.CancelScope()

        async def stand_in_for_it() -> None:
            with scope:
                await stand_in(self._listeners[worker], spread, outbox)

        self._nursery.start_soon(stand_in_for_it)

    def end(self, worker: int) -> None:
        """Leave a worker's connections to it again."""
        scope = self._scopes.pop(worker, None)
        if scope is not None:
            scope.cancel()

    async def finish(self) -> None:
        """Return when all that waited has been passed on, or nobody takes it."""
        with trio.move_on_after(_LAST_TIMEOUT_S):
            while self._is_anything_waiting():  # noqa: ASYNC110 - no event tells of it
                await trio.sleep(_LOOK_AGAIN_S)

    def dismiss(self) -> None:
        """Stand in for nobody any more, and close the listening sockets."""
        self._are_dismissed = True
        for worker in list(self._scopes):
            self.end(worker)
        for of_one in self._listeners:
            for sock in of_one:
                sock.close()

    def _is_anything_waiting(self) -> bool:
        poll = select.poll()
        for worker in self._scopes:
            for sock in (*self._listeners[worker], self._mailboxes[worker][0]):
                poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))


async def stand_in(listeners: Sequence[socket.socket], spread: Spread, outbox: socket.socket) -> None:
    """Do so until cancelled; what no worker takes by then waits for the next process of this one.

    Args:
        listeners: the worker's.
        spread: the worker's part in passing connections; what others have passed to it is passed on again.
        outbox: leads to the worker's inbox.
    """
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_pass_on, listener, partial(_accept, listener), spread, outbox)
        nursery.start_soon(_pass_on, spread.inbox, partial(_take_passed, spread), spread, outbox)


async def _pass_on(
    source: socket.socket, take: Callable[[], socket.socket | None], spread: Spread, outbox: socket.socket
) -> None:
    while True:
        await trio.lowlevel.wait_readable(source)
        client = take() if spread.has_taker() else None
        if client is None:
            await trio.sleep(_LOOK_AGAIN_S)
            continue
        with client:
            if not spread.pass_on(client, 0, is_full=True):
                _leave(client, outbox)
                await trio.sleep(_LOOK_AGAIN_S)  # or it would be taken from there at once


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        client, _ = listener.accept()
    except BlockingIOError:
        return None  # the worker itself has it
    except OSError as exc:  # the client is gone, or there are no descriptors: either will show again
        LOG.debug("cannot accept for a worker that is away", cause=exc.strerror)
        return None
    return client


def _take_passed(spread: Spread) -> socket.socket | None:
    try:
        return next(spread.take(1), None)
    except OSError as exc:  # as above
        LOG.debug("cannot take what was passed to a worker that is away", cause=exc.strerror)
        return None


def _leave(client: socket.socket, outbox: socket.socket) -> None:
    try:
        socket.send_fds(outbox, [b"\0"], [client.fileno()])
    except OSError as exc:
        LOG.warning("connection lost, no worker takes it", cause=exc.strerror)

"""Connections spread evenly over workers, by handing accepted ones over.

Rule: a connection is passed on once at most, right after it was accepted and before a byte of it is read.
Method: each worker tells in shared memory how many connections it has; who accepts one and has noticeably more than another
worker passes it there, a socket in a message (SCM_RIGHTS, unix(7)). The kernel picks a worker by a hash of the
addresses (SO_REUSEPORT), so of N connections on two workers one has more by the square root of N, usually. Where that is much, for
few connections that stay, it is evened out; of many, or of those that come and go, almost none is passed.

The shared memory holds signed numbers of 64 bits, each written by one worker only, a row for each worker: the connections
that it has and 1, or 0 if it takes none; those that it took from its inbox; and those that it passed, to each worker. So what
is still on its way counts as well: else all of a burst would be passed to one worker before that has seen the first of them.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOG = structlog.get_logger()

# A worker passes a connection on if it has so many more than another one, and this part of its own: 16 that stay are
# spread 10 to 6 or better. Of those that come and go, 16 at a time, 6 % are passed on; of 64 at a time 1.5 %.
_MORE = 4
_MORE_SHARE = 3

_OPEN, _TAKEN, _PASSED = 0, 1, 2


def cells(workers: int) -> int:
    """Return how many numbers of shared memory so many workers need, all of them 0 at first."""
    return workers * (workers + _PASSED)


def withdraw(counts: memoryview, workers: int, index: int) -> None:
    """Let nothing be passed to a worker; for whoever finds it dead."""
    counts[index * (workers + _PASSED) + _OPEN] = 0


class Spread:
    """One worker's part in it.

    Args:
        index: which of the workers this is.
        counts: the shared memory, as `q`; see `cells`.
        inbox: where other workers pass connections to this one. Like the outboxes an end of a pair of SOCK_SEQPACKET that
            does not block; who starts the workers has both ends too, so nothing on its way is lost with a worker.
        outboxes: where each worker's inbox is written to, by its index.
    """

    def __init__(self, index: int, counts: memoryview, inbox: socket.socket, outboxes: Sequence[socket.socket]) -> None:
        self.inbox = inbox
        self.is_closed = False
        """Nobody is left who could pass anything to the inbox."""
        self.passed = 0
        """Connections passed to others."""
        self.adopted = 0
        """Connections taken from others."""
        workers = len(outboxes)
        row = workers + _PASSED
        self._index = index
        self._counts = counts
        self._outboxes = outboxes
        self._rows = range(0, cells(workers), row)
        self._row = self._rows[index]
        self._others = [worker for worker in range(workers) if worker != index]
        self._passed_to = [counts[_PASSED + worker :: row] for worker in range(workers)]

    def publish(self, open_connections: int) -> None:
        """Tell the others how many connections this worker has, and that it takes more."""
        self._counts[self._row + _OPEN] = open_connections + 1

    def withdraw(self) -> None:
        """Tell the others to pass nothing more; what is on its way still comes."""
        self._counts[self._row + _OPEN] = 0

    def has_taker(self) -> bool:
        """Tell whether some other worker takes connections."""
        return any(self._counts[self._rows[worker] + _OPEN] for worker in self._others)

    def pass_on(self, sock: socket.socket, open_connections: int, *, is_full: bool = False) -> bool:
        """Pass an accepted connection to another worker if that has noticeably fewer; the caller closes its socket then.

        Args:
            sock: the connection's.
            open_connections: how many others this worker has.
            is_full: there is no place for it here, so any worker that takes it will do.
        """
        own = open_connections + self._on_their_way_to(self._index)
        worker = self._least_loaded(sys.maxsize if is_full else own - max(_MORE, own // _MORE_SHARE))
        if worker is None:
            return False
        passed = self._row + _PASSED + worker
        self._counts[passed] += 1
        try:
            socket.send_fds(self._outboxes[worker], [b"\0"], [sock.fileno()])
        except OSError:  # it takes no more at the moment, most likely
            self._counts[passed] -= 1
            return False
        self.passed += 1
        return True

    def take(self, at_most: int) -> Iterator[socket.socket]:
        """Yield connections from the inbox, each to be served.

        Raises:
            OSError: the inbox is broken.
        """
        taken = self._row + _TAKEN
        for _ in range(at_most):
            try:
                data, descriptors, _, _ = socket.recv_fds(self.inbox, 1, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                # None is on its way: a count that a worker left wrong when it was killed is right again.
                self._counts[taken] = sum(self._passed_to[self._index])
                return
            if not data:
                self.is_closed = True
                return
            self._counts[taken] += 1
            if not descriptors:
                LOG.warning("connection lost, passed by another worker", cause="no descriptor left")
            for descriptor in descriptors:
                self.adopted += 1
                yield socket.socket(fileno=descriptor)

    def _least_loaded(self, at_most: int) -> int | None:
        """Return the worker that has the fewest connections, if it takes some and these are `at_most`."""
        found = None
        for worker in self._others:
            load = self._counts[self._rows[worker] + _OPEN] - 1
            if 0 <= load <= at_most:
                load += self._on_their_way_to(worker)
                if load <= at_most:
                    found, at_most = worker, load - 1
        return found

    def _on_their_way_to(self, worker: int) -> int:
        on_their_way: int = sum(self._passed_to[worker]) - self._counts[self._rows[worker] + _TAKEN]
        return max(on_their_way, 0)  # another worker may be just between its two steps

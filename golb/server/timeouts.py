"""What the server waits for from its clients, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from golb.config import Config
    from golb.deadlines import Deadlines, TimeoutQueue
    from golb.server.connection import Connection
    from golb.server.writer import ResponseWriter

# A connection that closes on a client which still sends would take the answer with it (RFC 9112, 9.6): what comes is
# read and dropped, for so long.
_DISCARD_S = 2.0


class Idle(Protocol):
    """A connection without a request."""

    def stop_waiting(self) -> None:
        """Close if no request is on its way; one that has arrived is served."""


class Silent(Idle, Protocol):
    """A connection whose first request, or one that has begun, has not come yet."""

    def time_head_out(self) -> None:
        """Close, with an answer where a head has begun to arrive."""


class Timeouts:
    """The waits of all connections of a server, one queue for each kind; all in seconds, 0 = for ever."""

    def __init__(self, deadlines: Deadlines, *, head_s: float, idle_s: float, stall_s: float) -> None:
        self.head: TimeoutQueue[Silent] = deadlines.queue(head_s, lambda silent: silent.time_head_out())
        """From the first byte of a head, or the begin of the connection, to the head's end; for the whole of a TLS handshake."""
        self.idle: TimeoutQueue[Idle] = deadlines.queue(idle_s, lambda idle: idle.stop_waiting())
        """Between requests."""
        self.reading: TimeoutQueue[Connection] = deadlines.queue(stall_s, lambda connection: connection.time_body_out())
        """For the next piece of a body."""
        self.writing: TimeoutQueue[ResponseWriter] = deadlines.queue(stall_s, lambda writer: writer.on_stall())
        """For the client to read on."""
        self.discarding: TimeoutQueue[Connection] = deadlines.queue(_DISCARD_S, lambda connection: connection.abort())

    def change(self, config: Config, *, but_idle: bool = False) -> None:
        """Take the times of another configuration, for the waits under way as well.

        Args:
            config: has them.
            but_idle: leave alone how long a connection may be idle.
        """
        self.head.timeout_s = config.request_header_timeout
        self.reading.timeout_s = self.writing.timeout_s = config.client_idle_timeout
        if not but_idle:
            self.idle.timeout_s = config.keep_alive_timeout

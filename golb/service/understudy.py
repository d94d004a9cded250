"""Who accepts connections while a worker is being replaced: the parent, which passes each on to another worker at once."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golb.server.spread import Spread

LOG = structlog.get_logger()

# How soon to look again where no other worker takes connections either.
_LOOK_AGAIN_S = 0.02


async def stand_in(listeners: Sequence[socket.socket], spread: Spread, outbox: socket.socket) -> None:
    """Do so until cancelled; what no worker takes by then waits for the next process of this one.

    Args:
        listeners: the worker's, which the parent has too.
        spread: the worker's part in passing connections, which is nobody's at the moment.
        outbox: leads to the worker's inbox.
    """
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_pass_on, listener, spread, outbox)


async def _pass_on(listener: socket.socket, spread: Spread, outbox: socket.socket) -> None:
    while True:
        await trio.lowlevel.wait_readable(listener)
        if not spread.has_taker():
            await trio.sleep(_LOOK_AGAIN_S)
            continue
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue
        except OSError as exc:  # the client is gone, or there are no descriptors: either will show again
            LOG.debug("cannot accept for a worker that is away", cause=exc.strerror)
            await trio.sleep(_LOOK_AGAIN_S)
            continue
        with client:
            if not spread.pass_on(client, 0, is_full=True):
                _leave(client, outbox)


def _leave(client: socket.socket, outbox: socket.socket) -> None:
    try:
        socket.send_fds(outbox, [b"\0"], [client.fileno()])
    except OSError as exc:
        LOG.warning("connection lost, no worker takes it", cause=exc.strerror)

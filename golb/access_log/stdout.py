"""Lines on standard output, which the access log may share with golb's own log."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from golb.access_log.sink import Sink, pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK_FOR_ROOM_EVERY_S = 0.02


class StdoutSink(Sink):
    """Writes to standard output, in the loop's own thread.

    `golb.logs` asks whether there is room, and then writes, sure that it need not wait. A thread that came between the two
    could make all requests wait, or get into the middle of a long line.

    Args:
        descriptor: standard output's.
    """

    def __init__(self, descriptor: int = 1) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    async def write(self, lines: Sequence[bytes]) -> None:
        before = self.written
        try:
            for piece in pieces(lines):
                await self._write(piece)
        except OSError as exc:
            self.lost += len(lines) - (self.written - before)
            self.failure = exc.strerror or str(exc)

    async def close(self) -> None:
        """Leave it open: it is not the access log's own."""

    async def _write(self, data: bytes) -> None:
        while data:
            while not self._room.poll(0):  # noqa: ASYNC110 - no event tells of room in a terminal or a file
                await trio.sleep(_LOOK_FOR_ROOM_EVERY_S)
            with suppress(BlockingIOError):  # whoever shares it has made it so that writes do not wait
                count = os.write(self._descriptor, data)
                self.written += data.count(b"\n", 0, count)
                data = data[count:]
            await trio.lowlevel.checkpoint()

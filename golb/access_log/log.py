"""The access log: takes calls as they end, and writes them as lines without making any of them wait.

A call is put into a queue, which costs about a microsecond. One task takes what has gathered, writes it out as lines, a
few at a time, to a sink that may take its time. If lines come faster than they are taken, the queue is full and the
newest are dropped, counted, and told of in golb's log.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NoReturn
from zlib import crc32

import structlog
import trio

from golb.access_log.file import FileSink
from golb.access_log.lines import FORMS
from golb.access_log.stdout import StdoutSink

if TYPE_CHECKING:
    from pathlib import Path

    from golb.access_log.sink import Sink
    from golb.calls import CallRecord

LOG = structlog.get_logger()

MAX_WAITING = 8192
"""Calls that wait to be written; at 10,000 a second a file or a pipe may stall for 0.8 s before one is dropped."""

# Calls gather for so long, which is how late their lines are.
_GATHER_S = 0.05
# Some 100 microseconds of the loop's time.
_LINES_AT_ONCE = 16
# For one turn of a thread, which costs as much as ten lines.
_BYTES_AT_ONCE = 65536
# With longer texts than this a call is made a line at once, of 4 KiB at most: what waits is to stay small.
_MAX_CHARACTERS = 2048
_TELL_EVERY_S = 5.0
# How long the last lines may take to be written when golb ends.
_END_S = 1.0


class AccessLog:
    """An observer of calls. Nothing is written before `run` runs.

    Args:
        form: one of FORMS.
        path: of the file; None: standard output.
        sample_percent: how many of the calls are logged, from 0 to 100. Their request id decides: a call that went through
            several load balancers, all of which saw the same X-Request-Id, is in the logs of all or of none.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, form: str, path: Path | None = None, *, sample_percent: float = 100) -> None:
        self._line = FORMS[form]
        self._sink: Sink = StdoutSink() if path is None else FileSink(path)
        self.sample(sample_percent)
        self._waiting: deque[CallRecord | bytes] = deque()
        self._has_some = trio.Event()
        self._is_ending = trio.Event()
        self._taken = 0
        self._not_taken = 0
        self._told = 0

    def sample(self, percent: float) -> None:
        """Log so many of the calls that end from now on; as `sample_percent`."""
        self._below = None if percent >= 100 else round(percent / 100 * (1 << 32))

    @property
    def waiting(self) -> int:
        """Calls that wait to be written."""
        return len(self._waiting)

    @property
    def written(self) -> int:
        """Lines that were written."""
        return self._sink.written

    @property
    def dropped(self) -> int:
        """Lines that were not, and will not be: they came too fast, or the file could not be written."""
        return self._not_taken + self._sink.lost

    def __call__(self, record: CallRecord) -> None:
        """Take a call that has ended."""
        if self._below is not None and crc32(record.request_id.encode("utf-8", "replace")) >= self._below:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._not_taken += 1
            return
        self._taken += 1
        texts = len(record.target) + len(record.path) + len(record.function) + len(record.error or "")
        self._waiting.append(record if texts <= _MAX_CHARACTERS else self._line(record))
        self._has_some.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write lines as calls end; ready at once. Ends only by cancellation, and writes for a second more then."""
        try:
            async with trio.open_nursery() as nursery:
                writing = await nursery.start(self._keep_writing)
                task_status.started()
                try:
                    while True:
                        await trio.sleep(_TELL_EVERY_S)
                        self._tell_of_losses()
                finally:
                    writing.deadline = trio.current_time() + _END_S
                    self._is_ending.set()
                    self._has_some.set()
        finally:
            # A sink that still waits for its reader keeps what it has.
            self._not_taken += self._taken - self.written - self._sink.lost
            self._tell_of_losses()
        raise AssertionError  # not reached

    async def _keep_writing(self, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.CancelScope(shield=True) as scope:
            task_status.started(scope)
            while self._waiting or not self._is_ending.is_set():
                await self._has_some.wait()
                with trio.move_on_after(_GATHER_S):
                    await self._is_ending.wait()
                self._has_some = trio.Event()
                while self._waiting:
                    await self._sink.write(await self._next_lines())
            await self._sink.close()

    async def _next_lines(self) -> list[bytes]:
        lines: list[bytes] = []
        length = 0
        while self._waiting and length < _BYTES_AT_ONCE:
            call = self._waiting.popleft()
            lines.append(call if isinstance(call, bytes) else self._line(call))
            length += len(lines[-1])
            if len(lines) % _LINES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return lines

    def _tell_of_losses(self) -> None:
        lines = self.dropped - self._told
        if lines:
            self._told = self.dropped
            cause = self._sink.failure or "nobody read them in time"
            LOG.warning("access log lines dropped", lines=lines, cause=cause, written=self.written)

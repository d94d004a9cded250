"""Logs: coloured lines on stderr for people (`dev`), JSON lines on stdout for machines (`prod`).

What other packages log by the standard library leaves the same way, so that every line has the one form.
"""

from __future__ import annotations

import io
import logging
import select
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LOG = structlog.get_logger()

# At most 4 bytes each in UTF-8, so that a piece of a line that is longer is no longer than PIPE_BUF, 4,096 bytes.
_PIECE_CHARACTERS = 1024

_LEVELS = logging.getLevelNamesMapping()

_CALLSITE = CallsiteParameterAdder(
    {CallsiteParameter.PATHNAME, CallsiteParameter.LINENO}, additional_ignores=["structlog", "logging", "golb.logs"]
)


def configure_logs(mode: str, level: str, *, worker: int | None = None, has_colours: bool | None = None) -> None:
    """Set up logging for the process.

    Args:
        mode: `dev` or `prod`.
        level: the least level that is logged: `debug`, `info`, `warning` or `error`.
        worker: which of several this process is; each line says so. None: it is none.
        has_colours: whether lines for people are coloured; None: they are if they go to a terminal.
    """
    stream = sys.stdout if mode == "prod" else sys.stderr
    lines = _Lines(stream)
    set_log_level(level)
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _CALLSITE,
        _add_caller,
    ]
    if worker is not None:
        shared.append(partial(_add_worker, worker))
    rendering: list[Processor] = (
        [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ]
        if mode == "prod"
        else [
            # Left alone, it prints the values of local variables beside a traceback where rich is installed: secrets too.
            structlog.dev.ConsoleRenderer(
                colors=has_colours if has_colours is not None else stream.isatty(),
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[_THRESHOLD, *shared, *rendering],
        # All of them, since a logger keeps its class from its first line on.
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        logger_factory=lambda *_: _LineLogger(lines),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(cast("TextIO", lines))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.raiseExceptions = False  # as for golb's own lines
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # A line for each call to etcd, and one for each byte of its connection, belong to those who look into httpx.
    for name in ("httpx", "httpcore", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)


def set_log_level(level: str) -> None:
    """Log from this level on, by whatever logger; as `configure_logs`."""
    _THRESHOLD.level = _LEVELS[level.upper()]
    logging.getLogger().setLevel(_THRESHOLD.level)


class _Threshold:
    """Drops what is below a level."""

    def __init__(self) -> None:
        self.level = logging.INFO

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        del logger
        if _LEVELS[method.upper()] < self.level:
            raise structlog.DropEvent
        return event


_THRESHOLD = _Threshold()


class _LineLogger:
    """What structlog writes to. Its own WriteLogger holds a lock that cannot be taken twice, and of dropped lines a line tells while another is written."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def msg(self, message: str) -> None:
        self._lines.write(message + "\n")

    log = debug = info = warn = warning = err = error = critical = fatal = exception = msg


class _Lines(io.TextIOBase):
    """A stream that never makes golb wait or fail: whoever reads the log may be slow, or gone.

    A line that finds no room is dropped; the next one that finds some says how many were. One of more than PIPE_BUF bytes
    may be cut, but is a line still.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = 0
        self._is_cut = False
        self._writing = threading.RLock()  # a thread of another package may log
        self._poll: select.poll | None = None
        with suppress(OSError):  # a stream in memory has no descriptor, and never lacks room
            self._poll = select.poll()
            self._poll.register(stream.fileno(), select.POLLOUT)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        with self._writing:
            if self._dropped and self.has_room():
                dropped, self._dropped = self._dropped, 0
                LOG.warning("log lines dropped, nobody read them in time", lines=dropped)
            for line in text.splitlines(keepends=True):
                self._write_line(line)
        return len(text)

    def _write_line(self, line: str) -> None:
        if self._is_cut:
            line = f"\n{line}"
        is_short = len(line.encode("utf-8", "surrogatepass")) <= select.PIPE_BUF
        length = len(line) if is_short else _PIECE_CHARACTERS
        for start in range(0, len(line), length):
            if not self.has_room():
                self._dropped += 1
                self._is_cut = self._is_cut or start > 0
                return
            with suppress(OSError):
                self._stream.write(line[start : start + length])
                self._stream.flush()
            self._is_cut = False

    def has_room(self) -> bool:
        """Tell whether a piece can be written without waiting; a pipe that is ready takes PIPE_BUF bytes (pipe(7))."""
        return self._poll is None or bool(self._poll.poll(0))


def line_printer(stream: TextIO) -> _Lines:
    """Return what prints lines, as golb's own are printed: it never makes golb wait or fail, and tells whether there is room."""
    return _Lines(stream)


def _add_worker(worker: int, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    event.setdefault("worker", worker)
    return event


def _add_caller(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    path: Any = event.pop("pathname", "")
    line: Any = event.pop("lineno", "")
    event["caller"] = f"{'/'.join(str(path).split('/')[-2:])}:{line}"
    return event

"""Logs: coloured lines on stderr for people (`dev`), JSON lines on stdout for machines (`prod`).

What other packages log by the standard library leaves the same way, so that every line has the one form.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_CALLSITE = CallsiteParameterAdder(
    {CallsiteParameter.PATHNAME, CallsiteParameter.LINENO}, additional_ignores=["structlog", "logging", "golb.logs"]
)


def configure_logs(mode: str, level: str) -> None:
    """Set up logging for the process.

    Args:
        mode: `dev` or `prod`.
        level: the least level that is logged: `debug`, `info`, `warning` or `error`.
    """
    stream = sys.stdout if mode == "prod" else sys.stderr
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _CALLSITE,
        _add_caller,
    ]
    rendering: list[Processor] = (
        [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ]
        if mode == "prod"
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lines(stream))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.raiseExceptions = False  # as for golb's own lines
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    # A line for each call to etcd, and one for each byte of its connection, belong to those who look into httpx.
    for name in ("httpx", "httpcore", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Lines:
    """A stream that may break: whoever reads the log going away must not end what is logged about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _add_caller(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    path: Any = event.pop("pathname", "")
    line: Any = event.pop("lineno", "")
    event["caller"] = f"{'/'.join(str(path).split('/')[-2:])}:{line}"
    return event

"""The one way in which the demo fails: a part of it did not start, or did not do what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOG_TAIL_LINES = 40


class PartFailed(Exception):
    """A part of the demo failed while it started. Say which, show its log, stop the others and exit 1."""

    def __init__(self, part: str, reason: str, log: Path | None = None) -> None:
        super().__init__(f"{part}: {reason}")
        self.log = log

    def report(self) -> str:
        """Return what the user should read: the part, the reason and the end of its log."""
        text = f"golb demo: {self}\n"
        return text if self.log is None else text + log_tail(self.log)


def log_tail(log: Path) -> str:
    """Return the last lines of a log, each marked as a quotation, below the log's path."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError as exc:
        return f"its log cannot be read: {exc}\n"
    if not lines:
        return f"its log, {log}, is empty\n"
    shown = lines[-LOG_TAIL_LINES:]
    return f"the last {len(shown)} lines of its log, {log}:\n" + "".join(f"  | {line}\n" for line in shown)

"""What a command says: tables and lines for people, JSON for scripts; results on stdout, all else on stderr.

Rule: what goes to a pipe has no colours, no wrapped and no cut cells, and no spaces at the ends of lines. Nothing that
comes from etcd is taken for rich's markup: an IPv6 target, `[fd00::5]:80`, would be.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from golb.commands.errors import OutputLost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from golb.commands.errors import CommandFailed

_GAP = "  "
MOST_STYLED_ROWS = 2000
"""Of a table on a terminal. rich takes a millisecond for a row, and zones have ten thousand functions; a longer one is shown as in a pipe."""


@frozen
class Column:
    """A column of a table."""

    name: str
    is_number: bool = False
    style: str = ""


@frozen
class Output:
    """Where one command's words go."""

    is_json: bool
    command: str = "weights"
    """Whose words they are."""

    def json(self, value: Mapping[str, Any]) -> None:
        """Write an object on a line, where JSON was asked for."""
        if self.is_json:
            self._write(json.dumps(value))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Text | str]], title: str = "") -> None:
        """Write a table, unless JSON was asked for; the title goes to terminals only."""
        if self.is_json:
            return
        cells = list(rows)
        if sys.stdout is not None and sys.stdout.isatty() and len(cells) <= MOST_STYLED_ROWS:
            self._write(_terminal_table(columns, cells, title))
        else:
            self._write(_pipe_table(columns, cells))

    def line(self, text: str) -> None:
        """Write a line, unless JSON was asked for."""
        if not self.is_json:
            self._write(text)

    def note(self, text: str) -> None:
        """Write a line that is no part of the result; if it cannot be written, there is nobody to tell."""
        with suppress(OSError):
            click.echo(text, err=True)

    def failure(self, failure: CommandFailed) -> None:
        """Say why the command ends: a line on stderr, and where JSON was asked for an object on stdout too."""
        if not isinstance(failure.__cause__, BrokenPipeError):  # `| head` has what it wanted
            self.note(f"golb {self.command}: {failure}")
        error = {"kind": failure.kind, "message": str(failure), "written": list(failure.written)}
        with suppress(OutputLost):
            self.json({"error": {**error, "not_written": list(failure.not_written)}})

    def _write(self, text: str) -> None:
        if sys.stdout is None:
            raise OutputLost("stdout is closed")
        # Names may have characters that the terminal's encoding lacks.
        encoding = sys.stdout.encoding
        try:
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            sys.stdout.flush()
        except OSError as exc:
            _drop_output()
            raise OutputLost(f"the output cannot be written: {exc.strerror}") from exc


def _terminal_table(columns: Sequence[Column], rows: Iterable[Sequence[Text | str]], title: str) -> str:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(title) if title else None,
        title_justify="left",
        header_style="bold",
        pad_edge=False,
        padding=(0, 1),
    )
    for column in columns:
        table.add_column(
            Text(column.name),
            justify="right" if column.is_number else "left",
            style=column.style,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*[Text(cell) if isinstance(cell, str) else cell for cell in row])
    console = Console(file=sys.stdout, force_terminal=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get().removesuffix("\n")


def _pipe_table(columns: Sequence[Column], rows: Iterable[Sequence[Text | str]]) -> str:
    lines = [[column.name for column in columns], *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(_pipe_row(columns, widths, cells) for cells in lines)


def _pipe_row(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    padded = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if column.is_number else cell + space)
    return _GAP.join(padded).rstrip()


def _drop_output() -> None:
    """Let what is still held for stdout go nowhere: Python would try to write it once more at its end, and complain."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

"""What a command says: tables and lines for people, JSON for scripts; results on stdout, all else on stderr.

Rule: what goes to a pipe has no colours, no wrapped and no cut cells, and no spaces at the ends of lines. Nothing that
comes from etcd is taken for rich's markup: an IPv6 target, `[fd00::5]:80`, would be.
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

from attrs import frozen
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from golb.commands.errors import CommandFailed

# As wide as any line of a table may get in a pipe.
_PIPE_WIDTH = 1 << 20


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

    def json(self, value: Mapping[str, Any]) -> None:
        """Write an object on a line, where JSON was asked for."""
        if self.is_json:
            self._write(json.dumps(value))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[RenderableType]], title: str = "") -> None:
        """Write a table, unless JSON was asked for; the title goes to terminals only."""
        if self.is_json:
            return
        is_terminal = sys.stdout.isatty()
        table = Table(
            box=box.SIMPLE_HEAD if is_terminal else None,
            title=Text(title) if title and is_terminal else None,
            title_justify="left",
            header_style="bold" if is_terminal else "",
            pad_edge=False,
            padding=(0, 1) if is_terminal else (0, 2, 0, 0),
        )
        for column in columns:
            table.add_column(
                Text(column.name),
                justify="right" if column.is_number else "left",
                style=column.style if is_terminal else "",
                overflow="fold",
                no_wrap=not is_terminal,
            )
        for row in rows:
            table.add_row(*[Text(cell) if isinstance(cell, str) else cell for cell in row])
        if is_terminal:
            Console(file=sys.stdout, force_terminal=True).print(table)
        else:
            text = io.StringIO()
            Console(file=text, width=_PIPE_WIDTH, force_terminal=False, color_system=None).print(table)
            self._write("\n".join(line.rstrip() for line in text.getvalue().splitlines()))

    def line(self, text: str) -> None:
        """Write a line, unless JSON was asked for."""
        if not self.is_json:
            self._write(text)

    def note(self, text: str) -> None:
        """Write a line that is no part of the result."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def failure(self, failure: CommandFailed) -> None:
        """Say why the command ends: a line on stderr, and where JSON was asked for an object on stdout too."""
        self.note(f"golb weights: {failure}")
        error = {"kind": failure.kind, "message": str(failure), "written": list(failure.written)}
        self.json({"error": {**error, "not_written": list(failure.not_written)}})

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

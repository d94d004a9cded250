"""What a worker prints, into its parent's own output.

Each worker has a pipe of its own. In one that they shared, the room that one has seen could be gone when it writes, so
that it would have to wait for whoever reads the log; and long lines could be mixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Beyond it a line is passed on in parts.
_LINE_BYTES = 1 << 20
_LOOK_FOR_ROOM_EVERY_S = 0.02


class Printer(Protocol):
    """What lines are printed by; see `golb.logs.line_printer`."""

    def has_room(self) -> bool:
        """Tell whether a line can be written without waiting."""

    def write(self, text: str, /) -> object:
        """Write a line, or drop it where there is no room."""


def patient(printer: Printer) -> Callable[[str], Awaitable[None]]:
    """Return what prints lines as soon as somebody takes them: what is dropped meanwhile is for the worker to decide, which knows a call's line from others."""

    async def print_lines(text: str) -> None:
        for line in text.splitlines(keepends=True):
            while not printer.has_room():  # noqa: ASYNC110 - no event tells of room in a terminal or a file
                await trio.sleep(_LOOK_FOR_ROOM_EVERY_S)
            printer.write(line)

    return print_lines


async def relay(output: trio.abc.ReceiveStream, write: Callable[[str], Awaitable[object]]) -> None:
    """Pass whole lines on until the output ends.

    Args:
        output: what is printed.
        write: takes one or several lines; while it waits, the output has to wait too.
    """
    begun = b""
    async with output:
        async for data in output:
            lines, newline, rest = (begun + data).rpartition(b"\n")
            if newline:
                await write((lines + newline).decode("utf-8", "replace"))
            begun = rest
            if len(begun) > _LINE_BYTES:
                await write(begun.decode("utf-8", "replace") + "\n")
                begun = b""
    if begun:
        await write(begun.decode("utf-8", "replace") + "\n")

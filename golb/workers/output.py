"""What a worker prints, into its parent's own output.

Each worker has a pipe of its own. In one that they shared, the room that one has seen could be gone when it writes, so
that it would have to wait for whoever reads the log; and long lines could be mixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

# Beyond it a line is passed on in parts.
_LINE_BYTES = 1 << 20


async def relay(output: trio.abc.ReceiveStream, write: Callable[[str], object]) -> None:
    """Pass whole lines on until the output ends.

    Args:
        output: what is printed.
        write: takes one or several lines; must not wait.
    """
    begun = b""
    async with output:
        async for data in output:
            lines, newline, rest = (begun + data).rpartition(b"\n")
            if newline:
                write((lines + newline).decode("utf-8", "replace"))
            begun = rest
            if len(begun) > _LINE_BYTES:
                write(begun.decode("utf-8", "replace") + "\n")
                begun = b""
    if begun:
        write(begun.decode("utf-8", "replace") + "\n")

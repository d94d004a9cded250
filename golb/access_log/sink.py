"""Where the lines of the access log go, and the count of those that got there."""

from __future__ import annotations

import select
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Sink(ABC):
    """Takes lines, from one task."""

    def __init__(self) -> None:
        self.written = 0
        """Lines, all that there were."""
        self.lost = 0
        """Lines that could not be written."""
        self.failure = ""
        """Why the last of those could not."""

    @abstractmethod
    async def write(self, lines: Sequence[bytes]) -> None:
        """Write lines, each with its end; what cannot be written is counted as lost. Raises nothing, cancelled or not.

        It waits for as long as nobody takes the lines; if it is cancelled then, some are neither written nor lost.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give back what it holds."""


def pieces(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yield whole lines, so few at once that a pipe takes them whole beside those of other writers (pipe(7))."""
    piece: list[bytes] = []
    length = 0
    for line in lines:
        if piece and length + len(line) > select.PIPE_BUF:
            yield b"".join(piece)
            piece, length = [], 0
        piece.append(line)
        length += len(line)
    if piece:
        yield b"".join(piece)

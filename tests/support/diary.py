"""A pollable that writes down what a poller tells it, and pairs of sockets to be told of."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND_S = 5


class Diary:
    """A pollable that writes down what it is told, and then does as the test says."""

    def __init__(
        self,
        entries: list[str] | None = None,
        name: str = "",
        *,
        on_input: Callable[[], object] = lambda: None,
        on_flush: Callable[[], object] = lambda: None,
    ) -> None:
        self.entries = [] if entries is None else entries
        self._name = name
        self._on_input = on_input
        self._on_flush = on_flush
        self._told = trio.Event()

    def notice_input(self, *, ended: bool) -> None:
        self._write("ended" if ended else "input")
        self._on_input()

    def notice_output(self) -> None:
        self._write("output")

    def flush(self) -> None:
        self._write("flush")
        self._on_flush()

    def _write(self, entry: str) -> None:
        self.entries.append(self._name + entry)
        self._told.set()
        self._told = trio.Event()

    async def until(self, entry: str) -> None:
        """Wait until it has been told this."""
        with trio.fail_after(BOUND_S):
            while self._name + entry not in self.entries:
                await self._told.wait()


def inputs(entries: list[str]) -> list[str]:
    """Return who was told of input, in order."""
    return [entry.removesuffix("input") for entry in entries if entry.endswith("input")]


async def until_told(entries: list[str], what: str, count: int) -> None:
    """Wait until so many have been told of something; between two rounds of Trio it is some of them."""
    with trio.fail_after(BOUND_S):
        while sum(entry.endswith(what) for entry in entries) < count:
            await trio.lowlevel.checkpoint()


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs

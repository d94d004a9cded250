"""One Trio loop for many inputs, with a clock that jumps to the next deadline when all tasks wait.

To start a loop for each input would take longer than the rest of it. This one is a guest that runs only while an input
does; its host is whoever calls `run`.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

HANG_S = 120.0
"""Longer than all of golb's own timeouts together: what has not ended by then never will. On the jumping clock."""

_current: Loop | None = None


class Loop:
    """A guest run; made by `open_loop`."""

    def __init__(self) -> None:
        self._steps: deque[Callable[[], object]] = deque()
        self._job: Callable[[], Awaitable[None]] | None = None
        self._failure: BaseException | None = None
        self._stopped = False
        trio.lowlevel.start_guest_run(
            self._work,
            run_sync_soon_threadsafe=self._steps.append,
            done_callback=self._end,
            # With no threshold the loop never waits for input or output, so no thread takes part.
            clock=trio.testing.MockClock(autojump_threshold=0),
        )

    def run(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run to its end; raises what it raises, `trio.TooSlowError` if it hangs."""
        self._job = function
        while self._is_busy():
            self._steps.popleft()()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _is_busy(self) -> bool:
        return self._job is not None

    def stop(self) -> None:
        """End the guest run."""
        self._job = None
        self._stopped = True
        while self._steps:
            self._steps.popleft()()

    def _end(self, outcome: Any) -> None:
        outcome.unwrap()

    async def _work(self) -> None:
        while not self._stopped:
            if self._job is not None:
                try:
                    with trio.fail_after(HANG_S):
                        await self._job()
                except BaseException as exc:  # noqa: BLE001 - the host raises it
                    self._failure = exc
                self._job = None
            await trio.lowlevel.checkpoint()


@contextmanager
def open_loop() -> Iterator[None]:
    """Keep one loop for all calls of `run` that are made meanwhile in this thread."""
    global _current  # noqa: PLW0603 - a thread has one Trio loop
    _current = Loop()
    try:
        yield
    finally:
        _current.stop()
        _current = None


def run(function: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run an async function to its end; in the open loop, or in one of its own.

    Raises:
        trio.TooSlowError: it hangs.
    """
    if _current is not None:
        _current.run(partial(function, *arguments))
        return
    with open_loop():
        run(function, *arguments)

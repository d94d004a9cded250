"""Coroutines that the poller resumes by itself, without a turn of Trio's scheduler.

What a connection waits for is a socket, twice a request and hardly ever anything else. To be scheduled for that, and put
to sleep again, takes a seventh of what golb does for a request. So a connection's coroutine runs as a fiber: its Trio
task stands still, and the poller resumes the coroutine in the task's place, in the task's context. To the rest of the
program it is a task like any other: cancelled, it raises, and it ends when the coroutine does.

Rule: between two waits for a socket a fiber may do anything that does not ask Trio for the running task, as all scopes,
nurseries, locks, events and sleeps do. `await attach()` comes before these, and before code that golb does not know.
From there on the fiber runs in its task, as any coroutine does, until it calls `detach` with no scope or nursery of its
own open. Who forgets gets Trio's RuntimeError as soon as the poller resumes it there, and it stays within the connection.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

T_co = TypeVar("T_co", covariant=True)


class _Request:
    """What a fiber may ask for beside Trio's traps."""


_WAIT = _Request()
_ATTACH = _Request()

_running: Fiber[object] | None = None


def running() -> Fiber[object] | None:
    """Return the fiber that calls this, if it is one and is not attached to its task."""
    return _running


@types.coroutine
def wait() -> Generator[object, BaseException | None, None]:
    """Wait until the fiber is resumed or woken; only in one that is `running`.

    Raises:
        BaseException: what its task is told instead, as a rule trio.Cancelled.
    """
    failure = yield _WAIT
    if failure is not None:
        raise failure


async def attach() -> None:
    """Go on in the task of the fiber that calls this; no effect where there is none, or where it is attached."""
    fiber = _running
    if fiber is not None:
        await fiber.attach()


async def _rooted(coroutine: Coroutine[object, object, T_co]) -> T_co:
    """Give a coroutine a root of Python's own, which keeps the exception that it handles while it waits.

    One that is compiled leaves that to whoever resumes it: the poller, whose caller would show it to all the others. So
    this module must not be compiled.
    """
    return await coroutine


class Fiber(Generic[T_co]):
    """A coroutine, and the task in whose place the poller runs it.

    Args:
        coroutine: not begun yet.
    """

    __slots__ = (
        "_context",
        "_coroutine",
        "_failure",
        "_is_attached",
        "_is_done",
        "_is_parked",
        "_request",
        "_result",
        "_task",
    )

    def __init__(self, coroutine: Coroutine[object, object, T_co]) -> None:
        self._coroutine = _rooted(coroutine)
        self._request: object = None
        """The coroutine's last one: one of the two above, or one of Trio's traps."""
        self._is_done = False
        self._result: T_co
        self._failure: BaseException | None = None
        self._is_attached = False
        self._is_parked = False
        """The task stands still until the coroutine needs it."""
        self._task: trio.lowlevel.Task
        self._context: Context

    @types.coroutine
    def run(self) -> Generator[object, object, T_co]:
        """Run the coroutine in place of the calling task until it ends; returns and raises what it does."""
        self._task = trio.lowlevel.current_task()
        self._context = self._task.context
        self._step(None)
        while not self._is_done:
            request = self._request
            if request is _WAIT:
                failure = yield from self._park()
                # A task that was cancelled may find that its coroutine waits no more. Trio tells it again at the next wait.
                if self._request is _WAIT:
                    self._step(failure)
            elif request is _ATTACH:
                self._step(None)
            else:
                try:
                    answer = yield request
                except BaseException as exc:  # noqa: BLE001 - it is no trap of Trio's, as whoever made it has to hear
                    self._step(exc, self._coroutine.throw)
                else:
                    self._step(answer)
        failure, self._failure = self._failure, None  # its traceback leads here: kept, the two would be a cycle
        if failure is None:
            return self._result
        try:
            raise failure
        finally:
            del failure

    @types.coroutine
    def _park(self) -> Generator[object, object, BaseException | None]:
        """Let the task stand still; returns what it is told, if it does not just go on."""
        self._is_parked = True
        try:
            yield from trio.lowlevel.wait_task_rescheduled(self._unpark)  # noqa: ASYNC105 - no `await` in a generator
        except BaseException as exc:  # noqa: BLE001 - the coroutine raises it
            return exc
        return None

    def _unpark(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._is_parked = False
        return trio.lowlevel.Abort.SUCCEEDED

    def resume(self) -> None:
        """Let the coroutine go on at once; does not raise.

        Called by the poller, outside of any task, and only when there is what the coroutine waits for. If the task
        has been woken or cancelled, and only has to have its turn, there is no effect.
        """
        if self._is_parked:
            self._context.run(self._step, None)
            if self._request is not _WAIT:
                self.wake()

    def wake(self) -> None:
        """Let the coroutine go on in its task when that has its turn; may be called from any task."""
        if self._is_parked:
            self._is_parked = False
            trio.lowlevel.reschedule(self._task)

    def _step(self, told: object, send: Callable[..., object] | None = None) -> None:
        """Run the coroutine until it asks for something, or ends."""
        global _running  # noqa: PLW0603 - like Trio's running task: there is one
        if not self._is_attached:
            _running = self
        try:
            self._request = (send or self._coroutine.send)(told)
        except StopIteration as exc:
            self._result = exc.value
            self._end()
        except BaseException as exc:  # noqa: BLE001 - the task raises it
            self._failure = exc
            self._end()
        _running = None

    def _end(self) -> None:
        self._is_done = True
        self._request = None

    @types.coroutine
    def attach(self) -> Generator[object, object, None]:
        """Go on in the task; called by the fiber itself, as `detach` is."""
        global _running  # noqa: PLW0603 - as in `_step`
        self._is_attached = True
        _running = None
        yield _ATTACH

    def detach(self) -> None:
        """Let the poller resume the coroutine from the next `wait` on."""
        global _running  # noqa: PLW0603 - as in `_step`
        self._is_attached = False
        _running = self

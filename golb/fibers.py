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

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from golb.mypyc import rooted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

T_co = TypeVar("T_co", covariant=True)


class _Request:
    """What a fiber may ask for beside Trio's traps, by waiting for it."""

    def __await__(self) -> Generator[object, object, None]:
        yield self


RESUMPTION: Final = _Request()
"""To be resumed or woken; only for a fiber that is `running`. Raises what its task is told instead, as a rule trio.Cancelled."""
_TASK: Final = _Request()
"""To go on in its task."""


class _Turn:
    """Holds the fiber that runs: like Trio's running task, there is one. Compiled, an attribute is found faster than a global."""

    def __init__(self) -> None:
        self.fiber: Fiber[object] | None = None


_turn: Final = _Turn()


def running() -> Fiber[object] | None:
    """Return the fiber that calls this, if it is one and is not attached to its task."""
    return _turn.fiber


async def attach() -> None:
    """Go on in the task of the fiber that calls this; no effect where there is none, or where it is attached."""
    fiber = _turn.fiber
    if fiber is not None:
        fiber.is_attached = True
        _turn.fiber = None
        await _TASK


class Fiber(Generic[T_co]):
    """A coroutine, and the task in whose place the poller runs it: whoever waits for the fiber. It may be waited for once.

    Args:
        coroutine: not begun yet. The wait for the fiber returns and raises what it does.
    """

    __slots__ = (
        "_context",
        "_coroutine",
        "_failure",
        "_go_on",
        "_is_done",
        "_is_parked",
        "_request",
        "_result",
        "_task",
        "is_attached",
    )

    def __init__(self, coroutine: Coroutine[object, object, T_co]) -> None:
        self._coroutine = rooted(coroutine)
        self._request: object = None
        """The coroutine's last one: one of the two above, or one of Trio's traps."""
        self._is_done = False
        self._result: T_co
        self._failure: BaseException | None = None
        self._is_parked = False
        """The task stands still until the coroutine needs it."""
        self._task: trio.lowlevel.Task
        self._context: Context
        self._go_on: Callable[[None], None] | None = None
        """`_step`, bound once and not for each request, until the end."""
        self.is_attached = False
        """The coroutine runs in its task; set by itself."""

    def __await__(self) -> Generator[object, object, T_co]:
        """Run the coroutine in place of the calling task until it ends."""
        self._task = trio.lowlevel.current_task()
        self._context = self._task.context
        self._go_on = self._step
        self._step(None)
        while not self._is_done:
            request = self._request
            answer: object = None
            raised: BaseException | None = None
            try:
                if request is RESUMPTION:
                    self._is_parked = True
                    yield from trio.lowlevel.wait_task_rescheduled(self._unpark).__await__()  # noqa: ASYNC105 - no `await` in a generator
                elif request is not _TASK:
                    answer = yield request
            except BaseException as exc:  # noqa: BLE001 - the coroutine raises it
                raised = exc
            # A task that was cancelled may find that its coroutine waits no more. Trio tells it again at the next wait.
            if self._request is request:
                self._step(answer, raised)
            raised = None  # its traceback leads here: kept, the two would be a cycle
        failure, self._failure = self._failure, None  # likewise
        if failure is None:
            return self._result
        try:
            raise failure
        finally:
            del failure

    def _unpark(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._is_parked = False
        return trio.lowlevel.Abort.SUCCEEDED

    def resume(self) -> None:
        """Let the coroutine go on at once; does not raise.

        Called by the poller, outside of any task, and only when there is what the coroutine waits for. If the task
        has been woken or cancelled, and only has to have its turn, there is no effect.
        """
        if self._is_parked:
            assert self._go_on is not None  # noqa: S101 - it has not come to its end
            self._context.run(self._go_on, None)
            if self._request is not RESUMPTION:
                self.wake()

    def wake(self) -> None:
        """Let the coroutine go on in its task when that has its turn; may be called from any task."""
        if self._is_parked:
            self._is_parked = False
            trio.lowlevel.reschedule(self._task)

    def _step(self, told: object, raised: BaseException | None = None) -> None:
        """Run the coroutine until it asks for something, or ends; first it gets `told` for what it has asked for, or raises `raised`."""
        if not self.is_attached:
            _turn.fiber = self
        try:
            self._request = self._coroutine.send(told) if raised is None else self._coroutine.throw(raised)
        except StopIteration as ended:
            self._result = ended.value
            self._end()
        except BaseException as exc:  # noqa: BLE001 - the task raises it
            self._failure = exc
            self._end()
        raised = None  # as above
        _turn.fiber = None

    def _end(self) -> None:
        self._is_done = True
        self._request = self._go_on = None

    def detach(self) -> None:
        """Let the poller resume the coroutine from the next wait on; called by the fiber itself."""
        self.is_attached = False
        _turn.fiber = self

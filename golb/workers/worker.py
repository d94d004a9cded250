"""A worker, as its parent sees it: a place, and the process that has it now, which is replaced when it is gone."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
from attrs import frozen

from golb.workers.conversation import SEND_TIMEOUT_S, Conversation
from golb.workers.link import Link, LinkLost
from golb.workers.output import relay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from golb.workers.conversation import Batches, Taker
    from golb.workers.place import Place
    from golb.workers.questions import Questions

LOG = structlog.get_logger()

# One that has lived for so long does not keep dying.
_STABLE_S = 10.0
_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 10.0
# One whose link is gone is about to end, as a rule.
_END_TIMEOUT_S = 2.0
# It accepts no more a moment after it was told, unless it hangs.
_STOP_TIMEOUT_S = 1.0
# Processes keep the drain's time by themselves.
_DRAIN_GRACE_S = 5.0
# What it has printed is there when it has ended; a program that it has started may hold the pipes open for ever.
_OUTPUT_TIMEOUT_S = 0.5


@frozen(kw_only=True)
class Surroundings:
    """What all workers of a parent have in common."""

    command: Sequence[str]
    """What starts one."""
    environ: Callable[[], Mapping[str, str]]
    """The variables of one that is being started."""
    subscribe: Callable[[], AbstractContextManager[Batches]]
    """To the weights."""
    taker: Callable[[], Taker]
    """Of these."""
    print_output: Callable[[str], Awaitable[object]]
    """Takes lines that one prints on standard output."""
    print_errors: Callable[[str], Awaitable[object]]
    """Takes lines that one prints on standard error."""
    on_serving: Callable[[int], object]
    """Told, with the index of a worker, that its process accepts requests, or answers again."""
    on_away: Callable[[int], object]
    """Told that it accepts no more, does not answer, or has ended; perhaps of several of these."""
    on_health: Callable[[int, dict[str, Any]], object]
    """Told, with the index of a worker, of endpoints that begin to rest in it, or serve again."""


class Worker:
    """One of several.

    Args:
        index: which one.
        place: makes what a process is told, of the descriptor of its end of the link.
        surroundings: the rest.
        on_end: called when a process here has ended, before another one is started.
    """

    def __init__(
        self,
        index: int,
        place: Callable[[int], Place],
        surroundings: Surroundings,
        on_end: Callable[[], object],
    ) -> None:
        self._place = place
        self._around = surroundings
        self._on_end = on_end
        self._may_serve = trio.Event()
        self._draining = trio.Event()
        self._told_to_drain = trio.Event()
        self._drain_timeout_s = 0.0
        self._has_stopped = trio.Event()
        self._has_stopped.set()
        self._link: Link | None = None
        self._conversation: Conversation | None = None
        self._last_under_way: Mapping[str, int] = {}
        """What the process that ended last had under way, as far as it has said."""
        self.index = index
        self.pid = 0
        """Of the process; 0 while there is none."""
        self.started_s = 0.0
        """Unix time in seconds at which it was started."""
        self.replaced = 0
        """How many processes have ended here that should not have."""
        self.exit_code: int | None = None
        """Of the process that ended last; negative for a signal; None if there was none."""
        self.has_had_table = trio.Event()
        """A process here has had the whole table."""
        self.has_served = trio.Event()
        """A process here has accepted requests."""

    @property
    def state(self) -> str:
        """`starting`, `serving` or `draining`."""
        conversation = self._conversation
        if self._draining.is_set() or (conversation is not None and conversation.drains):
            return "draining"
        return "serving" if self.serves else "starting"

    @property
    def serves(self) -> bool:
        """Whether the process accepts requests, as far as it has said."""
        return self._conversation is not None and self._conversation.serves

    @property
    def questions(self) -> Questions | None:
        """By which to ask the process; None while there is none."""
        return None if self._conversation is None else self._conversation.questions

    async def run(self) -> None:
        """Keep a process here until `retire` or `drain`, and then until that has ended. Cancelled, it kills the process."""
        delay_s = 0.0
        while not self._draining.is_set():
            began_s = trio.current_time()
            try:
                self.exit_code = await self._run_process()
            except OSError as exc:
                self.exit_code = None
                LOG.error("worker cannot be started", worker=self.index, cause=str(exc))  # noqa: TRY400 - the node lacks something
            self._on_end()
            self._around.on_away(self.index)
            if self._draining.is_set():
                if self.exit_code:
                    LOG.error(
                        "worker ended before it was drained",
                        worker=self.index,
                        exit=_shown(self.exit_code),
                        **self._last_under_way,
                    )
                return
            if trio.current_time() - began_s >= _STABLE_S:
                delay_s = 0.0
            self.replaced += 1
            LOG.error(
                "worker ended, another process takes its place",
                worker=self.index,
                exit=_shown(self.exit_code),
                started_in_s=delay_s,
                replaced=self.replaced,
                **self._last_under_way,
            )
            with trio.move_on_after(delay_s):
                await self._draining.wait()
            delay_s = min(max(2 * delay_s, _FIRST_DELAY_S), _MAX_DELAY_S)

    def let_serve(self) -> None:
        """Let it serve, and whoever replaces it."""
        self._may_serve.set()

    def retire(self) -> None:
        """Start no further process here; the one that there is goes on."""
        self._draining.set()

    async def drain(self, timeout_s: float) -> None:
        """Let the process end in order; nobody replaces it. Returns when it accepts no more, or takes too long to say so.

        Args:
            timeout_s: so long may what is under way take. A process that is there noticeably later is killed.
        """
        self.retire()
        self._drain_timeout_s = timeout_s
        self._told_to_drain.set()
        await self.tell({"drain": True})
        if self.serves:
            with trio.move_on_after(_STOP_TIMEOUT_S):
                await self._has_stopped.wait()

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to the process, if there is one."""
        if self._link is not None:
            with suppress(LinkLost):
                await self._link.send(message)

    def _note_serving(self) -> None:
        self.has_served.set()
        self._around.on_serving(self.index)

    def _note_stopped(self) -> None:
        self._has_stopped.set()
        self._around.on_away(self.index)

    def _note_silence(self) -> None:
        LOG.warning("worker does not answer", worker=self.index, pid=self.pid)
        self._around.on_away(self.index)

    def _note_answer(self) -> None:
        LOG.info("worker answers again", worker=self.index, pid=self.pid)
        self._around.on_serving(self.index)

    async def _run_process(self) -> int:
        """Start a process, and return its exit code when it has ended.

        Raises:
            OSError: the node lacks something to start one: descriptors, memory, numbers of processes.
        """
        ours, theirs = socket.socketpair()
        # From here on, so that what it is told while it starts waits for it.
        self._link = link = Link(ours, send_timeout_s=SEND_TIMEOUT_S)
        self._has_stopped = trio.Event()
        self._conversation = conversation = Conversation(
            link,
            on_table=self.has_had_table.set,
            on_serving=self._note_serving,
            on_draining=self._note_stopped,
            on_silence=self._note_silence,
            on_answer=self._note_answer,
            on_health=partial(self._around.on_health, self.index),
        )
        try:
            return await self._keep(await self._start(theirs), link, conversation)
        finally:
            link.close()
            self._link = self._conversation = None
            self._last_under_way = conversation.under_way
            self._has_stopped.set()

    async def _start(self, link: socket.socket) -> trio.Process:
        with link:
            place = self._place(link.fileno())
            return await trio.lowlevel.open_process(
                self._around.command,
                env={**self._around.environ(), **place.variables()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=place.descriptors,
            )

    async def _keep(self, process: trio.Process, link: Link, conversation: Conversation) -> int:
        """Have a process serve; return its exit code when it has ended."""
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        assert process.stderr is not None  # noqa: S101
        self.pid, self.started_s = process.pid, time.time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._converse, process, conversation)
                nursery.start_soon(self._end_in_time, process, conversation)
                async with trio.open_nursery() as printing:
                    printing.start_soon(relay, process.stdout, self._around.print_output)
                    printing.start_soon(relay, process.stderr, self._around.print_errors)
                    code = await process.wait()
                    link.close()
                    printing.cancel_scope.deadline = trio.current_time() + _OUTPUT_TIMEOUT_S
                nursery.cancel_scope.cancel()
        finally:
            self.pid = 0
            if process.returncode is None:
                self._kill(process, conversation, "golb ends at once")
                with trio.CancelScope(shield=True):
                    await process.wait()
        return code

    async def _converse(self, process: trio.Process, conversation: Conversation) -> None:
        """See to it that the process ends when it is of no use any more."""
        try:
            silent_s = await conversation.run(self._around.subscribe, self._around.taker(), self._may_serve)
            cause = f"it has not answered for {silent_s:g} s"
        except LinkLost as exc:
            cause = str(exc)
            with trio.move_on_after(_END_TIMEOUT_S):
                await process.wait()
        self._kill(process, conversation, cause)

    async def _end_in_time(self, process: trio.Process, conversation: Conversation) -> None:
        """See to it that the process ends when it has been told to."""
        await self._told_to_drain.wait()
        await trio.sleep(self._drain_timeout_s + _DRAIN_GRACE_S)
        self._kill(
            process, conversation, f"it has not ended {self._drain_timeout_s + _DRAIN_GRACE_S:g} s after it was told to"
        )

    def _kill(self, process: trio.Process, conversation: Conversation, cause: str) -> None:
        if process.returncode is None:
            LOG.error("worker is killed", worker=self.index, pid=process.pid, cause=cause, **conversation.under_way)
            process.kill()


def _shown(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return str(exit_code)
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # most real-time signals have no name
        return f"signal {-exit_code}"

"""golb as one of several workers: the traffic, with weights that its parent sends."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
import trio

from golb.config import Config
from golb.errors import ConfigError
from golb.server.spread import Spread
from golb.service.traffic import Traffic
from golb.workers.link import Link, LinkLost
from golb.workers.place import map_counts, open_descriptor
from golb.workers.questions import Answers, answer
from golb.workers.shares import worker_config, worker_update
from golb.workers.updates import decode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from golb.health import Health
    from golb.workers.place import Place

LOG = structlog.get_logger()

# What a worker tells of without being asked waits for its turn on the link; what is too much is lost.
_EVENTS_KEPT = 256
# The first argument of prctl(2).
_PR_SET_PDEATHSIG = 1
# To tell of so many takes about half a millisecond; requests have their turn behind them.
_ENDPOINTS_AT_ONCE = 50


async def serve_as_worker(config: Config, place: Place) -> None:
    """Serve until the parent says so, or is gone, or SIGTERM; then drain.

    Args:
        config: golb's; this worker has its share of the limits.
        place: which worker it is, and what it inherits.

    Raises:
        ConfigError: the handler or a TLS file is not what it should be.
    """
    # What goes to all processes of a terminal or of a unit, Ctrl-C or a reload, is the parent's, who says what comes of it.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    _wake_when_parent_ends()
    await _WorkerService(config, place).run()


class _WorkerService:
    """The traffic, and the conversation with the parent."""

    def __init__(self, config: Config, place: Place) -> None:
        self._place = place
        self._link = Link(open_descriptor(place.link))
        self._listeners = [open_descriptor(descriptor) for descriptor in place.listeners]
        spread = Spread(
            place.index,
            map_counts(place.counts),
            open_descriptor(place.inbox),
            [open_descriptor(descriptor) for descriptor in place.outboxes],
        )
        self._traffic = Traffic(worker_config(config, place.index, place.of), self._tell_health, spread=spread)
        self._to_tell, self._told = trio.open_memory_channel[dict[str, Any]](_EVENTS_KEPT)
        self._may_serve = trio.Event()

    async def run(self) -> None:
        traffic = self._traffic
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                await traffic.start(nursery)
                nursery.start_soon(self._drain_on_signal, signals)
                nursery.start_soon(self._tell)
                nursery.start_soon(self._follow_parent, nursery)
                await self._may_serve.wait()
                await nursery.start(self._serve, nursery.cancel_scope)
                if not traffic.server.is_draining:  # or the parent has been told of that already
                    LOG.info("worker serves", pid=os.getpid())
                    await self._send({"serves": True})
        LOG.info("worker stopped")

    async def _serve(self, service: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        await self._traffic.server.run(self._listeners, task_status=task_status)
        service.cancel()

    async def _drain_on_signal(self, signals: AsyncIterator[int]) -> None:
        async for received in signals:
            LOG.info("stopping", signal=signal.Signals(received).name)
            await self._drain()

    async def _drain(self) -> None:
        self._traffic.server.drain()
        self._may_serve.set()  # and end at once
        await self._send({"drains": True})

    async def _follow_parent(self, nursery: trio.Nursery) -> None:
        try:
            while True:
                match await self._link.receive():
                    case {"ask_alive": _}:
                        await self._link.send({"alive": self._traffic.server.waiting_for()})
                    case {"publish": _}:
                        # As this process did not answer, the parent has told the others that it takes nothing.
                        self._traffic.server.publish_load()
                    case {"weights": rows, "of": of, "last": is_last}:
                        await self._take_weights(rows, of)
                        # Each part is told of: a question whether this worker is alive waits behind many, and for seconds, where there is much to do.
                        await self._link.send({"taken": is_last})
                        if is_last:
                            self._traffic.end_table()
                    case {"serve": _}:
                        self._may_serve.set()
                    case {"drain": _}:
                        await self._drain()
                    case {"ask": _, "what": "reconfigure"} as question:
                        await self._answer(question)  # before the next one, which shall be what stays in force
                    case {"ask": _} as question:
                        nursery.start_soon(self._answer, question)
        except LinkLost as exc:
            if not self._traffic.server.is_draining:
                LOG.error("parent is gone, worker stops", cause=str(exc))  # noqa: TRY400 - it is no defect of this process
                await self._drain()

    async def _take_weights(self, rows: list[Any], of: int) -> None:
        place = self._place
        updates = (worker_update(decode(row), place.index, place.of) for row in rows)
        await self._traffic.hand_over(updates, of=of)

    # What it tells

    def _tell_health(self, health: Health, rest_s: float) -> None:
        data = {"endpoint": health.name, "rest_s": rest_s, "failures": health.failures, "cause": health.cause}
        with suppress(trio.WouldBlock):  # the newest state is in each report
            self._to_tell.send_nowait({"health": data})

    async def _tell(self) -> NoReturn:
        while True:
            await self._send(await self._told.receive())

    async def _send(self, message: dict[str, Any]) -> None:
        with suppress(LinkLost):  # who follows the parent learns it too
            await self._link.send(message)

    async def _answer(self, question: dict[str, Any]) -> None:
        answers: dict[str, Answers] = {
            "accepts": self._accepts,
            "reports": self._reports,
            "totals": self._totals,
            "reconfigure": self._reconfigure,
        }
        try:
            await answer(self._link, question, answers)
        except LinkLost:
            pass
        except Exception:  # the boundary of what no call depends on
            LOG.exception("question not answered", what=question["what"])

    async def _accepts(self) -> AsyncGenerator[bool, None]:
        """Yield whether connections are taken from now on too."""
        yield not self._traffic.server.is_draining

    async def _reports(self, names: Sequence[str]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the report of each function that is known, and its endpoints in parts behind it."""
        for name in names:
            report = self._traffic.handler.function_report(name)
            if report is not None:
                endpoints = iter(report.pop("endpoints"))
                yield {"report": report}
                while some := list(islice(endpoints, _ENDPOINTS_AT_ONCE)):
                    yield {"endpoints": some}

    async def _totals(self) -> AsyncGenerator[dict[str, Any], None]:
        yield {"totals": self._traffic.handler.totals(), "connections": self._traffic.server.admission.report()}

    async def _reconfigure(self, variables: dict[str, str]) -> AsyncGenerator[bool, None]:
        """Take a configuration over; yield, once that is done, whether it could be."""
        try:
            # In a thread, since it looks for plugins in files.
            config = await trio.to_thread.run_sync(Config.from_environ, variables)
            self._traffic.reconfigure(worker_config(config, self._place.index, self._place.of))
        except ConfigError as exc:
            LOG.warning("not reloaded, all stays as it was", problems=str(exc).splitlines())
            yield False
        else:
            yield True


def _wake_when_parent_ends() -> None:
    """Let the kernel continue this process, if it is stopped (SIGSTOP), when its parent ends: it would never learn of that, and stay for ever."""
    # SIGCONT means nothing to a process that runs. It comes too when the parent's thread ends that has started this process.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGCONT)) != 0:
        LOG.warning("worker stays if its parent ends while it is stopped", cause=os.strerror(ctypes.get_errno()))

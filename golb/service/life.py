"""What happens to a running golb from outside: signals, and another golb that takes its place. Its supervisor is told of it.

| signal | |
|---|---|
| SIGTERM, SIGINT | drain, and end; a second one, or one before golb serves: end at once |
| SIGHUP | read the configuration again |
| SIGUSR2 | start a new golb, which takes the place of this one once it is ready |

A golb that was taken over ends, unless it is the first process of a container: that one stays, and passes signals on.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from golb.service.notices import Notices
from golb.service.orphans import reap_orphans
from golb.takeover import INHERITED, FirstProcess, Giver, offer, start_successor

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from golb.config import Config

LOG = structlog.get_logger()

_GOING_ON = (signal.SIGHUP, signal.SIGUSR2)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, *_GOING_ON)
# The id of a container's first process, within the container.
_FIRST = 1


class Drain(Protocol):
    """Ends a golb in order."""

    def __call__(self, *, for_successor: bool) -> Awaitable[None]:
        """See `Life`."""


class Life:
    """Heeds signals, and passes the listening sockets to a successor.

    Args:
        config: golb's.
        environ: the variables that it was started with.
        drain: lets golb accept no more, and end when what is under way has ended; returns when it accepts no more. With
            `for_successor`, another golb has the sockets, that of the admin port too.
        reload: reads the configuration again.
        sockets: tells what a new golb takes over: the listening sockets, by the place where they listen.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        *,
        drain: Drain,
        reload: Callable[[], Awaitable[None]],
        sockets: Callable[[], Mapping[str, Sequence[socket.socket]]],
    ) -> None:
        self._config = config
        self._environ = environ
        self._drain = drain
        self._reload = reload
        self._notices = Notices(environ)
        self._reloading = trio.Lock()
        self._giver = Giver(sockets, self._drain_for_successor)
        self._offering, self._replacing = trio.CancelScope(), trio.CancelScope()
        self._is_replacing = False
        self._serves = False
        self._is_draining = False
        self._was_told_to_stop = False
        self._first_process: FirstProcess | None = None
        """What this process becomes, if it was taken over as the first one of a container."""

    async def run(
        self, service: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Go on until `service`, of which this is a part, ends.

        Args:
            service: cancelled where golb is to end at once.
            task_status: ready when signals are heeded.
        """
        if os.getpid() == _FIRST:
            self._heed_to_the_end()
        else:
            for each in _GOING_ON:
                # When `run` heeds it no more. A handler would not do: Python takes those back before it has ended.
                signal.signal(each, signal.SIG_IGN)
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            await self._heed(signals, service)

    def begin(self) -> None:
        """Take note that this golb serves from here on, or takes over to do so: it has to drain before it ends."""
        self._serves = True

    async def offer(self) -> None:
        """Tell that this golb serves; let a new one take its place, if the configuration allows it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notices.tell_ready)
            if self._config.takeover:
                with self._offering:
                    await offer(self._config.listen_host, self._config.listen_port, self._giver)

    def _heed_to_the_end(self) -> None:
        """Have signals heeded when `run` does it no more: the kernel drops those for which a container's first process has no handler."""

        def heed(received: int, _: object) -> None:
            if self._first_process is not None:
                self._first_process.heed(received)

        for each in _SIGNALS:
            signal.signal(each, heed)

    async def _heed(self, signals: AsyncIterator[int], service: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            if os.getpid() == _FIRST:
                nursery.start_soon(reap_orphans, self._is_successor)
            async for received in signals:
                name = signal.Signals(received).name
                if self._first_process is not None:
                    LOG.info("signal passed on", signal=name, pids=self._first_process.heed(received))
                match received:
                    case signal.SIGHUP | signal.SIGUSR2 if self._first_process is not None:
                        pass  # meant for the golb that serves
                    case signal.SIGHUP:
                        nursery.start_soon(self._reload_in_turn)
                    case signal.SIGUSR2:
                        nursery.start_soon(self._replace, name)
                    case _ if not self._serves:
                        # A golb that this one was to take over from goes on: it must not hear any more that this one is ready.
                        LOG.info("stopping", signal=name, cause="told to stop before it served")
                        service.cancel()
                    case _ if self._was_told_to_stop:
                        LOG.warning("stopping at once", signal=name)
                        service.cancel()
                    case _:
                        LOG.info("stopping", signal=name)
                        self._was_told_to_stop = True
                        nursery.start_soon(self._stop)  # may take seconds, for which a second signal shall not wait

    def _is_successor(self, pid: int) -> bool:
        """Tell whether a process has taken over, whose exit code `FirstProcess` needs, or is about to."""
        return self._giver.successor is not None and self._giver.successor.pid == pid

    async def _reload_in_turn(self) -> None:
        """Reload when an earlier one has ended; it reads files, which may take long, and SIGTERM shall not wait for that."""
        if self._reloading.statistics().tasks_waiting:
            return  # the one that waits will read what is there now
        async with self._reloading:
            if self._is_draining:
                LOG.warning("not reloaded, golb is stopping")
                return
            if self._serves:
                await self._notices.tell_reloading()
            await self._reload()
            if self._serves and not self._is_draining:
                await self._notices.tell_ready()

    async def _replace(self, signal_name: str) -> None:
        if not self._serves:
            LOG.warning("no successor started, golb does not serve yet", signal=signal_name)
        elif self._is_draining:
            LOG.warning("no successor started, golb is stopping", signal=signal_name)
        elif self._is_replacing:
            LOG.warning("no successor started, another one is starting", signal=signal_name)
        else:
            self._is_replacing = True
            self._replacing = trio.CancelScope()
            with self._replacing:
                await start_successor([sys.executable, *sys.orig_argv[1:]], self._environ, self._giver)
            self._is_replacing = False

    async def _drain_for_successor(self) -> None:
        LOG.info("stopping", cause="another golb has taken over")
        self._is_draining = True
        successor = self._giver.successor
        if os.getpid() == _FIRST and not self._was_told_to_stop:
            self._first_process = FirstProcess(INHERITED, None if successor is None else successor.pid)
            atexit.register(self._first_process.stay)  # however this one ends
        elif successor is not None:
            await self._notices.tell_successor(successor.pid)
        else:
            await self._notices.tell_stopping()
        await self._drain(for_successor=True)

    async def _stop(self) -> None:
        if self._is_draining:
            return  # for a successor
        self._is_draining = True
        # Whoever is about to take over is refused: this golb has been told to end the service, not to leave it to another one.
        self._offering.cancel()
        self._replacing.cancel()
        await self._notices.tell_stopping()
        await self._drain(for_successor=False)

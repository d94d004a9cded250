"""What happens to a running golb from outside: signals, and another golb that takes its place.

| signal | |
|---|---|
| SIGTERM, SIGINT | drain, and end; a second one, or one before golb serves: end at once |
| SIGHUP | read the configuration again |
| SIGUSR2 | start a new golb, which takes the place of this one once it is ready |
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from golb.takeover import Giver, offer, start_successor

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from golb.config import Config

LOG = structlog.get_logger()

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


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
        self._reloading = trio.Lock()
        self._giver = Giver(sockets, self._drain_for_successor)
        self._offering, self._replacing = trio.CancelScope(), trio.CancelScope()
        self._is_replacing = False
        self._serves = False
        self._is_draining = False
        self._was_told_to_stop = False

    async def run(
        self, service: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Go on until `service`, of which this is a part, ends.

        Args:
            service: cancelled where golb is to end at once.
            task_status: ready when signals are heeded.
        """
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            await self._heed(signals, service)

    def begin(self) -> None:
        """Take note that this golb serves from here on, or takes over to do so: it has to drain before it ends."""
        self._serves = True

    async def offer(self) -> None:
        """Let a new golb take this one's place, if the configuration allows it; for when this one serves."""
        if self._config.takeover:
            with self._offering:
                await offer(self._config.listen_host, self._config.listen_port, self._giver)

    async def _heed(self, signals: AsyncIterator[int], service: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            async for received in signals:
                name = signal.Signals(received).name
                match received:
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
                        await self._stop()

    async def _reload_in_turn(self) -> None:
        """Reload when earlier ones have ended; it reads files, which may take long, and SIGTERM shall not wait for that."""
        async with self._reloading:
            await self._reload()

    async def _replace(self, signal_name: str) -> None:
        if os.getpid() == 1:
            LOG.error(
                "no successor started, this is a container's first process and the container would end with it",
                signal=signal_name,
                instead="roll out a new pod; eb_go_lb_takeover=on lets it take over on the same host's network",
            )
        elif not self._serves:
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
        await self._drain(for_successor=True)

    async def _stop(self) -> None:
        if self._is_draining:
            return  # for a successor
        self._is_draining = True
        # Whoever is about to take over is refused: this golb has been told to end the service, not to leave it to another one.
        self._offering.cancel()
        self._replacing.cancel()
        await self._drain(for_successor=False)

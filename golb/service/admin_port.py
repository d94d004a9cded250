"""The admin port, run so that whatever goes wrong there stops nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from golb.admin import admin_application, admin_config, is_loopback
from golb.errors import ListenError
from golb.server import Server
from golb.service.addresses import shown_addresses
from golb.updaters.table import describe_change

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from golb.admin import News, Sources
    from golb.config import Config
    from golb.deadlines import Deadlines
    from golb.poller import Poller
    from golb.updaters import Broadcaster

LOG = structlog.get_logger()

_RETRY_S = 5.0


class AdminPort:
    """Tells of golb by the admin port.

    Args:
        config: says where.
        sources: what is told.
        poller: watches its connections.
        deadlines: keeps their timeouts.
        sockets: already open, to be used from `begin` on; none: they are opened at once.
    """

    def __init__(
        self,
        config: Config,
        sources: Sources,
        poller: Poller,
        deadlines: Deadlines,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._config = config
        self._make_server = partial(
            Server, application=admin_application(config, sources), poller=poller, deadlines=deadlines
        )
        self._server: Server | None = None
        self._running = trio.CancelScope()
        self._may_begin = trio.Event()
        if not sockets:
            self._may_begin.set()
        self.sockets = list(sockets)
        """By which it listens now."""

    async def run(self) -> None:
        """Tell, until `close`."""
        config = self._config
        if config.admin_token is None and not is_loopback(config.admin_listen.host):
            LOG.warning("admin port is open to everybody who reaches it", variable="eb_go_lb_admin_token")
        with self._running:
            await self._may_begin.wait()
            was_told = False
            while True:
                try:
                    await self._serve()
                    was_told = False
                except ListenError as exc:  # another golb on this machine may have it, and end sooner or later
                    if not was_told:
                        LOG.warning(
                            "admin port cannot be opened, tried again",
                            variable="eb_go_lb_admin_listen",
                            value=str(config.admin_listen),
                            cause=str(exc.__cause__),
                        )
                    was_told = True
                except Exception:  # the boundary of what only tells
                    LOG.exception("admin port failed, opened again")
                await trio.sleep(_RETRY_S)

    def reconfigure(self, config: Config) -> None:
        """Take over what `Server.reconfigure` does: certificates that have been renewed, above all.

        Raises:
            ConfigError: a TLS file is not what it should be; all stays as it was.
        """
        if self._server is not None:
            self._server.reconfigure(admin_config(config))
        self._config = config

    def begin(self) -> None:
        """Use the sockets that were open already: nobody else does any more."""
        self._may_begin.set()

    def close(self) -> None:
        """Leave it to another golb."""
        self._running.cancel()

    async def _serve(self) -> None:
        self._server = server = self._make_server(admin_config(self._config))
        self.sockets = self.sockets or server.open_sockets()
        LOG.info("admin port open", address=shown_addresses(self.sockets))
        try:
            await server.run(self.sockets)
        finally:
            self.sockets = []


async def follow_weights(news: News, broadcaster: Broadcaster) -> None:
    """Put new weights into the news, until cancelled."""
    with broadcaster.subscribe() as batches:
        await news.follow(batches, describe_change)

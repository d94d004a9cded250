"""The admin port, run so that whatever goes wrong there stops nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.admin import admin_application, admin_config, is_loopback
from golb.errors import ListenError
from golb.server import Server
from golb.service.addresses import shown_addresses

if TYPE_CHECKING:
    from golb.admin import News, Sources
    from golb.config import Config
    from golb.deadlines import Deadlines
    from golb.poller import Poller
    from golb.updaters import Broadcaster

LOG = structlog.get_logger()

_RETRY_S = 5.0


async def serve_admin(config: Config, sources: Sources, poller: Poller, deadlines: Deadlines) -> NoReturn:
    """Tell of golb by the admin port, until cancelled."""
    application = admin_application(config, sources)
    if config.admin_token is None and not is_loopback(config.admin_listen.host):
        LOG.warning("admin port is open to everybody who reaches it", variable="eb_go_lb_admin_token")
    was_told = False
    while True:
        server = Server(admin_config(config), application, poller, deadlines)
        try:
            sockets = server.open_sockets()
            LOG.info("admin port open", address=shown_addresses(sockets))
            was_told = False
            await server.run(sockets)
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


async def follow_weights(news: News, broadcaster: Broadcaster) -> None:
    """Put new weights into the news, until cancelled."""
    with broadcaster.subscribe() as batches:
        await news.follow(batches)

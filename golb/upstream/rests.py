"""What the log says of endpoints that rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from golb.health import RestingEndpoints, RestPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.config import Config
    from golb.health import Health

LOG = structlog.get_logger()


def resting_endpoints(config: Config, on_change: Callable[[Health, float], object] | None = None) -> RestingEndpoints:
    """Make what a configuration asks for; whoever begins to rest, or serves again, is logged.

    Args:
        config: what it asks for.
        on_change: told of it too, and for how many seconds it rests, 0 if it serves again.
    """

    def tell(health: Health, rest_s: float) -> None:
        _log_change(health, rest_s)
        if on_change is not None:
            on_change(health, rest_s)

    return RestingEndpoints(rest_policy(config), tell)


def rest_policy(config: Config) -> RestPolicy:
    """Return when endpoints rest by a configuration."""
    return RestPolicy(is_on=config.failover, min_s=config.rest_min, max_s=config.rest_max, after=config.rest_after)


def _log_change(health: Health, rest_s: float) -> None:
    if not rest_s:
        LOG.info("endpoint serves again", endpoint=health.name)
        return
    # Later rests tell nothing new, and where many endpoints rest they are many.
    log = LOG.warning if health.rests == 1 else LOG.debug
    log("endpoint rests", endpoint=health.name, rest_s=round(rest_s, 1), failures=health.failures, cause=health.cause)

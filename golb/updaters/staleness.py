"""Says in the log when the weights served are not known to be the newest, and when they are again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

if TYPE_CHECKING:
    from golb.updaters.knowledge import Knowledge

LOG = structlog.get_logger()

_REPEAT_S = 10.0
_LOOK_EVERY_S = 0.05


async def report_staleness(knowledge: Knowledge, timeout_s: float) -> NoReturn:
    """Log `weights stale` once the knowledge is older than `timeout_s` (> 0 s), and every 10 s while it lasts; then `weights current`.

    The knowledge has to be by Trio's clock. While there are no weights at all, nothing is said.
    """
    stale_from: float | None = None
    said_at = -math.inf
    while True:
        now, age_s = trio.current_time(), knowledge.age_s
        if knowledge.source == "none" or age_s < timeout_s:
            if stale_from is not None:
                LOG.info("weights current", revision=knowledge.revision, stale_s=round(now - stale_from, 3))
                stale_from, said_at = None, -math.inf
            # What is confirmed meanwhile makes it later only; weights from disk may come at any moment, and be old.
            left_s = timeout_s - age_s if knowledge.source == "etcd" else _LOOK_EVERY_S
            await trio.sleep(left_s)
            continue
        if stale_from is None:
            stale_from = knowledge.confirmed_at + timeout_s
        if now - said_at >= _REPEAT_S:
            said_at = now
            LOG.warning("weights stale", age_s=round(age_s, 3), revision=knowledge.revision)
        await trio.sleep(_LOOK_EVERY_S)

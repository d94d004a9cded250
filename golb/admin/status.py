"""What the admin port tells of golb as a whole."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from golb.admin.readiness import age_s, reason_not_ready

if TYPE_CHECKING:
    from golb.admin.sources import Refusal, Sources

MAX_REFUSALS = 100
"""So many refusals are told one by one."""


async def status(sources: Sources) -> dict[str, Any]:
    """Return what `/api/status` answers; `openapi.json` says what each member means."""
    connections, totals = await sources.connections(), await sources.functions.totals()
    workers = [] if sources.workers is None else await sources.workers()
    now_s = time.time()
    knowledge, refused = sources.knowledge, sources.refused
    reason = reason_not_ready(sources)
    return {
        "node": sources.node,
        "zone": sources.zone,
        "version": sources.version,
        "started_s": sources.started_s,
        "now_s": now_s,
        "is_ready": reason is None,
        "reason": reason,
        "is_draining": sources.is_draining(),
        "functions": len(sources.functions.names()),
        "knowledge": {
            "source": knowledge.source,
            # A string, as it has 64 bits: JSON's numbers are doubles to many.
            "cluster_id": str(knowledge.cluster_id),
            "revision": knowledge.revision,
            "age_s": age_s(sources),
            "connection": knowledge.connection,
            "member": knowledge.member,
            "cause": knowledge.cause,
            "connects": knowledge.connects,
            "losses": knowledge.losses,
        },
        "refused": [_refusal(refusal) for refusal in islice(refused or (), MAX_REFUSALS)],
        "refused_keys": 0 if refused is None else len(refused),
        "refused_puts": {str(fault): count for fault, count in refused.counts.items()} if refused is not None else {},
        "connections": connections,
        "totals": totals,
        "workers": workers,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "name": refusal.name,
        "fault": str(refusal.fault),
        "reason": refusal.reason,
        "revision": refusal.revision,
    }

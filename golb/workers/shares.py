"""What one of several workers has of what golb may have in all. No I/O.

Rule: the shares of all workers come to the whole, but each has one at least, since with none it would refuse everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from golb.limits import NO_LIMITS

if TYPE_CHECKING:
    from golb.config import Config
    from golb.limits import Limits
    from golb.weights import WeightUpdate

# 0 is no limit in some of these, and nothing at all in others: it is the same for each worker.
_SHARED = (
    "max_connections",
    "max_inflight",
    "endpoint_max_inflight",
    "queue",
    "hold_limit",
    "upstream_max_idle",
    "retry_budget_min",
)


def share(whole: int, index: int, of: int) -> int:
    """Return what worker `index` of `of` has of a whole (>= 0)."""
    return max(whole // of + (index < whole % of), 1) if whole else 0


def worker_config(config: Config, index: int, of: int) -> Config:
    """Return the configuration of one worker."""
    shares: dict[str, Any] = {name: share(getattr(config, name), index, of) for name in _SHARED}
    return evolve(config, **shares)


def worker_update(update: WeightUpdate, index: int, of: int) -> WeightUpdate:
    """Return an update as it is for one worker."""
    weights = update.weights
    if weights is None or weights.limits is NO_LIMITS:
        return update
    return evolve(update, weights=evolve(weights, limits=_limits(weights.limits, index, of)))


def _limits(limits: Limits, index: int, of: int) -> Limits:
    def shared(whole: int | None) -> int | None:
        return None if whole is None else share(whole, index, of)

    return evolve(limits, max_inflight=shared(limits.max_inflight), queue=shared(limits.queue))

"""The way to endpoints: pooled connections, one exchange over one of them, tunnels."""

from golb.upstream.exchange import Upstream
from golb.upstream.pool import Pool, close_longest_idle
from golb.upstream.rests import resting_endpoints

__all__ = ["Pool", "Upstream", "close_longest_idle", "resting_endpoints"]

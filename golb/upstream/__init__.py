"""The way to endpoints: pooled connections, one exchange over one of them, tunnels."""

from golb.upstream.exchange import Upstream
from golb.upstream.pool import Pool

__all__ = ["Pool", "Upstream"]

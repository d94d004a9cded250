"""The way to endpoints: pooled connections, one exchange over one of them, tunnels."""

from golb.upstream.exchange import Upstream
from golb.upstream.pool import Pool, close_longest_idle, open_socket
from golb.upstream.rests import resting_endpoints

__all__ = ["Pool", "Upstream", "close_longest_idle", "open_socket", "resting_endpoints"]

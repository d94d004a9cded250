"""The proxies that are compared, in the order in which they are measured and listed."""

from __future__ import annotations

from benchmarks.peers.base import Peer, Site, with_workers
from benchmarks.peers.caddy import Caddy
from benchmarks.peers.envoy import Envoy
from benchmarks.peers.golb import Golb, GolbInterpreted
from benchmarks.peers.haproxy import Haproxy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.python import Aiohttp, HypercornHttpx
from benchmarks.peers.traefik import Traefik, TraefikFast

__all__ = ["COMPILED_PEERS", "DEFAULT_PEERS", "PEERS", "WORKERS_PEERS", "Peer", "Site"]

DEFAULT_PEERS: tuple[type[Peer], ...] = (
    Golb,
    GolbInterpreted,
    Nginx,
    Haproxy,
    Envoy,
    Traefik,
    Caddy,
    Aiohttp,
    HypercornHttpx,
)
_WITH_TWO_WORKERS: tuple[type[Peer], ...] = tuple(with_workers(peer, 2) for peer in (Golb, Nginx, Haproxy, Envoy))
WORKERS_PEERS: tuple[type[Peer], ...] = (Golb, Nginx, Haproxy, Envoy, *_WITH_TWO_WORKERS)
"""Those that are compared with one worker and with two."""
COMPILED_PEERS: tuple[type[Peer], ...] = (Golb, _WITH_TWO_WORKERS[0])
"""Those that have to be made first."""
_MORE_PEERS: tuple[type[Peer], ...] = (TraefikFast, *_WITH_TWO_WORKERS)
PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in DEFAULT_PEERS + _MORE_PEERS}

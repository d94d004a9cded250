"""How a server ends: who is waited for, for how long, and who is told.

A client that keeps its connection does not know that golb is about to end. Its next request may be on its way when the connection
is closed, and is lost then. So every response from here on says `Connection: close`, and an idle connection has a moment
for one more request. HTTP/2 has a frame for that (GOAWAY, RFC 9113, 6.8), and its idle connections close at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.server.admission import Admission
    from golb.server.timeouts import Timeouts
    from golb.server.tunnels import Tunnels

LOG = structlog.get_logger()

# Whoever keeps a connection busy has asked again by then, and has been told. The part of the drain timeout leaves most of
# it for the answer.
LAST_REQUEST_S = 1.0
_LAST_REQUEST_PART = 0.25
# Who has said nothing for so long will hardly do so within that moment: to wait would save next to no request.
ASLEEP_S = 5.0

_TELL_EVERY_S = 5.0
# Not every change that matters here is the end of a connection.
_LOOK_EVERY_S = 0.05


@define(kw_only=True)
class Drain:
    """The drain of one server."""

    admission: Admission
    timeouts: Timeouts
    tunnels: Tunnels
    waiting_for: Callable[[], dict[str, int]]
    """Tells of `requests`, `idle` and `tunnels`."""
    take_passed: Callable[[], bool]
    """Takes in what other workers have passed here; true if that was anything."""
    cut_requests: Callable[[], None]
    """Ends everything but tunnels."""
    requests_s: float
    """How long everything but tunnels may take."""
    tunnels_s: float
    """How long tunnels may take; 0: as long as the rest does."""
    _began_s: float = field(init=False, factory=trio.current_time)
    _told_s: float = field(init=False, default=0.0)
    _are_requests_cut: bool = field(init=False, default=False)

    async def run(self) -> None:
        """Return once no connection is left."""
        last_request_s = min(LAST_REQUEST_S, self.requests_s * _LAST_REQUEST_PART)
        self._bound_idle(last_request_s)
        if self.admission.open:
            self._tell()
        while self.admission.open or (not self._are_requests_cut and self.take_passed()):
            waited_s = trio.current_time() - self._began_s
            if waited_s >= last_request_s:
                self._close_silent(last_request_s)
            if waited_s >= self.requests_s and not self._are_requests_cut:
                self._cut_requests()
            if len(self.tunnels) and self._is_over_for_tunnels(waited_s):
                self._cut_tunnels()
            if waited_s >= self._told_s + _TELL_EVERY_S:
                self._tell()
            await self.admission.wait_for_an_end(_LOOK_EVERY_S)

    def _bound_idle(self, last_request_s: float) -> None:
        """Close what is asleep, and give other idle connections, now and later, their last moment."""
        self._close_silent(ASLEEP_S)
        idle = self.timeouts.idle
        for connection in idle.waited(ASLEEP_S):
            connection.stop_waiting()
        idle.restart_all()
        idle.timeout_s = min(idle.timeout_s, last_request_s or _LOOK_EVERY_S)

    def _close_silent(self, waited_s: float) -> None:
        for connection in self.timeouts.head.waited(waited_s):
            connection.stop_waiting()

    def _is_over_for_tunnels(self, waited_s: float) -> bool:
        if self.tunnels_s:
            return waited_s >= self.tunnels_s
        waiting_for = self.waiting_for()
        return self._are_requests_cut or not (waiting_for["requests"] or waiting_for["idle"])

    def _cut_requests(self) -> None:
        waiting_for = self.waiting_for()
        del waiting_for["tunnels"]
        self._are_requests_cut = True
        self.cut_requests()
        if any(waiting_for.values()):
            LOG.warning("drain timeout, requests were cut off", **waiting_for, drain_timeout_s=self.requests_s)

    def _cut_tunnels(self) -> None:
        LOG.warning(
            "tunnel drain timeout, tunnels were cut off",
            tunnels=len(self.tunnels),
            tunnel_drain_timeout_s=self.tunnels_s,
        )
        self.tunnels.cut()

    def _tell(self) -> None:
        self._told_s = trio.current_time() - self._began_s
        LOG.info(
            "draining",
            **self.waiting_for(),
            waited_s=round(self._told_s, 1),
            drain_timeout_s=self.requests_s,
            tunnel_drain_timeout_s=self.tunnels_s,
        )

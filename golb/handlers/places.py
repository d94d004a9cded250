"""Which endpoint a request goes to, and whether it may go there now: the bounds on what is under way at once.

Three bounds are kept: on all requests, on those of a function, on those to an endpoint. A request that finds one of
them reached waits for a place; a request of a function that has no endpoint may wait for one to come. An endpoint
that has as much as it may have is passed over as long as another one of its function has room.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import frozen

from golb.errors import NoEndpoint, NoFunction, Overloaded
from golb.handlers.waiting import WaitingRoom
from golb.routes import Routes
from golb.stats import EndpointStats

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from golb.asgi import Receive
    from golb.config import Config
    from golb.endpoints import EndpointSet
    from golb.handlers.base import Pool, Upstream
    from golb.health import Health
    from golb.routes import Route
    from golb.weights import Endpoint, WeightUpdate


class Destination:
    """One endpoint.

    Args:
        pool: the connections to it.
    """

    __slots__ = ("authority", "health", "in_flight", "is_gateway", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.health = pool.health
        self.authority = pool.endpoint.authority.encode("ascii")
        """As it stands in headers. Not the whole lines: of 1,000 endpoints, what is in each one's own is in no processor's cache."""
        self.in_flight = 0
        """Requests under way to it."""
        self.is_gateway = False
        """Kept by the routes."""


class Member(EndpointStats):
    """An endpoint of one function, and what was counted of that function's calls to it.

    Args:
        destination: the endpoint, which other functions may have too.
    """

    # No attributes of its own: they would stand behind all the counts, in another line of the cache than what calls look at.
    __slots__ = ()

    def __init__(self, destination: Destination) -> None:
        super().__init__(destination)

    @property
    def destination(self) -> Destination:
        """Where the calls go."""
        return cast("Destination", self.endpoint)

    @property
    def health(self) -> Health:
        """What is known of the endpoint, for all functions that have it."""
        return self.destination.health

    @property
    def is_gateway(self) -> bool:
        """It is a load balancer of another zone, likewise."""
        return self.destination.is_gateway

    @is_gateway.setter
    def is_gateway(self, is_gateway: bool) -> None:
        self.destination.is_gateway = is_gateway


@frozen
class Caller:
    """What decides where a request may go."""

    name: bytes
    """Of the function, as `split_target` returns it."""
    forwarded: bool
    """Another load balancer sent it, so it goes to no gateway."""
    replayable: bool
    """It can be sent again if an endpoint fails that has got it."""


Place = tuple["Route", Member]
"""A function and one of its endpoints, with one request more under way."""


class Places:
    """All functions of the zone, and what is under way for them.

    Args:
        config: the bounds.
        upstream: knows which endpoints rest.
        open_endpoint: called when an endpoint enters its first function.
        close_endpoint: called when it has left its last.
    """

    def __init__(
        self,
        config: Config,
        upstream: Upstream,
        open_endpoint: Callable[[Endpoint], Destination],
        close_endpoint: Callable[[Destination], None],
    ) -> None:
        self.routes: Routes[Destination, Member] = Routes(
            config.gateways,
            open_endpoint,
            close_endpoint,
            Member,
            upstream.resting,
            panic_threshold=config.panic_threshold / 100,
        )
        self._upstream = upstream
        self.in_flight = 0
        """Requests under way."""
        self._arrivals = count()
        self.queue: WaitingRoom[Place] = WaitingRoom(config.queue, self._leave_place, self._is_full_in_all)
        """Those that wait for a place."""
        self.held: WaitingRoom[Place | Literal[True]] = WaitingRoom(config.hold_limit, self._leave_place)
        """Those that wait for an endpoint to come."""
        self._set_bounds(config)

    def reconfigure(self, config: Config) -> None:
        """Take new bounds and gateways over; those who wait go on at once if they may, and wait no longer than by the old bounds."""
        self._set_bounds(config)
        self.queue.size = config.queue
        self.held.size = config.hold_limit
        self.routes.reconfigure(config.gateways, panic_threshold=config.panic_threshold / 100)
        self.held.look()
        self.queue.look()

    def _set_bounds(self, config: Config) -> None:
        self._max_inflight = config.max_inflight
        self._endpoint_max_inflight = config.endpoint_max_inflight
        self._queue_timeout_s = config.queue_timeout
        self._hold_s = config.hold_on_empty
        self.is_limited = bool(config.max_inflight or config.endpoint_max_inflight or config.hold_on_empty)
        """Each request has to ask `enter`; otherwise only one whose function is limited, or has an endpoint that rests."""

    def apply(self, update: WeightUpdate) -> None:
        """Take an update over; who has waited for it goes on."""
        self.routes.apply(update)
        if self.held.waiting:
            name = update.function.encode()
            self.held.look((name, False))
            self.held.look((name, True))
        if self.queue.waiting:
            self.queue.look()

    def waiting_for(self, name: bytes) -> int:
        """Return how many requests of a function wait for a place or an endpoint."""
        rooms: tuple[WaitingRoom[Any], ...] = (self.queue, self.held)
        return sum(room.waiting_for((name, forwarded)) for room in rooms for forwarded in (False, True))

    def begin(self, route: Route, member: Member) -> None:
        """Count a request that goes to an endpoint; it has to `leave`."""
        self.in_flight += 1
        route.in_flight += 1
        member.destination.in_flight += 1

    def leave(self, route: Route, member: Member) -> None:
        """Count a request that is over; the first who waits for its place goes on."""
        self.in_flight -= 1
        route.in_flight -= 1
        member.destination.in_flight -= 1
        if self.queue.waiting:
            self.queue.look()

    def move(self, route: Route, failed: Member, tried: Collection[Member], *, local: bool) -> Member | None:
        """Let a request go on at another endpoint than those that it has tried; None if there is none with room."""
        self.routes.renew(route)
        endpoints = route.local if local else route.every
        other = endpoints.other({*tried, *self._full(endpoints)}, resting=True)
        if other is not None:
            failed.destination.in_flight -= 1
            other.destination.in_flight += 1
            if self.queue.waiting:
                self.queue.look()
        return other

    async def enter(self, caller: Caller, receive: Receive | None) -> Place:
        """Return where a request goes, once it may go there; it has to `leave`.

        Args:
            caller: what decides.
            receive: tells of the client's disconnect, if all of the request has arrived.

        Raises:
            NoFunction: there is no function of that name, nor has one come in time.
            NoEndpoint: it has no endpoint with a positive weight, likewise.
            Overloaded: the bounds are reached, and no place has come in time; the text says which.
            ClientGone: nobody waits any more.
        """
        key = (caller.name, caller.forwarded)
        arrival = next(self._arrivals)
        place: Place | None = None
        lack: NoFunction | NoEndpoint | None = None
        try:
            if not self.queue.is_waited_for(key):
                place = self._try_to_enter(caller)
        except (NoFunction, NoEndpoint) as exc:
            if not self._hold_s:
                raise
            lack = exc.with_traceback(None)
        if lack is not None:
            try:
                held = await self.held.wait(
                    key, arrival, partial(self._try_held, caller), timeout_s=self._hold_s, receive=receive
                )
            except Overloaded:
                raise lack from None
            place = None if held is True else held
        if place is None:
            place = await self._queue_up(caller, key, arrival, receive)
        return place

    async def _queue_up(self, caller: Caller, key: tuple[bytes, bool], arrival: int, receive: Receive | None) -> Place:
        limits = self._endpoints(caller)[0].limits
        try:
            return await self.queue.wait(
                key,
                arrival,
                partial(self._try_queued, caller),
                timeout_s=self._queue_timeout_s if limits.timeout_s is None else limits.timeout_s,
                at_most=limits.queue,
                receive=receive,
            )
        except Overloaded as exc:
            route, _ = self._endpoints(caller)
            raise Overloaded(f"{self._reached(route)}; {exc}") from None

    def _endpoints(self, caller: Caller) -> tuple[Route, EndpointSet[Member]]:
        route = self.routes.get(caller.name)
        if route is None:
            raise NoFunction
        endpoints = route.local if caller.forwarded else route.every
        if not endpoints:
            raise NoEndpoint
        return route, endpoints

    def _try_to_enter(self, caller: Caller) -> Place | None:
        """Return a place, or None if a bound is reached; raises NoFunction and NoEndpoint."""
        route, endpoints = self._endpoints(caller)
        if self._is_full(route):
            return None
        member = endpoints.next(self._upstream.now_s, replayable=caller.replayable)
        if self._endpoint_max_inflight and member.destination.in_flight >= self._endpoint_max_inflight:
            other = endpoints.other(self._full(endpoints), resting=False)
            if other is None:
                return None
            member = other
        self.begin(route, member)
        return route, member

    def _try_queued(self, caller: Caller) -> Place | None:
        try:
            return self._try_to_enter(caller)
        except (NoFunction, NoEndpoint):
            return None

    def _try_held(self, caller: Caller) -> Place | Literal[True] | None:
        """Return a place, or True where there is one to queue up for, or None."""
        try:
            return self._try_to_enter(caller) or True
        except (NoFunction, NoEndpoint):
            return None

    def _leave_place(self, place: Place | Literal[True]) -> None:
        if place is not True:
            self.leave(*place)

    def _is_full(self, route: Route) -> bool:
        at_most = route.limits.max_inflight
        return self._is_full_in_all() or bool(at_most and route.in_flight >= at_most)

    def _is_full_in_all(self) -> bool:
        return bool(self._max_inflight and self.in_flight >= self._max_inflight)

    def _full(self, endpoints: EndpointSet[Member]) -> set[Member]:
        at_most = self._endpoint_max_inflight
        if not at_most:
            return set()
        every = (*endpoints.in_service.weights, *endpoints.resting)
        return {member for member in every if member.destination.in_flight >= at_most}

    def _reached(self, route: Route) -> str:
        """Say which bound it is."""
        if self._is_full_in_all():
            return f"{self.in_flight} requests are under way, as many as eb_go_lb_max_inflight allows"
        if route.limits.max_inflight and route.in_flight >= route.limits.max_inflight:
            return f"{route.in_flight} requests are under way, as many as the function's max_inflight allows"
        return "each endpoint has as many requests under way as eb_go_lb_endpoint_max_inflight allows"

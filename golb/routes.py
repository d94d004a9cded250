"""Which function a URL calls, and which endpoint of it is next.

Rule: golb decides nothing by a path beyond the function's name; what follows it is forwarded byte for byte.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from attrs import frozen

from golb.endpoints import Endpointlike, EndpointSet
from golb.errors import WeightsError
from golb.limits import NO_LIMITS
from golb.stats import FunctionStats
from golb.weights import Endpoint, are_same_endpoints, split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from golb.health import RestingEndpoints
    from golb.schedule import Schedule
    from golb.weights import WeightUpdate


class Routable(Endpointlike, Protocol):
    """What the caller makes of an endpoint in a function."""

    is_gateway: bool
    """Kept by the routes."""


T = TypeVar("T", bound=Routable)
S = TypeVar("S")

_PREFIX: Final = b"/function/"
_NAME_START: Final = len(_PREFIX)
# Numbers, which are found far faster than `bytes`.
_QUESTION_MARK: Final = ord("?")
_PERCENT: Final = ord("%")


def split_target(target: bytes) -> tuple[bytes, bytes] | None:
    """Split a request target in origin form into the function's name and the target that the function sees.

    `/function/f`, `/function/f/` and `/function/f?a=1` give `/`, `/` and `/?a=1`; `/function/f//x%2F?y` gives `//x%2F?y`.
    None: the target calls no function.
    """
    if not target.startswith(_PREFIX):
        return None
    name, slash, rest = target[_NAME_START:].partition(b"/")
    if _QUESTION_MARK in name:
        name, _, query = target[_NAME_START:].partition(b"?")
        rest = b"/?" + query
    else:
        rest = slash + rest if slash else b"/"
    if not name:
        return None
    return (unquote_to_bytes(name) if _PERCENT in name else name), rest


@frozen
class Gateways:
    """The load balancers of other zones, as the configuration names them."""

    hosts: frozenset[str] = frozenset()
    """Every port of these is a gateway."""
    endpoints: frozenset[Endpoint] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Gateways:
        """Read entries separated by white space: `host:port`, `host`, `http://host:port`.

        Raises:
            WeightsError: an entry names no endpoint.
        """
        hosts, endpoints = set(), set()
        for entry in text.split():
            try:
                host, port = split_endpoint(entry)
            except WeightsError as exc:
                raise WeightsError(f"an entry {exc}") from None
            if port is None:
                hosts.add(host)
            else:
                endpoints.add(Endpoint(host, port))
        return cls(frozenset(hosts), frozenset(endpoints))

    def __contains__(self, endpoint: Endpoint) -> bool:
        return endpoint.host in self.hosts or endpoint in self.endpoints

    def __str__(self) -> str:
        return " ".join(sorted([*self.hosts, *(endpoint.authority for endpoint in self.endpoints)]))


class Route(FunctionStats):
    """One function: all its endpoints, those that are no gateways, and what was counted of its calls."""

    __slots__ = (
        "direct",
        "endpoints",
        "epoch",
        "every",
        "function",
        "generation",
        "in_flight",
        "limits",
        "local",
    )

    def __init__(self, function: str, every: EndpointSet[Any]) -> None:
        super().__init__()
        # With what was counted this takes three lines of the processor's cache, as no type variable takes the room of two
        # attributes. What each call looks at first fills the second one, with what calls seldom count; see `golb.schedule`.
        self.direct: Schedule[Any] | None = None
        """Whose turn it is of `every`, where that is all there is to ask: the function is not limited, and nobody rests."""
        self.in_flight = 0
        """Requests under way, kept by the caller."""
        self.epoch = 0
        """Of the resting endpoints, as of the last look at them."""
        self.every = every
        self.local = every
        """What a request may use that another load balancer forwarded: no gateway, so it cannot travel on. The same
        set as `every` where no endpoint is a gateway."""
        self.endpoints: dict[Endpoint, Any] = {}
        """What stands for each of them in the sets."""
        self.function = function
        self.limits = NO_LIMITS
        self.generation = 0
        """Of the configuration that it follows."""

    @property
    def name(self) -> bytes:
        """The function's, as it stands in a URL."""
        return self.function.encode()

    @property
    def direct_local(self) -> Schedule[Any] | None:
        """As `direct`, of `local`."""
        return self.direct if self.local is self.every else self._direct(self.local)

    def settle(self) -> None:
        """Note what is direct, after a change of anything else."""
        self.direct = self._direct(self.every)

    def _direct(self, endpoints: EndpointSet[Any]) -> Schedule[Any] | None:
        return None if self.limits.max_inflight or endpoints.resting else endpoints.in_service


class Routes(Generic[S, T]):
    """All functions of the zone. `S` is what the caller makes of an endpoint: its connections, say; `T` of one in a function.

    Args:
        gateways: the endpoints that a forwarded request must not use.
        open_endpoint: called when an endpoint enters its first function.
        close_endpoint: called when it has left its last.
        join: called when it enters a function, where what it returns stands for it until it leaves that one.
        resting: the endpoints that rest.
        panic_threshold: which part of a function's weight may rest, 0 to 1.
        random: seeds the phases of the schedules.
    """

    def __init__(
        self,
        gateways: Gateways,
        open_endpoint: Callable[[Endpoint], S],
        close_endpoint: Callable[[S], None],
        join: Callable[[S], T],
        resting: RestingEndpoints,
        *,
        panic_threshold: float = 0.5,
        random: Random | None = None,
    ) -> None:
        self._gateways = gateways
        self._resting = resting
        self._panic_threshold = panic_threshold
        self._generation = 0
        self._open = open_endpoint
        self._close = close_endpoint
        self._join = join
        self._random = random or Random()  # noqa: S311 - a phase is no secret; one for all: its state is 2.5 KB
        self._by_name: dict[bytes, Route] = {}
        self._users: dict[Endpoint, tuple[S, int]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def reconfigure(self, gateways: Gateways, *, panic_threshold: float) -> None:
        """Take new ones over; picks go on where they were. A route follows when it is next used: there may be 100,000."""
        if (gateways, panic_threshold) == (self._gateways, self._panic_threshold):
            return
        self._gateways = gateways
        self._panic_threshold = panic_threshold
        self._generation += 1
        self._resting.epoch += 1  # so that `get` looks at each route anew

    def get(self, name: bytes) -> Route | None:
        """Return the route of the function of that name, as `split_target` returns it."""
        route = self._by_name.get(name)
        if route is not None and route.epoch != self._resting.epoch:
            self.renew(route)
        return route

    def renew(self, route: Route) -> None:
        """Look anew at which endpoints of a function rest, if that has changed; `get` has done so, but time passes."""
        if route.epoch == self._resting.epoch:
            return
        route.epoch = self._resting.epoch
        if route.generation != self._generation:
            self._adopt_configuration(route)
            route.every.update(route.every.weights)
            self._divide(route)
        else:
            route.every.renew()
            if route.local is not route.every:
                route.local.renew()
        route.settle()

    def apply(self, update: WeightUpdate) -> None:
        """Take an update over; picks go on where they were."""
        name = update.function.encode()
        route = self._by_name.get(name)
        if update.weights is None:
            if route is not None:
                del self._by_name[name]
                self._release(route.endpoints)
            return
        if route is None:
            route = Route(update.function, self._endpoint_set({}))
            self._by_name[name] = route
        route.limits = update.weights.limits
        before, by_endpoint = route.endpoints, update.weights.by_endpoint
        is_adopted = route.generation == self._generation
        self._adopt_configuration(route)
        route.epoch = self._resting.epoch
        if is_adopted and are_same_endpoints(before, by_endpoint):
            route.every.update(dict(zip(before.values(), by_endpoint.values(), strict=True)))
            if route.local is not route.every:
                self._divide(route)
            route.settle()
            return
        route.endpoints = {}
        for endpoint in by_endpoint:
            shared = self._acquire(endpoint)
            route.endpoints[endpoint] = before[endpoint] if endpoint in before else self._join(shared)
        route.every.update({route.endpoints[endpoint]: weight for endpoint, weight in by_endpoint.items()})
        self._divide(route)
        route.settle()
        self._release(before)

    def _adopt_configuration(self, route: Route) -> None:
        """Let the next `update` of its endpoint sets go by the configuration in force."""
        route.generation = self._generation
        route.every.panic_threshold = route.local.panic_threshold = self._panic_threshold

    def _divide(self, route: Route) -> None:
        """Tell gateways from the others."""
        gateways, weights = self._gateways, route.every.weights
        local = {}
        for endpoint, item in route.endpoints.items():
            item.is_gateway = is_gateway = endpoint in gateways
            if not is_gateway:
                local[item] = weights[item]
        if len(local) == len(weights):
            route.local = route.every
        elif route.local is route.every:
            route.local = self._endpoint_set(local)
        else:
            route.local.update(local)

    def _endpoint_set(self, weights: dict[T, int | float]) -> EndpointSet[T]:
        return EndpointSet(weights, rests=self._resting, panic_threshold=self._panic_threshold, random=self._random)

    def _acquire(self, endpoint: Endpoint) -> S:
        item, users = self._users.get(endpoint) or (self._open(endpoint), 0)
        self._users[endpoint] = item, users + 1
        return item

    def _release(self, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            item, users = self._users[endpoint]
            if users > 1:
                self._users[endpoint] = item, users - 1
            else:
                del self._users[endpoint]
                self._close(item)

"""Who runs where in the demo: zones, functions, endpoints and the weights that an optimizer would write.

The tables have the shapes that golb's users write: endpoints only, endpoints with the other zone's golb behind them,
and the other zone's golb alone, where the function has no endpoint in the zone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ETCD_PORT = 2379


@frozen(kw_only=True)
class Zone:
    """One zone of the demo, with the node whose golb serves it."""

    name: str
    node: str
    port: int
    """The port that its golb takes if it is free."""
    admin_port: int
    """Likewise, for what it tells of itself."""


@frozen(kw_only=True)
class Placement:
    """What a function has in one zone."""

    function: str
    zone: str
    weights: tuple[int, ...] = ()
    """One endpoint for each of these weights."""
    gateway_weight: int | None = None
    """The weight of the other zone's golb; None leaves it out of the table."""


@frozen(kw_only=True)
class Endpoint:
    """One place where a function runs."""

    name: str
    function: str
    zone: str
    address: str
    """`ip:port`."""


ZONES = (
    Zone(name="zone-a", node="eb-a-controller", port=8080, admin_port=9080),
    Zone(name="zone-b", node="eb-b-controller", port=8081, admin_port=9081),
)
PLACEMENTS = (
    Placement(function="resnet", zone="zone-a", weights=(5, 3, 1)),
    Placement(function="resnet", zone="zone-b", gateway_weight=1),
    Placement(function="mobilenet-v2", zone="zone-a", weights=(2, 2), gateway_weight=1),
    Placement(function="mobilenet-v2", zone="zone-b", weights=(1,), gateway_weight=4),
    Placement(function="request_responder_250", zone="zone-a", gateway_weight=1),
    Placement(function="request_responder_250", zone="zone-b", weights=(1,)),
)


@frozen(kw_only=True)
class Table:
    """What etcd holds for one function in one zone."""

    placement: Placement
    ips: tuple[str, ...]
    weights: tuple[int, ...]

    @property
    def key(self) -> str:
        """The key in etcd."""
        return f"golb/function/{self.placement.zone}/{self.placement.function}"

    def value(self, weights: Sequence[int] | None = None) -> str:
        """Return the value in etcd, with these weights instead of the table's own if they are given."""
        return json.dumps({"ips": self.ips, "weights": self.weights if weights is None else weights})


def tables(endpoints: Sequence[Endpoint], gateways_by_zone: Mapping[str, str]) -> list[Table]:
    """Return what to put into etcd; `gateways_by_zone` names, for each zone, the golb of the other one (`ip:port`)."""
    result = []
    for placement in PLACEMENTS:
        here = (placement.function, placement.zone)
        ips = [endpoint.address for endpoint in endpoints if (endpoint.function, endpoint.zone) == here]
        weights = list(placement.weights)
        if placement.gateway_weight is not None:
            ips.append(gateways_by_zone[placement.zone])
            weights.append(placement.gateway_weight)
        result.append(Table(placement=placement, ips=tuple(ips), weights=tuple(weights)))
    return result

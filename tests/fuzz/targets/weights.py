"""Target: whatever may be put under whatever key, to the parsers of names and values and to the table they fill.

The payload is a key, a zero byte, and the values that are put there one after the other, with zero bytes between them.
Choice: what of it is repeated.
"""

from __future__ import annotations

import math
from random import Random

from fuzz.inputs import Choices, expand
from fuzz.stack import bounded_logs
from golb.errors import NoEndpoint, WeightsError
from golb.routes import Gateways
from golb.schedule import Schedule
from golb.updaters.table import Table
from golb.weights import (
    MAX_ENDPOINTS,
    MAX_NAME_LENGTH,
    MAX_VALUE_BYTES,
    Endpoint,
    Refused,
    Weights,
    WeightUpdate,
    parse_endpoint,
    parse_function_name,
    parse_weights,
)

CHOICES = 1
ZONE = "z"
_MAX_VALUES = 8
_PICKS = 20
_MAX_REASON = 2000


def fuzz_one(data: bytes) -> None:
    choices = Choices(data, CHOICES)
    times = choices.number()
    key, *values = choices.payload.split(b"\0", _MAX_VALUES)
    with bounded_logs():
        function = check_name(expand(key, times))
        check_gateways(key)
        check_table(function or "f", [expand(value, times) for value in values])


def _check_reason(refused: Refused) -> None:
    assert len(str(refused)) <= _MAX_REASON, f"a reason of {len(str(refused))} characters"


def check_name(key: bytes) -> str | None:
    """Read a key; a name that is taken can stand in a URL and in a line of log, and is the key's last segment."""
    try:
        name = parse_function_name(key, ZONE)
    except Refused as exc:
        _check_reason(exc)
        return None
    assert key == f"golb/function/{ZONE}/{name}".encode()
    assert name
    assert len(name) <= MAX_NAME_LENGTH
    assert name.isprintable()
    assert "/" not in name
    return name


def check_gateways(text: bytes) -> None:
    """Read what may stand in the configuration as gateways; it is written and read again unchanged."""
    try:
        gateways = Gateways.parse(text.decode("latin-1"))
    except WeightsError:
        return
    assert Gateways.parse(str(gateways)) == gateways


def check_value(value: bytes) -> Weights | None:
    """Read a value; what is taken is finite, not negative, and means the same when it is written again."""
    try:
        weights = parse_weights(value)
    except Refused as exc:
        _check_reason(exc)
        return None
    assert len(value) <= MAX_VALUE_BYTES
    assert len(weights.by_endpoint) <= MAX_ENDPOINTS
    for endpoint, weight in weights.by_endpoint.items():
        check_endpoint(endpoint)
        assert type(weight) in (int, float)
        assert math.isfinite(weight)
        assert weight >= 0
    assert math.isfinite(sum(weights.by_endpoint.values()))
    assert "\n" not in str(weights)
    assert parse_weights(value.decode()) == weights
    return weights


def check_endpoint(endpoint: Endpoint) -> None:
    assert 1 <= endpoint.port <= 65535
    assert parse_endpoint(endpoint.authority) == endpoint
    assert parse_endpoint(f"http://{endpoint.authority}/") == endpoint
    # It goes into a header and into the resolver.
    assert endpoint.authority.isascii()
    assert endpoint.authority.isprintable()
    assert not set(endpoint.authority) & set(" /?#@\\%")


def check_table(function: str, values: list[bytes]) -> None:
    """Put values; the table holds the last good one, says so of each change once, and a schedule follows it."""
    table = Table(clock=lambda: 0.0)
    schedule: Schedule[Endpoint] = Schedule({}, random=Random(0))
    good: Weights | None = None
    for revision, value in enumerate(values, 1):
        weights = check_value(value)
        update = table.put(function, value, revision)
        assert table.revision == revision
        if weights is None or weights == good:
            assert update is None
        else:
            assert update == WeightUpdate(function, weights, revision)
            good = weights
            schedule.update(good.by_endpoint)
            check_picks(schedule, good)
        assert len(table.refused) == (weights is None)
        assert table.put(function, value, revision) is None
    assert len(table) == (good is not None)
    assert [row[0] for row in table.rows()] == ([function] if good is not None else [])
    gone = table.delete(function, len(values) + 1)
    assert (gone is not None) == (good is not None)
    assert len(table.refused) == len(table) == 0


def check_picks(schedule: Schedule[Endpoint], weights: Weights) -> None:
    """Pick; only what has a weight is picked, and something is unless nothing has one."""
    for _ in range(_PICKS):
        try:
            picked = schedule.next()
        except NoEndpoint:
            assert not any(weights.by_endpoint.values())
            return
        assert weights.by_endpoint[picked] > 0

"""Weight updates as JSON and back, in messages that are bounded."""

from __future__ import annotations

import json
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from golb.limits import NO_LIMITS, Limits
from golb.weights import Endpoint, Weights, WeightUpdate
from golb.workers.updates import decode, encode, in_messages

hosts = st.one_of(st.ip_addresses().map(str), st.sampled_from(["pod", "größe.example", "a" * 63]))
endpoints = st.builds(Endpoint, hosts, st.integers(1, 65535))
weights = st.one_of(
    st.floats(0, sys.float_info.max, allow_nan=False, allow_infinity=False), st.integers(0, int(sys.float_info.max))
)
counts = st.none() | st.integers(0, 1_000_000_000)
limits = st.just(NO_LIMITS) | st.builds(Limits, counts, counts, st.none() | st.floats(0, 3600))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
states = st.none() | st.builds(Weights, st.dictionaries(endpoints, weights, max_size=5), limits)
updates = st.builds(WeightUpdate, names, states, st.integers(0, 2**63 - 1))


@given(updates)
def test_any_update_arrives_as_it_was(update: WeightUpdate) -> None:
    decoded = decode(json.loads(json.dumps(encode(update))))
    assert decoded == update
    if update.weights is not None:
        assert decoded.weights is not None
        assert repr(list(decoded.weights.by_endpoint.items())) == repr(list(update.weights.by_endpoint.items()))
        assert (decoded.weights.limits is NO_LIMITS) == (update.weights.limits is NO_LIMITS)


def test_equal_endpoints_are_one_object() -> None:
    update = WeightUpdate("f", Weights({Endpoint("::1", 80): 0.1}), 7)
    first, second = decode(encode(update)), decode(encode(update))
    assert first.weights is not None
    assert second.weights is not None
    assert next(iter(first.weights.by_endpoint)) is next(iter(second.weights.by_endpoint))


def with_endpoints(name: str, count: int) -> WeightUpdate:
    return WeightUpdate(name, Weights({Endpoint("10.0.0.1", 1 + port): 1 for port in range(count)}), 1)


@settings(max_examples=30)
@given(st.lists(st.none() | st.integers(0, 1200), max_size=12))
def test_messages_hold_every_update_once_and_no_more_endpoints_than_are_read_at_once(sizes: list[int | None]) -> None:
    sent = [
        WeightUpdate(f"f{number}", None, 1) if size is None else with_endpoints(f"f{number}", size)
        for number, size in enumerate(sizes)
    ]
    messages = list(in_messages(sent))
    assert [row for rows, _ in messages for row in rows] == [encode(update) for update in sent]
    assert [is_last for _, is_last in messages] == [False] * (len(messages) - 1) + [True]
    for rows, is_last in messages:
        assert rows or (is_last and len(messages) == 1)
        # The one that goes beyond it is the last of its message.
        assert sum(1 + len(row[2] if len(row) > 2 else ()) for row in rows[:-1]) < 500


def test_a_table_without_functions_is_one_message_too() -> None:
    assert list(in_messages([])) == [([], True)]

"""What a value may say of how much of its function goes on at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.errors import WeightsError
from golb.limits import NO_LIMITS, Limits, parse_limits

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=50)

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.just({})
)


def test_a_value_without_these_members_limits_nothing() -> None:
    assert parse_limits({"ips": [], "weights": [], "MAX_INFLIGHT": 1, "max_in_flight": 1}) is NO_LIMITS
    assert Limits() == NO_LIMITS == Limits(None, None, None)


@pytest.mark.parametrize(
    ("members", "limits"),
    [
        ({"max_inflight": 100, "queue": 50, "timeout": 0.5}, Limits(100, 50, 0.5)),
        ({"max_inflight": 0, "queue": 0, "timeout": 0}, Limits(0, 0, 0.0)),
        ({"max_inflight": None, "queue": 3}, Limits(None, 3, None)),
        ({"timeout": 3600}, Limits(None, None, 3600.0)),
        ({"max_inflight": 1_000_000_000}, Limits(1_000_000_000, None, None)),
    ],
)
def test_a_member_is_read_and_one_that_is_not_there_or_null_is_left_to_the_configuration(
    members: dict[str, object], limits: Limits
) -> None:
    assert parse_limits(members) == limits


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("max_inflight", -1, "-1"),
        ("max_inflight", 1.0, "1.0"),
        ("max_inflight", "1", "'1'"),
        ("max_inflight", True, "True"),
        ("max_inflight", 1_000_000_001, "1000000001"),
        ("queue", [], "[]"),
        ("queue", 10**4000, "1000000000...0000000000"),
    ],
)
def test_a_count_that_is_none_is_refused_with_the_reason(name: str, value: object, shown: str) -> None:
    with pytest.raises(WeightsError) as refused:
        parse_limits({name: value})
    reason = str(refused.value)
    assert reason.startswith(f"{name} is {shown[:8]}")
    assert reason.endswith("; a whole number from 0 to 1000000000 is needed")
    assert len(reason) < 150


@pytest.mark.parametrize("value", [-0.1, 3600.1, float("inf"), float("nan"), 10**400, "1", True, [], {}])
def test_a_timeout_that_is_none_is_refused_with_the_reason(value: object) -> None:
    with pytest.raises(WeightsError, match=r"^timeout is .{1,60}; seconds from 0 to 3600 are needed$"):
        parse_limits({"timeout": value})


@REPEATABLE
@given(st.dictionaries(st.sampled_from(["max_inflight", "queue", "timeout", "ips"]), ANYTHING))
def test_whatever_the_members_hold_they_are_limits_or_refused(members: dict[str, object]) -> None:
    try:
        limits = parse_limits(members)
    except WeightsError:
        return
    for count in (limits.max_inflight, limits.queue):
        assert count is None or (type(count) is int and 0 <= count <= 1_000_000_000)
    assert limits.timeout_s is None or (type(limits.timeout_s) is float and 0 <= limits.timeout_s <= 3600)

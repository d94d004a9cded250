"""Bad values, however many: a line now and then, all of them counted, a bounded number known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from golb.updaters.refusals import MAX_KEPT, QUIET_S, Refusal, Refusals
from golb.weights import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.following import Logs


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


def test_one_kind_of_refusal_of_one_key_is_one_line_in_a_while_with_the_count_in_the_next(
    refusals: Refusals, clock: Clock, logs: Logs
) -> None:
    for number in range(10_000):
        refusals.add("f", Fault.WEIGHT, f"weights[0] is -{number}", number, value_hash=number, kept=True)
    clock.now_s += QUIET_S
    refusals.add("f", Fault.WEIGHT, "weights[0] is NaN", 10_000, value_hash=7, kept=True)
    assert logs == [
        {
            "event": "refused",
            "log_level": "warning",
            "name": "f",
            "reason": "weights[0] is -0",
            "revision": 0,
            "kept": True,
        },
        {
            "event": "refused",
            "log_level": "warning",
            "name": "f",
            "reason": "weights[0] is NaN",
            "revision": 10_000,
            "kept": True,
            "times": 10_000,
        },
    ]
    assert refusals.counts == {Fault.WEIGHT: 10_001}


def test_another_key_and_another_kind_have_lines_of_their_own(refusals: Refusals, logs: Logs) -> None:
    refusals.add("f", Fault.WEIGHT, "negative", 1, kept=True)
    refusals.add("g", Fault.WEIGHT, "negative", 2, kept=False)
    refusals.add("f", Fault.JSON, "no JSON", 3, kept=True)
    refusals.add("f", Fault.WEIGHT, "negative", 4, kept=True)
    assert [(log["name"], log["reason"], log["kept"]) for log in logs] == [
        ("f", "negative", True),
        ("g", "negative", False),
        ("f", "no JSON", True),
    ]


def test_a_value_that_turns_good_and_bad_again_is_no_reason_for_another_line(refusals: Refusals, logs: Logs) -> None:
    for revision in range(100):
        refusals.add("f", Fault.WEIGHT, "negative", revision, kept=True)
        refusals.remove("f")
    assert len(logs) == 1


def test_thousands_of_bad_keys_are_fifty_lines_and_a_count(refusals: Refusals, clock: Clock, logs: Logs) -> None:
    for number in range(10_000):
        refusals.add(f"f{number}", Fault.JSON, "no JSON", number, kept=False)
    assert len(logs) == 50
    refusals.add("other", Fault.SIZE, "too long", 10_001, kept=False)
    assert logs[50]["name"] == "other"  # what is rare is not drowned
    clock.now_s += QUIET_S
    refusals.add("f0", Fault.JSON, "no JSON", 10_001, kept=False)
    assert logs[51] == {"event": "more refused", "log_level": "warning", "times": 9950, "within_s": round(QUIET_S)}
    assert logs[52]["name"] == "f0"
    assert refusals.total == 10_002


def test_a_bounded_number_of_keys_is_known_the_first_ones(refusals: Refusals, logs: Logs) -> None:
    for number in range(3 * MAX_KEPT):
        refusals.add(f"f{number}", Fault.JSON, "no JSON", number, kept=False)
    assert [refusal.name for refusal in refusals] == [f"f{number}" for number in range(MAX_KEPT)]
    refusals.remove("f0")
    refusals.add("late", Fault.JSON, "no JSON", 9999, kept=False)
    assert "late" in refusals
    assert len(refusals) == MAX_KEPT


def test_what_is_remembered_for_the_log_is_bounded(refusals: Refusals, clock: Clock, logs: Logs) -> None:
    for number in range(50_000):
        refusals.add(f"f{number}", Fault.JSON, "no JSON", number, kept=False)
        clock.now_s += QUIET_S / 1000
    assert len(refusals._told) <= 200  # noqa: SLF001 - nothing else shows it
    assert 49 * 50 <= sum(log["event"] == "refused" for log in logs) <= 51 * 50


def test_long_names_and_reasons_are_cut_short_and_still_told_apart(refusals: Refusals, logs: Logs) -> None:
    refusals.add("a" * 100_000 + "1", Fault.KEY, "r" * 100_000, 1, kept=False)
    refusals.add("a" * 100_000 + "2", Fault.KEY, "r" * 100_000, 2, kept=False)
    assert len(refusals) == 2
    assert all(len(refusal.name) < 250 and len(refusal.reason) < 310 for refusal in refusals)
    assert all(len(str(log)) < 1000 for log in logs)
    refusals.remove("a" * 100_000 + "1")
    assert [refusal.revision for refusal in refusals] == [2]


def test_the_newest_refusal_of_a_key_is_the_one_in_force(refusals: Refusals) -> None:
    refusals.add("f", Fault.JSON, "no JSON", 1, value_hash=1, kept=False)
    refusals.add("f", Fault.WEIGHT, "negative", 2, value_hash=2, kept=False)
    assert list(refusals) == [Refusal("f", Fault.WEIGHT, "negative", 2)]


def test_changes_grow_when_what_is_refused_now_changes(refusals: Refusals) -> None:
    refusals.add("f", Fault.JSON, "no JSON", 1, value_hash=1, kept=False)
    changes = refusals.changes
    refusals.add("f", Fault.JSON, "no JSON", 1, value_hash=1, kept=False)  # listed again
    refusals.remove("g")
    assert refusals.changes == changes
    refusals.remove("f")
    assert refusals.changes == changes + 1


def test_another_value_at_the_same_revision_is_another_put(refusals: Refusals) -> None:
    # etcd was restored from a backup, and counts the same revisions again.
    refusals.add("f", Fault.JSON, "no JSON", 1, value_hash=1, kept=False)
    refusals.add("f", Fault.WEIGHT, "negative", 1, value_hash=2, kept=False)
    assert refusals.total == 2

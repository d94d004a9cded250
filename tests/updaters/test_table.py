"""The last good weights of each function, and what changes them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from golb.networks import TargetNetworks
from golb.updaters.table import Table, describe_change
from golb.weights import Endpoint, Fault, Weights, WeightUpdate

A, B, C = (Endpoint(f"10.0.0.{number}", 80) for number in (1, 2, 3))
GOOD = b'{"ips": ["10.0.0.1"], "weights": [1]}'
OTHER = b'{"ips": ["10.0.0.1"], "weights": [2]}'
BAD = b'{"ips": ["10.0.0.1"], "weights": [-1]}'
BAD_REASON = "weights[0] is -1; a weight is finite and not negative"


def test_a_first_value_is_an_update() -> None:
    assert Table().put("f", GOOD, 7) == WeightUpdate("f", Weights({A: 1}), 7)


def test_an_equal_value_is_none() -> None:
    table = Table()
    table.put("f", GOOD, 7)
    assert table.put("f", GOOD, 8) is None


@pytest.mark.parametrize(
    "value",
    [
        b'{"weights":[1],"ips":["10.0.0.1"]}',
        b'{"ips": ["http://10.0.0.1:80"], "weights": [1.0], "more": 1}',
        b'{"ips": ["10.0.0.1", "10.0.0.1"], "weights": [0.5, 0.5]}',
    ],
)
def test_another_way_to_write_the_same_weights_is_none(value: bytes) -> None:
    table = Table()
    table.put("f", GOOD, 7)
    assert table.put("f", value, 8) is None
    assert table.put("f", value, 9) is None
    assert table.put("f", OTHER, 10) == WeightUpdate("f", Weights({A: 2}), 10)


def test_a_bad_value_keeps_the_last_good_one_and_says_why() -> None:
    table = Table()
    table.put("f", GOOD, 7)
    with capture_logs() as logs:
        assert table.put("f", BAD, 8) is None
    assert logs == [
        {"event": "refused", "log_level": "warning", "name": "f", "reason": BAD_REASON, "revision": 8, "kept": True}
    ]
    assert table.refused.total == 1
    assert table.refused.counts == {Fault.WEIGHT: 1}
    assert table.put("f", GOOD, 9) is None  # it is what has been in force all the time
    assert table.put("f", OTHER, 10) is not None


def test_a_value_outside_the_networks_for_endpoints_keeps_the_last_good_one_and_says_why() -> None:
    table = Table(targets=TargetNetworks.parse("10.0.0.0/8"))
    table.put("f", GOOD, 7)
    with capture_logs() as logs:
        assert table.put("f", b'{"ips": ["10.0.0.1", "11.0.0.1:80"], "weights": [1, 1]}', 8) is None
    reason = "ips[1] is '11.0.0.1:80'; 11.0.0.1 lies in no network of eb_go_lb_target_networks"
    assert [(log["event"], log["reason"], log["kept"]) for log in logs] == [("refused", reason, True)]
    assert table.refused.counts == {Fault.NETWORK: 1}
    assert list(table.rows()) == [("f", GOOD, 7)]


def test_a_function_whose_first_value_is_bad_is_not_known() -> None:
    table = Table()
    with capture_logs() as logs:
        assert table.put("f", BAD, 8) is None
    assert [log["kept"] for log in logs] == [False]
    assert len(table) == 0
    assert table.delete("f", 9) is None


def test_a_delete_is_an_update_once() -> None:
    table = Table()
    table.put("f", GOOD, 7)
    assert table.delete("f", 8) == WeightUpdate("f", None, 8)
    assert table.delete("f", 9) is None
    assert table.put("f", GOOD, 10) == WeightUpdate("f", Weights({A: 1}), 10)


def test_replacing_all_tells_only_what_differs_and_what_is_gone() -> None:
    table = Table()
    for function in ("same", "changed", "gone", "bad"):
        table.put(function, GOOD, 1)
    with capture_logs() as logs:
        updates = table.replace(
            {"same": (GOOD, 1), "changed": (OTHER, 5), "bad": (BAD, 6), "new": (GOOD, 7), "empty": (BAD, 8)}, 9
        )
    assert sorted(updates, key=lambda update: update.function) == [
        WeightUpdate("changed", Weights({A: 2}), 5),
        WeightUpdate("gone", None, 9),
        WeightUpdate("new", Weights({A: 1}), 7),
    ]
    assert [(log["name"], log["kept"]) for log in logs if log["event"] == "refused"] == [
        ("bad", True),
        ("empty", False),
    ]
    assert len(table) == 4


def test_an_update_is_logged_with_what_changed() -> None:
    table = Table()
    table.replace({}, 6)
    with capture_logs() as logs:
        table.put("f", b'{"ips": ["10.0.0.1", "10.0.0.2"], "weights": [1, 2]}', 7)
        table.put("f", b'{"ips": ["10.0.0.1", "10.0.0.3"], "weights": [3, 0.5]}', 8)
        table.delete("f", 9)
    assert logs == [
        {
            "event": "weights changed",
            "log_level": "info",
            "function": "f",
            "revision": 7,
            "changes": "+10.0.0.1:80=1 +10.0.0.2:80=2",
        },
        {
            "event": "weights changed",
            "log_level": "info",
            "function": "f",
            "revision": 8,
            "changes": "+10.0.0.3:80=0.5 -10.0.0.2:80 10.0.0.1:80=1->3",
        },
        {"event": "function removed", "log_level": "info", "function": "f", "revision": 9},
    ]


def test_the_revision_is_the_newest_that_was_taken_in_whatever_it_changed() -> None:
    table = Table()
    assert table.revision == 0
    table.replace({"f": (GOOD, 3)}, 5)
    assert table.revision == 5
    table.put("f", GOOD, 6)
    assert table.revision == 6
    table.put("f", BAD, 7)
    assert table.revision == 7
    table.delete("unknown", 8)
    assert table.revision == 8
    table.refuse("'no/function'", "no", 9)  # as of a list, whose values come after
    assert table.revision == 8
    table.replace({}, 4)  # etcd was restored from a backup
    assert table.revision == 4


def test_changes_grow_with_what_is_to_be_saved_and_with_nothing_else() -> None:
    table = Table()
    table.put("f", GOOD, 1)
    changes = table.changes
    table.put("f", GOOD, 2)
    table.put("f", BAD, 3)
    table.delete("g", 4)
    assert table.changes == changes
    table.put("f", OTHER, 5)
    table.delete("f", 6)
    assert table.changes == changes + 2


def test_rows_are_those_of_the_moment_they_were_asked_for() -> None:
    table = Table()
    table.put("f", GOOD, 1)
    table.put("g", GOOD, 2)
    table.put("g", b'{"weights":[1],"ips":["10.0.0.1"]}', 3)  # the same weights, so those of revision 2
    rows = table.rows()
    table.put("f", OTHER, 4)
    table.delete("g", 5)
    assert list(rows) == [("f", GOOD, 1), ("g", b'{"weights":[1],"ips":["10.0.0.1"]}', 2)]


def test_a_restored_table_is_told_whole_and_the_next_list_only_where_it_differs() -> None:
    saved = Table()
    for function in ("same", "changed", "gone"):
        saved.put(function, GOOD, 3)
    table = Table()
    with capture_logs() as logs:
        updates = [update for updates in table.restore([*saved.rows(), ("bad", BAD, 2)], 4) for update in updates]
    assert updates == [WeightUpdate(function, Weights({A: 1}), 3) for function in ("same", "changed", "gone")]
    assert [log["name"] for log in logs if log["log_level"] == "warning"] == ["bad"]
    assert (table.revision, len(table)) == (4, 3)
    updates = table.replace({"same": (GOOD, 9), "changed": (OTHER, 8)}, 9)
    assert updates == [WeightUpdate("gone", None, 9), WeightUpdate("changed", Weights({A: 2}), 8)]


VALUES = st.sampled_from([GOOD, OTHER, BAD, b"", b'{"ips": [], "weights": []}'])
LISTS = st.lists(st.dictionaries(st.sampled_from("abcdefgh"), VALUES), max_size=5)


@settings(derandomize=True, deadline=None)
@given(LISTS, st.integers(1, 4))
def test_taking_a_list_in_steps_comes_to_the_same(lists: list[dict[str, bytes]], at_once: int) -> None:
    whole, stepwise = Table(), Table()
    for revision, values in enumerate(lists, 1):
        listed = {function: (value, revision) for function, value in values.items()}
        expected = whole.replace(listed, revision)
        steps = list(stepwise.replace_in_steps(listed, revision, at_once))
        assert sorted(update.function for updates in steps for update in updates) == sorted(
            update.function for update in expected
        )
        assert all(len(updates) <= at_once for updates in steps)
        assert list(stepwise.rows()) == list(whole.rows())
        assert list(stepwise.refused) == list(whole.refused)


def test_while_a_list_is_taken_in_steps_the_table_says_that_it_is_not_whole() -> None:
    table = Table()
    values = {f"f{number}": (GOOD, 1) for number in range(5)}
    steps = table.replace_in_steps(values, 7, 2)
    assert table.is_whole
    assert len(next(steps)) == 2
    assert (table.is_whole, table.is_filled, table.revision) == (False, False, 0)
    assert [len(updates) for updates in steps] == [2, 1]
    assert (table.is_whole, table.is_filled, table.revision) == (True, True, 7)


def test_what_a_list_in_steps_that_was_given_up_has_not_told_the_next_list_tells() -> None:
    table = Table()
    values = {f"f{number}": (GOOD, 1) for number in range(5)}
    told = next(table.replace_in_steps(values, 7, 2))
    told += table.replace(values, 8)
    assert sorted(update.function for update in told) == sorted(values)


def test_thousands_of_changes_a_second_are_ten_lines_and_a_count() -> None:
    now_s = 100.0
    table = Table(lambda: now_s)
    table.replace({}, 1)
    with capture_logs() as logs:
        for number in range(5000):
            table.put(f"f{number}", GOOD, number)
        assert {log["event"] for log in logs} == {"weights changed"}
        assert len(logs) == 10
        now_s += 1
        table.delete("f0", 5000)
    assert logs[10:] == [
        {"event": "more weights changed", "log_level": "info", "times": 4990},
        {"event": "function removed", "log_level": "info", "function": "f0", "revision": 5000},
    ]


def test_a_refused_value_that_is_only_listed_again_is_neither_logged_nor_counted_again() -> None:
    table = Table()
    with capture_logs() as logs:
        for revision in (10, 11, 12):
            table.refuse("'a/b'", "four segments", 3)
            table.replace({"f": (BAD, 4), "g": (GOOD, 5)}, revision)
    assert [log["name"] for log in logs if log["event"] == "refused"] == ["'a/b'", "f"]
    assert table.refused.counts == {Fault.KEY: 1, Fault.WEIGHT: 1}
    assert [refusal.name for refusal in table.refused] == ["'a/b'", "f"]


def test_a_refusal_ends_with_the_value_that_was_refused() -> None:
    def refused(table: Table) -> list[str]:
        return [refusal.name for refusal in table.refused]

    table = Table()
    table.put("f", GOOD, 1)
    for mend in (
        lambda: table.put("f", GOOD, 3),  # what has been in force all the time
        lambda: table.put("f", OTHER, 3),
        lambda: table.put("f", b'{"weights":[2],"ips":["10.0.0.1"]}', 3),
        lambda: table.replace({}, 3),
    ):
        table.put("f", BAD, 2)
        assert refused(table) == ["f"]
        mend()
        assert refused(table) == []
    table.put("f", BAD, 4)
    table.delete("f", 5)
    assert refused(table) == []
    table.refuse("'a/b'", "four segments", 6)
    assert refused(table) == ["'a/b'"]
    table.forget("'a/b'")
    assert refused(table) == []


def test_a_key_whose_delete_was_missed_is_forgotten_after_two_lists() -> None:
    table = Table()
    table.refuse("'a/b'", "four segments", 6)
    table.replace({}, 7)
    assert len(table.refused) == 1
    table.replace({}, 8)
    assert len(table.refused) == 0


def test_the_same_bad_value_put_again_is_counted_and_stands_once() -> None:
    table = Table()
    for revision in range(1, 101):
        table.put("f", BAD, revision)
    assert table.refused.counts == {Fault.WEIGHT: 100}
    (refusal,) = table.refused
    assert (refusal.name, refusal.fault, refusal.reason, refusal.revision) == ("f", Fault.WEIGHT, BAD_REASON, 100)


def test_a_value_that_is_too_long_or_has_too_many_endpoints_leaves_the_others_alone() -> None:
    many = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80" for number in range(100_000)]
    table = Table()
    table.put("f", GOOD, 1)
    assert table.put("f", json.dumps({"ips": many, "weights": [1] * len(many)}).encode(), 2) is None
    assert table.put("g", json.dumps({"ips": many[:6000], "weights": [1] * 6000}).encode(), 3) is None
    assert [(refusal.name, refusal.fault) for refusal in table.refused] == [("f", Fault.SIZE), ("g", Fault.SIZE)]
    assert [row[0] for row in table.rows()] == ["f"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, Weights(), "none: no endpoint"),
        (None, Weights({A: 1}), "+10.0.0.1:80=1"),
        (Weights({A: 1}), Weights(), "-10.0.0.1:80"),
        (Weights({A: 1, B: 2}), Weights({A: 1, B: 0}), "10.0.0.2:80=2->0"),
        (Weights({A: 1, B: 2}), Weights({C: 10**300}), "+10.0.0.3:80=1e+300 -10.0.0.1:80 -10.0.0.2:80"),
    ],
)
def test_a_change_is_told_in_one_line(before: Weights | None, after: Weights, words: str) -> None:
    assert describe_change(before, after) == words


def test_a_long_change_is_cut_short_and_says_how_much_more_there_is() -> None:
    weights = Weights({Endpoint(f"10.0.0.{number}", 80): 1 for number in range(1, 51)})
    words = describe_change(None, weights)
    assert words.startswith("+10.0.0.1:80=1 +10.0.0.2:80=1 ")
    assert words.endswith(" +10.0.0.20:80=1 and 30 more")

"""The last good weights of each function, and what changes them."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from golb.updaters.table import Table, describe_change
from golb.weights import Endpoint, Weights, WeightUpdate

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
    assert table.refused == 1
    assert table.put("f", GOOD, 9) is None  # it is what has been in force all the time
    assert table.put("f", OTHER, 10) is not None


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

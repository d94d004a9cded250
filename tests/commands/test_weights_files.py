"""check, diff and apply: files of values by function. Against a real etcd."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import trio
from commands.zones import value

from golb.config import Config
from golb.updaters.file import FileWeightUpdater

if TYPE_CHECKING:
    from collections.abc import Iterable

    from commands.zones import Zone

    from golb.weights import WeightUpdate

MIXED = {
    "good": value(**{"5": 3, "6": 1}) | {"queue": 5},
    "empty": {"ips": [], "weights": []},
    "negative": value(**{"5": -1}),
    "metadata": {"ips": ["169.254.169.254"], "weights": [1]},
    "a/b": value(**{"5": 1}),
    "shape": {"ips": ["10.42.0.5"]},
    "limit": value(**{"5": 1}) | {"timeout": "soon"},
    "list": [],
}
FAULTS = {
    "good": None,
    "empty": None,
    "negative": "weight",
    "metadata": "network",
    "a/b": "key",
    "shape": "shape",
    "limit": "limit",
    "list": "shape",
}


def test_check_says_of_each_function_whether_golb_would_take_it(zone: Zone) -> None:
    zone.environ.clear()
    ended = zone.weights("check", zone.file(MIXED))
    assert (ended.code, ended.err) == (1, "")
    assert ended.rows[0] == ["good", "good", "10.42.0.5:8080=3 (75.0 %), 10.42.0.6:8080=1 (25.0 %)"]
    assert ended.rows[2] == ["negative", "refused", "weights[0] is -1; a weight is finite and not negative"]
    checked = zone.weights("check", zone.file(MIXED), "--json").json
    assert checked["refused"] == 6
    faults = {each["function"]: each["refused"] and each["refused"]["fault"] for each in checked["functions"]}
    assert faults == FAULTS


async def test_check_takes_what_the_load_balancer_takes_from_the_file(zone: Zone) -> None:
    path = zone.file(MIXED)
    variables = {"zone": zone.name, "weight_updater": "file", "weights_file": path}
    updater = FileWeightUpdater(Config.from_environ({f"eb_go_lb_{name}": text for name, text in variables.items()}))
    taken: list[str] = []

    def publish(updates: Iterable[WeightUpdate]) -> None:
        taken.extend(update.function for update in updates)
        scope.cancel()

    with trio.fail_after(5), trio.CancelScope() as scope:
        await updater.run(publish)
    assert taken == [function for function, fault in FAULTS.items() if fault is None]


def test_check_of_a_good_file_exits_with_0(zone: Zone) -> None:
    assert zone.weights("check", zone.file({"good": MIXED["good"]})).code == 0
    assert zone.weights("check", zone.file({})).code == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "the file is not JSON"), ("[]", "the file holds no object"), ("[" * 100_000, "nested too deeply")],
)
def test_a_file_that_is_no_object_is_refused(zone: Zone, content: str, says: str) -> None:
    for command in ("check", "diff", "apply"):
        ended = zone.weights(command, zone.file(content))
        assert ended.code == 1
        assert says in ended.err


def test_check_reads_stdin_and_single_values(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    typed(json.dumps(MIXED["good"]) + "\n")
    assert zone.weights("check", "-", "--value").rows == [
        ["(the value)", "good", "10.42.0.5:8080=3 (75.0 %), 10.42.0.6:8080=1 (25.0 %)"]
    ]
    typed('{"ips": [], "weights": [1]}')
    ended = zone.weights("check", "--value", "--json", "-")
    assert ended.code == 1
    assert ended.json["functions"][0]["refused"]["reason"] == "0 ips but 1 weights; each ip needs one weight"


def test_a_file_that_cannot_be_read_is_wrong_usage(zone: Zone) -> None:
    for command in ("check", "diff", "apply"):
        ended = zone.weights(command, "/nowhere/weights.json")
        assert ended.code == 2
        assert "/nowhere/weights.json" in ended.err


def test_apply_makes_the_functions_of_a_file_those_of_the_zone(zone: Zone) -> None:
    zone.put("stays", value(**{"5": 1}))
    zone.put("changes", value(**{"5": 1}))
    same = zone.put("same", '{"ips":["10.42.0.5:8080"],"weights":[1.50]}')
    path = zone.file(
        '{"new": {"ips": ["10.42.0.9"], "weights": [33.30], "by": 1e3}, '
        '"changes": {"ips": ["10.42.0.5:8080"], "weights": [2]}, '
        '"same": {"ips": ["10.42.0.5:8080"], "weights": [1.50]}}'
    )
    applied = zone.weights("apply", path, "--json").json
    assert [(each["function"], each["action"]) for each in applied["changes"]] == [
        ("new", "create"),
        ("changes", "update"),
        ("same", "unchanged"),
    ]
    assert applied["transactions"] == 1
    assert applied["changes"][0]["revision"] == applied["changes"][1]["revision"]
    assert zone.get("new") == '{"ips": ["10.42.0.9"], "weights": [33.30], "by": 1e3}'
    assert zone.members("changes") == value(**{"5": 2})
    assert zone.members("stays") == value(**{"5": 1})
    assert zone.weights("get", "same", "--json").json["revision"] == same


def test_apply_with_prune_deletes_what_is_not_in_the_file(zone: Zone) -> None:
    zone.put("goes", value(**{"5": 1}))
    zone.put("goes too", "no JSON")
    assert zone.weights("apply", "--prune", zone.file({"new": value(**{"5": 1})})).code == 0
    assert zone.get("goes") is zone.get("goes too") is None
    assert zone.members("new") == value(**{"5": 1})


def test_apply_writes_nothing_if_golb_would_refuse_one_value(zone: Zone) -> None:
    ended = zone.weights("apply", zone.file(MIXED))
    assert ended.code == 1
    assert "'negative': weights[0] is -1" in ended.err
    assert "'a/b': " in ended.err
    assert ended.err.endswith("nothing was written\n")
    assert zone.get("good") is None


def test_a_dry_run_shows_and_writes_nothing(zone: Zone) -> None:
    zone.put("goes", value(**{"5": 1}))
    ended = zone.weights("apply", "--dry-run", "--prune", zone.file({"new": value(**{"5": 1})}))
    assert ended.code == 0
    assert [row[:2] for row in ended.rows] == [["new", "create"], ["goes", "delete"], ["2 of 2 functions differ"]]
    assert ended.err == "dry run: nothing was written\n"
    assert zone.get("new") is None
    assert zone.get("goes") is not None


def test_apply_of_many_functions_says_that_they_do_not_go_together(zone: Zone) -> None:
    functions = {f"f{number:03}": value(**{"5": 1}) for number in range(129)}
    ended = zone.weights("apply", zone.file(functions))
    assert ended.code == 0
    assert ended.err.startswith("129 changes go in 2 transactions")
    assert len(zone.weights("list", "--json").json["functions"]) == 129
    again = zone.weights("apply", zone.file(functions), "--json")
    assert again.err == ""
    assert again.json["transactions"] == 0


def test_diff_tells_by_its_exit_code_whether_anything_differs(zone: Zone) -> None:
    zone.put("a", value(**{"5": 1}))
    zone.put("b", value(**{"5": 1}))
    path = zone.file({"a": value(**{"5": 1})})
    ended = zone.weights("diff", path)
    assert (ended.code, ended.out) == (0, "0 of 1 functions differ\n")
    pruned = zone.weights("diff", "--prune", path)
    assert pruned.code == 5
    assert pruned.rows == [
        ["b", "delete", "10.42.0.5:8080", "1 -> none", "100.0 % -> none"],
        ["1 of 2 functions differ"],
    ]
    changed = zone.weights("diff", zone.file({"a": value(**{"5": 1, "6": 3})}), "--json")
    assert changed.code == 5
    (change,) = changed.json["changes"]
    assert (change["action"], change["revision"]) == ("update", None)
    assert zone.members("a") == value(**{"5": 1})

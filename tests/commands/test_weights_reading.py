"""get, list, history and simulate, against a real etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands.zones import value

if TYPE_CHECKING:
    from commands.zones import Zone

BAD = '{"ips": ["10.42.0.5:8080"], "weights": [-1]}'


def test_get_shows_each_target_with_its_share(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 3, "6": 1}) | {"queue": 5, "timeout": 0.5})
    ended = zone.weights("get", "hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "TARGET          WEIGHT   SHARE",
        "10.42.0.5:8080       3  75.0 %",
        "10.42.0.6:8080       1  25.0 %",
        "limits: queue=5 timeout=0.5",
    ]


def test_get_shows_targets_as_golb_understands_them(zone: Zone) -> None:
    zone.put("hello", {"ips": ["http://10.42.0.5/", "[fd00::5]:8080", "10.42.0.5:80"], "weights": [1, 2, 1]})
    assert zone.weights("get", "hello").rows == [["10.42.0.5:80", "2", "50.0 %"], ["[fd00::5]:8080", "2", "50.0 %"]]


def test_get_as_json_has_all_that_is_known(zone: Zone) -> None:
    made = zone.put("hello", value(**{"5": 1}))
    put = zone.put("hello", text := '{"ips": ["10.42.0.5"], "weights": [33.30], "by": "me"}')
    ended = zone.weights("get", "hello", "--json")
    assert ended.json == {
        "zone": zone.name,
        "function": "hello",
        "key": zone.key("hello"),
        "revision": put,
        "created_revision": made,
        "version": 2,
        "targets": [{"target": "10.42.0.5:80", "weight": 33.3, "share": 1.0}],
        "limits": {"max_inflight": None, "queue": None, "timeout": None},
        "refused": None,
        "value": text,
    }


def test_get_of_a_function_that_is_not_there_fails(zone: Zone) -> None:
    ended = zone.weights("get", "nope")
    assert (ended.code, ended.out, ended.err) == (1, "", f"golb weights: zone {zone.name} has no function nope\n")
    assert zone.weights("get", "nope", "--json").json["error"]["kind"] == "not_found"


def test_get_of_a_value_that_golb_refuses_says_why(zone: Zone) -> None:
    revision = zone.put("hello", BAD)
    ended = zone.weights("get", "hello")
    assert ended.code == 1
    assert f"golb refuses the value of hello, revision {revision}: weights[0] is -1" in ended.out
    assert zone.weights("get", "hello", "--json").json["refused"]["fault"] == "weight"


def test_get_says_that_a_function_without_weight_answers_503(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 0}))
    ended = zone.weights("get", "hello")
    assert ended.code == 0
    assert ended.rows == [["10.42.0.5:8080", "0", "0.0 %"]]
    assert "503" in ended.err


def test_a_name_that_no_function_can_have_is_refused(zone: Zone) -> None:
    ended = zone.weights("get", "a/b")
    assert ended.code == 1
    assert "neither slashes" in ended.err


def test_list_shows_each_target_of_each_function_and_what_is_refused(zone: Zone) -> None:
    first = zone.put("a", value(**{"5": 3, "6": 1}))
    second = zone.put("b", BAD)
    third = zone.put("c", {"ips": [], "weights": []})
    fourth = zone.put("d/e", value(**{"5": 1}))
    ended = zone.weights("list")
    assert (ended.code, ended.err) == (0, "")
    assert ended.rows == [
        ["a", "10.42.0.5:8080", "3", "75.0 %", str(first)],
        ["a", "10.42.0.6:8080", "1", "25.0 %", str(first)],
        ["b", "refused: weights[0] is -1; a weight is finite and not negative", str(second)],
        ["c", "no target", str(third)],
        [
            zone.key("d/e"),
            f"refused: the key is not golb/function/{zone.name}/<function>, four segments",
            str(fourth),
        ],
    ]
    listed = zone.weights("list", "--json").json
    assert [each["function"] for each in listed["functions"]] == ["a", "b", "c", None]
    assert listed["revision"] >= fourth


def test_list_of_an_empty_zone_says_so_on_stderr(zone: Zone) -> None:
    ended = zone.weights("list")
    assert (ended.code, ended.rows, ended.err) == (0, [], f"zone {zone.name} has no function\n")


def test_neither_a_key_nor_a_value_speaks_to_the_terminal(zone: Zone) -> None:
    zone.put("\x1b[31mred", value(**{"5": 1}))
    zone.put("[bold]markup[/]", '{"ips": ["\x1b[2J"], "weights": [1]}')
    ended = zone.weights("list")
    assert "\x1b" not in ended.out
    assert "\\x1b[31mred" in ended.out
    assert "[bold]markup[/]" in ended.out


def test_history_goes_back_to_where_the_key_was_made(zone: Zone) -> None:
    revisions = [zone.put("hello", value(**{"5": 3, "6": weight})) for weight in (1, 2, 2)]
    ended = zone.weights("history", "hello")
    assert ended.code == 0
    *rows, end = ended.rows
    assert rows == [
        [str(revisions[2]), "3", "equal weights", "10.42.0.5:8080=3 (60.0 %), 10.42.0.6:8080=2 (40.0 %)"],
        [str(revisions[1]), "2", "10.42.0.6:8080 1 -> 2", "10.42.0.5:8080=3 (60.0 %), 10.42.0.6:8080=2 (40.0 %)"],
        [str(revisions[0]), "1", "made", "10.42.0.5:8080=3 (75.0 %), 10.42.0.6:8080=1 (25.0 %)"],
    ]
    assert end == [f"the key was made at revision {revisions[0]}"]


def test_history_shows_no_more_than_is_asked_for(zone: Zone) -> None:
    revisions = [zone.put("hello", value(**{"5": weight})) for weight in (1, 2, 3)]
    shown = zone.weights("history", "hello", "-n", "2", "--json").json
    assert [entry["revision"] for entry in shown["entries"]] == [revisions[2], revisions[1]]
    assert shown["ends"] == {"because": "limit", "revision": revisions[1]}


def test_history_shows_a_deleted_function_from_a_revision_at_which_it_was_there(zone: Zone) -> None:
    revision = zone.put("hello", value(**{"5": 1}))
    zone.delete("hello")
    ended = zone.weights("history", "hello")
    assert ended.code == 1
    assert "--at" in ended.err
    shown = zone.weights("history", "hello", "--at", str(revision), "--json").json
    assert [entry["revision"] for entry in shown["entries"]] == [revision]


def test_history_of_a_future_revision_is_refused_by_etcd(zone: Zone) -> None:
    ended = zone.weights("history", "hello", "--at", str(2**60))
    assert ended.code == 4
    assert "future revision" in ended.err


def test_simulate_shows_the_first_picks_of_weights_that_are_typed_without_etcd(zone: Zone) -> None:
    zone.environ.clear()
    typed = ["--weights", "a=5", "--weights", "b=1", "--weights", "c=1", "--weights", "d=0"]
    shown = zone.weights("simulate", *typed, "-n", "14", "--json").json
    assert [(target["target"], target["picks"]) for target in shown["targets"]] == [
        ("a:80", 10),
        ("b:80", 2),
        ("c:80", 2),
        ("d:80", 0),
    ]
    assert len(shown["picks"]) == 14
    assert zone.weights("simulate", *typed, "-n", "14", "--json").json == shown
    seeds = [zone.weights("simulate", *typed, "--seed", str(seed), "--json").json["picks"] for seed in range(5)]
    assert len({tuple(picks) for picks in seeds}) > 1


def test_simulate_of_a_function_shows_picks_beside_shares(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 3, "6": 1}))
    ended = zone.weights("simulate", "hello", "-n", "4")
    assert ended.code == 0
    assert ended.rows[:2] == [
        ["10.42.0.5:8080", "3", "75.0 %", "3", "75.0 %"],
        ["10.42.0.6:8080", "1", "25.0 %", "1", "25.0 %"],
    ]
    assert sorted(row[0].split()[1] for row in ended.rows[3:]) == ["10.42.0.5:8080"] * 3 + ["10.42.0.6:8080"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["simulate"], 2, "name a function"),
        (["simulate", "hello", "--weights", "a=1"], 2, "one of both"),
        (["simulate", "--weights", "a=0"], 1, "503"),
        (["simulate", "--weights", "a=-1"], 1, "not negative"),
        (["simulate", "--weights", "a"], 2, "TARGET=WEIGHT"),
        (["simulate", "--weights", "a=1", "-n", "0"], 2, "-n"),
    ],
)
def test_simulate_says_what_it_cannot_do(zone: Zone, arguments: list[str], code: int, says: str) -> None:
    ended = zone.weights(*arguments)
    assert ended.code == code
    assert says in ended.err


def test_history_ends_where_etcd_has_compacted(zone: Zone) -> None:
    revisions = [zone.put("hello", value(**{"5": weight})) for weight in (1, 2, 3)]
    zone.compact(revisions[1])
    ended = zone.weights("history", "hello")
    assert [row[0] for row in ended.rows[:-1]] == [str(revisions[2]), str(revisions[1])]
    assert ended.rows[-1] == [f"etcd has compacted what was before revision {revisions[1]}"]
    assert zone.weights("history", "hello", "--json").json["ends"]["because"] == "compacted"
    gone = zone.weights("history", "hello", "--at", str(revisions[0]))
    assert gone.code == 1
    assert "compacted" in gone.err

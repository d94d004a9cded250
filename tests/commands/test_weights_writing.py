"""set, drain and delete, against a real etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands.zones import value

if TYPE_CHECKING:
    from commands.zones import Zone


def test_set_makes_a_function_as_the_writers_do(zone: Zone) -> None:
    ended = zone.weights("set", "hello", "10.42.0.5:8080=3", "10.42.0.6:8080=33.30")
    assert ended.code == 0
    assert zone.get("hello") == '{"ips": ["10.42.0.5:8080", "10.42.0.6:8080"], "weights": [3, 33.30]}'
    assert ended.rows[0] == ["hello", "create", "10.42.0.5:8080", "none -> 3", "none -> 8.3 %"]


def test_set_leaves_alone_what_it_does_not_name(zone: Zone) -> None:
    zone.put("hello", '{"by": "opt", "ips": ["10.42.0.5:8080", "10.42.0.6"], "weights": [66.70, 33.30], "queue": 5}')
    ended = zone.weights("set", "hello", "10.42.0.6:80=11.1", "10.42.0.7:8080=1", "--max-inflight", "9")
    assert ended.code == 0
    assert zone.get("hello") == (
        '{"by": "opt", "ips": ["10.42.0.5:8080", "10.42.0.6", "10.42.0.7:8080"], "weights": [66.70, 11.1, 1], '
        '"queue": 5, "max_inflight": 9}'
    )
    assert ended.rows == [
        ["hello", "update", "10.42.0.5:8080", "66.7", "66.7 % -> 84.6 %"],
        ["hello", "update", "10.42.0.6:80", "33.3 -> 11.1", "33.3 % -> 14.1 %"],
        ["hello", "update", "10.42.0.7:8080", "none -> 1", "none -> 1.3 %"],
        ["hello", "update", "limits: queue=5 -> max_inflight=9 queue=5"],
    ]


def test_set_with_replace_takes_out_what_it_does_not_name(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 3, "6": 1}) | {"by": "opt"})
    assert zone.weights("set", "hello", "10.42.0.6:8080=2", "--replace").code == 0
    assert zone.members("hello") == value(**{"6": 2}) | {"by": "opt"}


def test_set_sets_limits_and_gives_them_back_to_the_configuration(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 3}))
    limits = ["--max-inflight", "9", "--queue", "0", "--timeout", "0.5"]
    assert zone.weights("set", "hello", *limits).code == 0
    assert zone.members("hello") == value(**{"5": 3}) | {"max_inflight": 9, "queue": 0, "timeout": 0.5}
    assert zone.weights("set", "hello", "--max-inflight", "default", "--queue", "default").code == 0
    assert zone.members("hello") == value(**{"5": 3}) | {"timeout": 0.5}


def test_limits_alone_make_no_function(zone: Zone) -> None:
    ended = zone.weights("set", "hello", "--queue", "5")
    assert ended.code == 1
    assert "has no function hello" in ended.err
    assert zone.get("hello") is None


def test_set_to_what_is_there_writes_nothing(zone: Zone) -> None:
    revision = zone.put("hello", value(**{"5": 3}))
    (change,) = zone.weights("set", "hello", "10.42.0.5:8080=3", "--json").json["changes"]
    assert (change["action"], change["revision"]) == ("unchanged", None)
    assert zone.weights("get", "hello", "--json").json["revision"] == revision


def test_set_as_json_has_what_was_and_what_is(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 3}))
    changed = zone.weights("set", "hello", "10.42.0.6:8080=1", "--json").json
    revision = zone.weights("get", "hello", "--json").json["revision"]
    assert changed == {
        "zone": zone.name,
        "transactions": 1,
        "changes": [
            {
                "function": "hello",
                "action": "update",
                "revision": revision,
                "before": [{"target": "10.42.0.5:8080", "weight": 3, "share": 1.0}],
                "after": [
                    {"target": "10.42.0.5:8080", "weight": 3, "share": 0.75},
                    {"target": "10.42.0.6:8080", "weight": 1, "share": 0.25},
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["10.42.0.5:8080=-1"], "weights[0] is -1; a weight is finite and not negative"),
        (["10.42.0.5:8080=1e999"], "weights[0] is inf; a weight is finite and not negative"),
        (["169.254.169.254=1"], "ips[1] is '169.254.169.254'; 169.254.169.254 is link-local"),
        (["--queue", "-1"], "queue is -1"),
        (["--queue", "1.5"], "queue is 1.5"),
        (["--timeout", "3601"], "timeout is 3601"),
    ],
)
def test_what_golb_would_refuse_is_not_written(zone: Zone, arguments: list[str], reason: str) -> None:
    zone.put("hello", before := '{"ips": ["10.42.0.5:8080"], "weights": [1]}')
    ended = zone.weights("set", "hello", *arguments)
    assert ended.code == 1
    assert f"golb would refuse hello: {reason}" in ended.err
    assert ended.err.endswith("nothing was written\n")
    assert zone.get("hello") == before


def test_the_networks_of_targets_are_those_of_the_variable(zone: Zone) -> None:
    allowed = {"target_networks": "169.254.0.0/16"}
    assert zone.weights("set", "hello", "169.254.1.1=1", **allowed).code == 0
    ended = zone.weights("set", "hello", "10.42.0.5=1", **allowed)
    assert ended.code == 1
    assert "eb_go_lb_target_networks" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to set"),
        (["10.42.0.5:8080"], "TARGET=WEIGHT"),
        (["10.42.0.5:8080=x"], "no number"),
        (["https://10.42.0.5=1"], "plain http"),
        (["10.42.0.5=1", "10.42.0.5:80=2"], "twice"),
        (["--queue", "many"], "no number such as 3 or 33.3, nor default"),
    ],
)
def test_set_says_what_is_wrong_with_what_was_typed(zone: Zone, arguments: list[str], says: str) -> None:
    ended = zone.weights("set", "hello", *arguments)
    assert ended.code == 2
    assert says in ended.err
    assert zone.get("hello") is None


def test_a_bad_value_can_be_mended(zone: Zone) -> None:
    zone.put("hello", value(**{"5": -1, "6": 1}))
    assert zone.weights("set", "hello", "10.42.0.5:8080=0").code == 0
    assert zone.members("hello") == value(**{"5": 0, "6": 1})


def test_a_value_that_cannot_be_mended_is_made_anew_only_if_that_is_asked_for(zone: Zone) -> None:
    zone.put("hello", "no JSON")
    ended = zone.weights("set", "hello", "10.42.0.5:8080=1")
    assert ended.code == 1
    assert "not JSON" in ended.err
    assert "--replace" in ended.err
    assert zone.weights("set", "hello", "10.42.0.5:8080=1", "--replace").code == 0
    assert zone.members("hello") == value(**{"5": 1})


def test_drain_takes_a_target_out_of_every_function_of_the_zone(zone: Zone) -> None:
    zone.put("a", '{"ips": ["10.42.0.5:8080", "10.42.0.6:8080"], "weights": [66.70, 33.30], "by": "opt"}')
    zone.put("b", value(**{"6": 1}))
    zone.put("c", value(**{"5": 1}))
    zone.put("d", value(**{"5": 0, "6": 1}))
    ended = zone.weights("drain", "http://10.42.0.5:8080")
    assert ended.code == 0
    assert zone.get("a") == '{"ips": ["10.42.0.5:8080", "10.42.0.6:8080"], "weights": [0, 33.30], "by": "opt"}'
    assert zone.members("b") == value(**{"6": 1})
    assert zone.members("c") == value(**{"5": 0})
    assert [row[:2] for row in ended.rows] == [
        ["a", "update"],
        ["a", "update"],
        ["c", "update"],
        ["d", "unchanged"],
        ["d", "unchanged"],
    ]
    assert ended.err == "c has no target with a positive weight: golb answers 503\n"


def test_drain_of_many_functions_is_one_transaction_for_each_128(zone: Zone) -> None:
    assert (
        zone.weights("apply", zone.file({f"f{number:03}": value(**{"5": 1, "6": 1}) for number in range(130)})).code
        == 0
    )
    drained = zone.weights("drain", "10.42.0.5:8080", "--json").json
    assert drained["transactions"] == 2
    revisions = [change["revision"] for change in drained["changes"]]
    assert revisions == [revisions[0]] * 128 + [revisions[0] + 1] * 2


def test_drain_of_a_target_that_no_function_has_names_the_ports_of_that_host(zone: Zone) -> None:
    zone.put("a", value(**{"5": 1}))
    ended = zone.weights("drain", "10.42.0.5")
    assert ended.code == 1
    assert "no function of the zone has the target 10.42.0.5:80; they have 10.42.0.5:8080" in ended.err


def test_drain_says_which_functions_it_could_not_change(zone: Zone) -> None:
    zone.put("a", "no JSON")
    zone.put("b", value(**{"5": 1, "6": -1}))
    zone.put("c", value(**{"5": 1, "6": 1}))
    ended = zone.weights("drain", "10.42.0.5:8080")
    assert ended.code == 1
    assert zone.members("c") == value(**{"5": 0, "6": 1})
    assert zone.members("b") == value(**{"5": 1, "6": -1})
    assert [line.split(":")[0] for line in ended.err.splitlines()] == ["not drained", "not drained"]


def test_delete_deletes_all_or_none(zone: Zone) -> None:
    zone.put("a", value(**{"5": 1}))
    zone.put("b", "no JSON")
    ended = zone.weights("delete", "a", "nope", "b")
    assert (ended.code, ended.err) == (1, f"golb weights: zone {zone.name} has no function nope; nothing was deleted\n")
    assert zone.get("a") is not None
    deleted = zone.weights("delete", "a", "b", "a", "--json").json["changes"]
    assert [(change["function"], change["action"], change["after"]) for change in deleted] == [
        ("a", "delete", None),
        ("b", "delete", None),
    ]
    assert deleted[0]["revision"] == deleted[1]["revision"]
    assert zone.get("a") is zone.get("b") is None

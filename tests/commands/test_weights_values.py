"""Changes to a value leave alone what they do not name."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.commands.values import Target, Value, decode, encode, is_same, parse_number
from golb.errors import WeightsError
from golb.networks import ANYWHERE
from golb.weights import parse_weights

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def changed(text: str, *puts: tuple[str, float]) -> str:
    value = Value.parse(text)
    for target, weight in puts:
        value.put(Target.parse(target), weight)
    return value.to_bytes().decode()


@settings(derandomize=True, deadline=None, max_examples=50)
@given(JSON)
def test_what_is_read_is_written_as_pythons_writers_do(content: Any) -> None:
    text = json.dumps(content)
    assert encode(decode(text)) == text


@pytest.mark.parametrize(
    "number", ["33.30", "100.0", "1e2", "1E+2", "0.1000000000000000055", "-0.0", "12345678901234567890"]
)
def test_a_number_is_written_as_it_was(number: str) -> None:
    text = f'{{"ips": ["10.42.0.5:8080", "10.42.0.6:8080"], "weights": [{number}, 1]}}'
    assert changed(text, ("10.42.0.6:8080", 2)) == text.replace(", 1]", ", 2]")


def test_other_members_and_the_order_of_all_stay() -> None:
    text = '{"by": {"name": "opt", "gain": 1.50}, "weights": [3], "max_inflight": 7, "ips": ["10.42.0.5:8080"]}'
    assert changed(text, ("10.42.0.5:8080", 4)) == text.replace("[3]", "[4]")


def test_a_target_keeps_its_spelling_however_it_is_named() -> None:
    text = '{"ips": ["http://10.42.0.5:80/", "FD00::5"], "weights": [3, 1]}'
    assert changed(text, ("10.42.0.5", 4), ("[fd00::5]:80", 2)) == text.replace("[3, 1]", "[4, 2]")


def test_a_new_target_comes_last() -> None:
    assert json.loads(changed('{"ips": ["a"], "weights": [3]}', ("b:9000", 1))) == {
        "ips": ["a", "b:9000"],
        "weights": [3, 1],
    }


def test_a_target_that_stands_twice_stands_once_when_its_weight_is_set() -> None:
    text = '{"ips": ["a", "b", "a:80"], "weights": [3, 1, 2]}'
    assert json.loads(changed(text, ("a", 4))) == {"ips": ["a", "b"], "weights": [4, 1]}


def test_draining_sets_every_place_of_a_target_to_0_and_leaves_a_0_as_it_was_written() -> None:
    value = Value.parse('{"ips": ["a", "b", "a:80", "a"], "weights": [3, 1, 0.0, true]}')
    value.drain(Target.parse("a").endpoint)
    assert value.to_bytes() == b'{"ips": ["a", "b", "a:80", "a"], "weights": [0, 1, 0.0, 0]}'


def test_keeping_only_some_targets_removes_the_others_with_their_weights() -> None:
    value = Value.parse('{"ips": ["a", 7, "b", "a:80"], "weights": [3, 0, 1, 2]}')
    value.keep_only([Target.parse("a").endpoint])
    assert value.to_bytes() == b'{"ips": ["a", "a:80"], "weights": [3, 2]}'


def test_limits_are_set_changed_and_taken_out() -> None:
    value = Value.make()
    value.limit("queue", 5)
    value.limit("timeout", parse_number("0.50"))
    assert value.to_bytes() == b'{"ips": [], "weights": [], "queue": 5, "timeout": 0.50}'
    value.limit("queue", None)
    value.limit("max_inflight", None)
    assert value.to_bytes() == b'{"ips": [], "weights": [], "timeout": 0.50}'


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"ips": ["a"], "weights": []}', '{"ips": {}, "weights": {}}', "[" * 100_000, b"\xff"],
)
def test_a_value_whose_weights_cannot_be_told_apart_cannot_be_changed(text: str | bytes) -> None:
    with pytest.raises(WeightsError):
        Value.parse(text)


def test_what_python_can_read_but_not_write_so_deeply_is_refused() -> None:
    depth = 600 if sys.version_info < (3, 12) else 1200  # from 3.12 on a comprehension is no call
    deep = Value.parse('{"ips": [], "weights": [], "deep": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(WeightsError, match="deeply"):
        deep.to_bytes()


def test_golb_is_asked_whether_it_takes_the_outcome() -> None:
    value = Value.make()
    value.put(Target.parse("a"), 3)
    written, weights = value.checked(ANYWHERE)
    assert parse_weights(written) == weights
    value.put(Target.parse("b"), -1)
    with pytest.raises(WeightsError, match="not negative"):
        value.checked(ANYWHERE)


@pytest.mark.parametrize("text", ["3", "33.30", "1e3", "-1", "0"])
def test_a_number_is_what_json_takes_for_one(text: str) -> None:
    assert encode(parse_number(text)) == text


@pytest.mark.parametrize("text", ["", ".5", "3.", "0x3", "true", "null", '"3"', "1_000", "3 4"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match="no number"):
        parse_number(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1}', b'{"a":1}\n', True),
        (b'{"a": 1.0}', b'{"a": 1}', False),
        (b'{"a": true}', b'{"a": 1}', False),
        (b"not JSON", b"not JSON", True),
        (b"not JSON", b"nor this", False),
    ],
)
def test_values_are_the_same_if_they_differ_in_white_space_only(one: bytes, other: bytes, *, same: bool) -> None:
    assert is_same(one, other) is same

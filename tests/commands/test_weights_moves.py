"""The steps of a gradual move."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.commands.moves import Move
from golb.commands.values import WrittenFloat

if TYPE_CHECKING:
    from golb.commands.values import Number

WHOLE = st.integers(1, 10**12)
DECIMAL = st.decimals("0.0001", "1e9", places=4).map(float)


def steps(move: Move) -> list[tuple[Number, Number]]:
    return [move.at(step) for step in range(1, move.steps + 1)]


def test_weight_moves_in_equal_steps() -> None:
    assert steps(Move.plan(8, 2, Fraction(1, 2), 4)) == [(7, 3), (6, 4), (5, 5), (4, 6)]


def test_steps_of_decimals_are_decimals() -> None:
    assert steps(Move.plan(33.3, 0, Fraction(1), 3)) == [(22.2, 11.1), (11.1, 22.2), (0, 33.3)]


def test_a_step_that_is_no_decimal_has_six_digits_and_the_last_one_is_exact() -> None:
    assert steps(Move.plan(1, 0, Fraction(1), 3)) == [(0.66667, 0.33333), (0.33333, 0.66667), (0, 1)]


def test_large_whole_weights_stay_whole() -> None:
    assert steps(Move.plan(1000, 1, Fraction(1), 3)) == [(667, 334), (333, 668), (0, 1001)]


def test_large_whole_weights_are_whole_at_the_end_too() -> None:
    assert steps(Move.plan(1001, 0, Fraction(1, 4), 2)) == [(876, 125), (751, 250)]


def test_the_rest_of_a_move_that_was_stopped_ends_where_the_move_would_have() -> None:
    move = Move.plan(100, 0, Fraction(1, 2), 5)
    source, sink = move.at(2)
    assert Move.plan(source, sink, move.rest(2), 1).at(1) == move.at(5) == (50, 50)
    assert move.rest(5) == 0


def test_a_float_is_taken_as_it_was_written() -> None:
    assert Move.plan(WrittenFloat("33.30"), 0, Fraction(1, 3), 1).at(1) == (22.2, 11.1)


def test_an_endless_exponent_costs_nothing() -> None:
    assert Move.plan(1, WrittenFloat("1e-999999999"), Fraction(1), 1).at(1) == (0, 1)


@pytest.mark.parametrize("tiny", [5e-324, 1e-300])
def test_the_smallest_weights_move_too(tiny: float) -> None:
    assert Move.plan(tiny, 0, Fraction(1), 2).at(2) == (0, tiny)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(WHOLE | DECIMAL, st.just(0) | WHOLE | DECIMAL, st.integers(1, 100), st.integers(1, 50))
def test_the_sum_stays_and_each_step_goes_one_way(source: Number, sink: Number, percent: int, count: int) -> None:
    move = Move.plan(source, sink, Fraction(percent, 100), count)
    taken = [(source, sink), *steps(move)]
    for (before_source, before_sink), (after_source, after_sink) in pairwise(taken):
        assert 0 <= after_source <= before_source
        assert after_sink >= before_sink
    total = Fraction(str(source)) + Fraction(str(sink))
    for one, other in taken:
        assert float(Fraction(str(one)) + Fraction(str(other))) == pytest.approx(float(total), rel=1e-12)
    is_whole = isinstance(source, int) and isinstance(sink, int) and source >= 1000
    assert not is_whole or all(isinstance(weight, int) for pair in taken for weight in pair)
    nearest = 0.5 if is_whole else 1e-12
    assert float(taken[-1][0]) == pytest.approx(float(source) * (100 - percent) / 100, rel=1e-12, abs=nearest)

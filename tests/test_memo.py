"""A bounded memory in front of a function."""

from __future__ import annotations

import pytest

from golb.memo import Memo


def test_what_was_worked_out_once_is_not_worked_out_again() -> None:
    worked_out: list[int] = []

    def double(number: int) -> int:
        worked_out.append(number)
        return 2 * number

    doubles = Memo(double, lambda number: number < 100)
    assert [doubles[3], doubles[3], doubles[4]] == [6, 6, 8]
    assert worked_out == [3, 4]
    assert [doubles[100], doubles[100]] == [200, 200]  # not worth it
    assert worked_out == [3, 4, 100, 100]


def test_what_raises_is_worked_out_each_time() -> None:
    def refuse(number: int) -> int:
        raise ValueError(number)

    refusals = Memo(refuse, lambda _: True)
    for _ in range(2):
        with pytest.raises(ValueError, match="3"):
            refusals[3]
    assert not refusals


def test_however_many_come_a_bounded_number_is_remembered_and_the_newest_is_among_them() -> None:
    numbers: Memo[int, int] = Memo(lambda number: -number, lambda _: True)
    most = 0
    for number in range(10_000):
        assert numbers[number] == -number
        assert number in numbers
        most = max(most, len(numbers))
    assert most == 2048

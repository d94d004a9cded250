"""How many lines a busy place may write."""

from __future__ import annotations

from golb.line_budget import LineBudget


def test_lines_beyond_the_budget_of_a_second_are_counted_and_told_with_the_next_line() -> None:
    now_s = 5.0
    told: list[int] = []
    lines = LineBudget(lambda: now_s, told.append, lines_a_second=3)
    assert [lines.take() for _ in range(5)] == [True, True, True, False, False]
    now_s = 5.99
    assert not lines.take()
    assert told == []
    assert not lines.take(is_missed=False)
    now_s = 6.0
    assert lines.take()
    assert told == [3]
    now_s = 9.0
    assert lines.take()
    assert told == [3]


def test_a_quiet_place_writes_every_line() -> None:
    now_s = 0.0
    told: list[int] = []
    lines = LineBudget(lambda: now_s, told.append, lines_a_second=1)
    for _ in range(5):
        assert lines.take()
        now_s += 1
    assert told == []

"""What `make harm SCENARIO=restarts` makes of what clients saw: each broken promise is found, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from attrs import evolve

from harm.restarts import Options
from harm.visits import (
    VISIBLE_S,
    Kill,
    Outcome,
    Visit,
    all_seen_to_fail,
    longest_pause_s,
    none_delivered_twice,
    none_failed,
    none_refused,
    pace,
    reasons,
)

KILL = Kill(pid=1, client_ports=frozenset({5001, 5002}), began=10.0, ended=10.01, replaced_s=0.5)
IN_HANDS = Visit(number=1, method="GET", client_port=5001, began=9.99, ended=10.012, outcome=Outcome.CUT)
ANSWERED = Visit(number=2, method="POST", client_port=5003, began=9.9, ended=9.92, outcome=Outcome.ANSWERED)


def test_calls_that_are_answered_break_no_promise() -> None:
    verdicts = [none_refused([ANSWERED]), none_failed([ANSWERED], []), all_seen_to_fail([ANSWERED])]
    assert all(verdict.kept for verdict in verdicts)


def test_no_calls_at_all_break_every_promise() -> None:
    assert not any(verdict.kept for verdict in (none_refused([]), none_failed([], [KILL]), all_seen_to_fail([])))


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.CUT])
def test_a_call_in_the_hands_of_a_killed_worker_may_break(outcome: Outcome) -> None:
    verdict = none_failed([ANSWERED, evolve(IN_HANDS, outcome=outcome)], [KILL])
    assert verdict.kept
    assert verdict.seen == "0 of 2 failed; 1 died with their workers, which had 1 in their hands"


@pytest.mark.parametrize(
    "failed",
    [
        evolve(IN_HANDS, client_port=5003),  # another worker had it
        evolve(IN_HANDS, began=10.02),  # begun when the worker was gone
        evolve(IN_HANDS, ended=9.995),  # had failed before
        evolve(IN_HANDS, ended=10.01 + VISIBLE_S + 0.1),  # its client was not told
        evolve(IN_HANDS, outcome=Outcome.DENIED),
        evolve(IN_HANDS, outcome=Outcome.LATE),
        evolve(IN_HANDS, outcome=Outcome.WRONG),
        evolve(IN_HANDS, outcome=Outcome.REFUSED, client_port=0),
    ],
)
def test_any_other_failure_is_golbs(failed: Visit) -> None:
    assert not none_failed([ANSWERED, failed], [KILL]).kept
    assert len(reasons([ANSWERED, failed], [KILL])) == 1
    assert none_failed([ANSWERED, IN_HANDS], [KILL]).kept


def test_without_a_kill_nothing_may_break() -> None:
    assert not none_failed([ANSWERED, IN_HANDS], []).kept


def test_a_refused_connection_is_found() -> None:
    assert not none_refused([ANSWERED, evolve(ANSWERED, outcome=Outcome.REFUSED)]).kept


@pytest.mark.parametrize("outcome", [Outcome.WRONG, Outcome.LATE])
def test_who_could_take_a_failure_for_an_answer_or_waits_in_vain_is_found(outcome: Outcome) -> None:
    assert not all_seen_to_fail([ANSWERED, evolve(IN_HANDS, outcome=outcome)]).kept
    assert all_seen_to_fail([ANSWERED, IN_HANDS]).kept


def test_a_post_that_came_twice_is_found() -> None:
    assert none_delivered_twice([1, 3, 5]).kept
    assert not none_delivered_twice([1, 3, 5, 3]).kept


def test_the_longest_pause_lies_between_two_answers() -> None:
    answers = [evolve(ANSWERED, began=end - 0.02, ended=end) for end in (3.0, 1.0, 1.5)]
    assert longest_pause_s(answers) == pytest.approx(1.5)
    assert longest_pause_s([]) == 0.0
    assert "the longest time without any answer was 1500 ms" in pace(answers, 0.02)


def test_a_scale_leaves_one_restart_at_least() -> None:
    small = Options().scaled(0.01)
    assert (small.restarts, small.kills, small.seconds) == (1, 0, 3.0)

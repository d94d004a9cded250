"""The corpus itself: large enough, each case known by its name and its bytes, and each with a reason."""

from __future__ import annotations

from smuggling.case import AnswerCase, RequestCase, token_of
from smuggling.corpus import ANSWERS, REQUESTS

CASES: list[RequestCase | AnswerCase] = [*REQUESTS, *ANSWERS]


def test_there_are_at_least_200_requests_and_60_answers() -> None:
    assert len(REQUESTS) >= 200
    assert len(ANSWERS) >= 60


def test_each_case_has_a_name_and_a_token_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({token_of(case.name) for case in CASES}) == len(CASES)


def test_no_two_requests_and_no_two_answers_are_the_same() -> None:
    assert len({(case.data, case.then, case.ends) for case in REQUESTS}) == len(REQUESTS)
    assert len({(case.data, case.rest, case.later, case.ends, case.request) for case in ANSWERS}) == len(ANSWERS)


def test_each_case_says_why() -> None:
    assert all(case.why for case in CASES)

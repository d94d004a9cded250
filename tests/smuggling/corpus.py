"""All cases, and how a test takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smuggling import (
    answers_connections,
    answers_fields,
    answers_framing,
    answers_heads,
    requests_chunks,
    requests_connection,
    requests_expectations,
    requests_fields,
    requests_forged,
    requests_framing,
    requests_hosts,
    requests_lengths,
    requests_lines,
    requests_pipelines,
    requests_upgrades,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smuggling.case import AnswerCase, RequestCase

REQUESTS: list[RequestCase] = [
    *requests_framing.CASES,
    *requests_lengths.CASES,
    *requests_chunks.CASES,
    *requests_lines.CASES,
    *requests_fields.CASES,
    *requests_hosts.CASES,
    *requests_connection.CASES,
    *requests_upgrades.CASES,
    *requests_expectations.CASES,
    *requests_pipelines.CASES,
    *requests_forged.CASES,
]
ANSWERS: list[AnswerCase] = [
    *answers_framing.CASES,
    *answers_heads.CASES,
    *answers_fields.CASES,
    *answers_connections.CASES,
]


# Not a hang, and no harm done to the test itself.
_FAILED = pytest.RaisesGroup(AssertionError)


def params(cases: Iterable[RequestCase | AnswerCase]) -> list[object]:
    """Return parameters for pytest: a case with a defect fails, and must be told so when it no longer does."""
    return [
        pytest.param(
            case, id=case.name, marks=[pytest.mark.xfail(reason=case.defect, raises=_FAILED)] if case.defect else []
        )
        for case in cases
    ]

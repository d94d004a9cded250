"""golb through etcd's faults: some of them in every test run, all of them with `pytest -m slow`, more by `make chaos`."""

from __future__ import annotations

import pytest

from chaos.faults import FAULTS
from chaos.run import Options, Report, run_chaos

# One of each sort: a member dies, one hangs, the way there dies in silence, the store goes back, golb itself starts.
_SHORT = (
    "connections forgotten",
    "kill -9 of the leader",
    "half-open to all members",
    "snapshot restored",
    "golb restarted while etcd is away",
)


def _explain(report: Report, timeline: list[str]) -> str:
    return "\n".join([*timeline, report.table(), *(f"{item.promise}: {item.evidence}" for item in report.broken)])


async def test_golb_keeps_its_promises_through_faults_of_each_sort() -> None:
    timeline: list[str] = []
    report = await run_chaos(Options(seconds=60, seed=4, faults=_SHORT, rounds=1), timeline.append)
    assert not report.broken, _explain(report, timeline)
    assert set(report.by_fault) == set(_SHORT)
    assert report.requests > 1000


@pytest.mark.slow
async def test_golb_keeps_its_promises_for_two_minutes() -> None:
    timeline: list[str] = []
    report = await run_chaos(Options(seconds=120, seed=44), timeline.append)
    assert not report.broken, _explain(report, timeline)
    assert len(report.by_fault) > len(FAULTS) / 2

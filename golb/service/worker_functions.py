"""What all workers together serve, for the admin port: they are asked, and what they tell is summed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import trio

from golb.history import WeightHistory
from golb.sums import Remembered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence

    from golb.history import Change
    from golb.weights import WeightUpdate
    from golb.workers.worker import Worker

Report = dict[str, Any]

_FUNCTIONS_AT_ONCE = 100


class WorkerFunctions:
    """The functions as the parent knows them, with the counts of its workers.

    Args:
        workers: by their indices.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._history = WeightHistory()
        self._sums = Remembered()

    async def follow(self, batches: AsyncIterable[Mapping[str, WeightUpdate]]) -> None:
        """Learn of weights as they come, by function; ends when they do."""
        async for batch in batches:
            for place, update in enumerate(batch.values()):
                self._history.add(update, time.time())
                if update.weights is None:
                    self._sums.drop(update.function)
                if place % _FUNCTIONS_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()

    def forget(self, worker: int) -> None:
        """Take note that the process of a worker has ended: its counts stay, and another one's begin at 0."""
        self._sums.forget(worker)

    # What the admin port asks: golb.admin.sources.Functions

    def names(self) -> list[str]:
        return self._history.functions()

    async def reports(self, names: Sequence[str], /, worker: int | None = None) -> AsyncGenerator[Report, None]:
        told: dict[str, dict[int, Report]] = {name: {} for name in names}
        for index, answers in (await self._ask("reports", worker, names=list(names))).items():
            for report in _assemble(answers):
                told[report["function"]][index] = report
        for name, by_worker in told.items():
            if not by_worker or self._history.last(name) is None:
                continue
            yield self._sums.sum_reports(by_worker) if worker is None else by_worker[worker]

    async def totals(self, worker: int | None = None) -> Report:
        totals = {index: answers[0]["totals"] for index, answers in (await self._ask("totals", worker)).items()}
        return self._sums.sum_totals(totals) if worker is None else totals.get(worker, {})

    def changes(self, function: str, /) -> Sequence[Change]:
        return self._history.of(function)

    # golb.admin.sources.Sources

    async def connections(self) -> dict[str, int]:
        """Tell of the clients of all workers."""
        answers = await self._ask("totals", None)
        return self._sums.sum_connections({index: told[0]["connections"] for index, told in answers.items()})

    async def workers(self) -> list[Report]:
        """Tell of each worker."""
        answers = await self._ask("totals", None)
        return [
            {
                "worker": worker.index,
                "pid": worker.pid,
                "state": worker.state,
                "since_s": worker.started_s,
                "replaced": worker.replaced,
                **answers.get(worker.index, [_NOTHING])[0],
            }
            for worker in self._workers
        ]

    async def _ask(self, what: str, worker: int | None, **details: Any) -> dict[int, list[Report]]:
        """Ask one worker, or all at once; return the answers of those that have any."""
        answers: dict[Worker, list[Report]] = {}
        questions = {asked: asked.questions for asked in self._workers}

        async def ask(asked: Worker) -> None:
            if asked.questions is not None and (told := await asked.questions.ask(what, **details)):
                answers[asked] = told

        async with trio.open_nursery() as nursery:
            for asked in self._workers if worker is None else self._workers[worker : worker + 1]:
                nursery.start_soon(ask, asked)
        # What a process has told that has ended meanwhile stands in the sums already, or never will.
        return {
            asked.index: answers[asked]
            for asked in self._workers
            if asked in answers and asked.questions is questions[asked]
        }


_NOTHING: Report = {
    "totals": {},
    "connections": dict.fromkeys(("limit", "open", "accepted", "delayed", "closed_for_room"), 0),
}


def _assemble(answers: Sequence[Report]) -> list[Report]:
    """Put reports together again, whose endpoints come in parts behind each."""
    reports: list[Report] = []
    for answer in answers:
        if "report" in answer:
            reports.append({**answer["report"], "endpoints": []})
        else:
            reports[-1]["endpoints"] += answer["endpoints"]
    return reports

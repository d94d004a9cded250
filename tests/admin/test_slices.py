"""How much is done before others have their turn: counted, not timed, on the largest tables there may be."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from admin.fakes import NOW_S, FakeParts, endpoint_report, report
from attrs import evolve

from golb.admin.exposition import Encoder
from golb.admin.functions import Selection, write_function, write_functions
from golb.admin.metrics import MetricsPage
from golb.admin.pace import Pace, Slices
from golb.history import Change
from golb.weights import MAX_ENDPOINTS, Endpoint, Weights

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

MOST_ENDPOINTS = 50
MOST_NAMES = 1000


class Work:
    """What was done since others may have had their turn, and the most of it at once."""

    def __init__(self) -> None:
        self._done = 0
        self.most = 0

    def do(self) -> None:
        self._done += 1
        self.most = max(self.most, self._done)

    def offer_turn(self) -> None:
        self._done = 0


class CountingSlices(Slices):
    def __init__(self, work: Work) -> None:
        super().__init__(trio.Lock())
        self._work = work

    async def keep(self) -> None:
        self._work.offer_turn()


class CountingPace(Pace):
    """Takes each offer of a turn for one."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    @asynccontextmanager
    async def slices(self) -> AsyncIterator[Slices]:
        slices = CountingSlices(self._work)
        await slices.begin()
        yield slices


class LargeFunctions:
    """So many functions of so many endpoints; to make the report of an endpoint is work."""

    def __init__(self, work: Work, functions: int, endpoints: int) -> None:
        self._work = work
        self._functions = functions
        self._endpoints = endpoints

    def names(self) -> list[str]:
        return [f"f{number}" for number in range(self._functions)]

    def report(self, name: str) -> dict[str, Any]:
        return report(name) | {"endpoints": self._endpoint_reports()}

    async def reports(self, names: Sequence[str], /, worker: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        del worker
        assert len(names) <= 50
        for name in names:
            yield self.report(name)

    async def totals(self, worker: int | None = None) -> dict[str, Any]:
        del worker
        return {}

    def changes(self, function: str, /) -> list[Change]:
        del function
        weights = Weights({Endpoint(f"host-{number}", 80): 1 for number in range(self._endpoints)})
        return [Change(NOW_S, 7, evolve(weights, by_endpoint=_Counted(weights.by_endpoint, self._work)))]

    def _endpoint_reports(self) -> Iterator[dict[str, Any]]:
        for number in range(self._endpoints):
            self._work.do()
            yield endpoint_report(f"10.{number >> 8}.{number & 255}.1:80")


class _Counted(dict[Endpoint, "int | float"]):
    def __init__(self, weights: dict[Endpoint, int | float], work: Work) -> None:
        super().__init__(weights)
        self._work = work

    def items(self) -> Any:
        for item in super().items():
            self._work.do()
            yield item


async def drop(_: bytes) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("functions", "endpoints"), [(1, MAX_ENDPOINTS), (100, 100)])
async def test_metrics_are_made_few_endpoints_at_once(functions: int, endpoints: int) -> None:
    work = Work()
    sources = evolve(FakeParts().sources(), functions=LargeFunctions(work, functions, endpoints))
    await MetricsPage(sources, CountingPace(work), endpoint_label=True).write(Encoder(""), drop)
    assert 0 < work.most <= MOST_ENDPOINTS


@pytest.mark.parametrize(("functions", "endpoints"), [(1, MAX_ENDPOINTS), (100, 100)])
async def test_a_page_of_functions_is_made_few_endpoints_at_once(functions: int, endpoints: int) -> None:
    work = Work()
    sources = evolve(FakeParts().sources(), functions=LargeFunctions(work, functions, endpoints))
    await write_functions(sources, CountingPace(work), Selection("", "", 1000, None), drop)
    assert 0 < work.most <= MOST_ENDPOINTS


async def test_a_function_is_told_few_endpoints_and_few_weights_of_its_history_at_once() -> None:
    work = Work()
    functions = LargeFunctions(work, 1, MAX_ENDPOINTS)
    await write_function(CountingPace(work), functions.report("f"), [], drop)
    assert 0 < work.most <= MOST_ENDPOINTS
    await write_function(CountingPace(work), report("f"), functions.changes("f"), drop)
    assert work.most <= 10 * MOST_ENDPOINTS  # of which each is a tenth of the work


async def test_of_a_hundred_thousand_names_few_are_looked_at_at_once() -> None:
    work = Work()

    class Name(str):
        __slots__ = ()

        def casefold(self) -> str:
            work.do()
            return super().casefold()

    class NamedFunctions(LargeFunctions):
        def names(self) -> list[str]:
            return [Name(name) for name in super().names()]

    sources = evolve(FakeParts().sources(), functions=NamedFunctions(Work(), 100_000, 0))
    await write_functions(sources, CountingPace(work), Selection("f9999", "", 10, None), drop)
    assert 0 < work.most <= MOST_NAMES

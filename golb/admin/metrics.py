"""The page of metrics: what is measured of the process, of each function, and of each endpoint of a function.

Rule: labels are bounded. Functions are those in etcd, of which the first 5,000 are told one by one; so are the first
20,000 endpoints, which can be left out as a whole; nothing that a client sends becomes a label. A series of calls begins
with its first call, so that functions which nobody calls cost little.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import trio
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR

from golb.admin.families import gauge, labels
from golb.admin.function_metrics import ENDPOINT_FAMILIES, FUNCTION_FAMILIES
from golb.admin.functions import FUNCTIONS_AT_ONCE
from golb.admin.process_metrics import connection_families, process_families, total_families
from golb.admin.worker_metrics import worker_families, worker_process_families

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.metrics_core import Metric

    from golb.admin.exposition import Encoder
    from golb.admin.families import Family, HistogramFamily, Report
    from golb.admin.pace import Pace, Slices
    from golb.admin.sources import Sources
    from golb.admin.streaming import SendPiece

MAX_FUNCTIONS = 5000
"""So many functions, those that are known for longest, have series of their own."""
MAX_ENDPOINTS = 20_000
"""So many endpoints of these have; of each there are a dozen series, of some hundred bytes each."""

# To write so many endpoints takes a few hundred microseconds.
_ENDPOINTS_AT_ONCE = 10
_PIECE_BYTES = 65536


class MetricsPage:
    """Makes pages of metrics.

    Args:
        sources: what is measured.
        pace: at which they are made.
        endpoint_label: whether endpoints have series of their own.
        max_functions: how many functions have.
        max_endpoints: how many endpoints have.
    """

    def __init__(
        self,
        sources: Sources,
        pace: Pace,
        *,
        endpoint_label: bool,
        max_functions: int = MAX_FUNCTIONS,
        max_endpoints: int = MAX_ENDPOINTS,
    ) -> None:
        self._sources = sources
        self._pace = pace
        self._endpoint_families = ENDPOINT_FAMILIES if endpoint_label else ()
        self._max_functions = max_functions
        self._max_endpoints = max_endpoints

    async def write(self, encoder: Encoder, send_piece: SendPiece) -> None:
        """Write a page; each function, and each endpoint, is as it was at one moment, though not all at the same."""
        families = await self._process_families()
        async with self._pace.slices() as slices:
            functions = self._sources.functions.names()
            told = functions[: self._max_functions]
            families += [
                gauge("golb_functions", "Functions that are known.", [((), len(functions))]),
                gauge(
                    "golb_functions_omitted",
                    "Functions without series of their own, as there are too many.",
                    [((), len(functions) - len(told))],
                ),
            ]
            page = bytearray()
            for family in families:
                page += encoder.lines(family)
                await slices.keep()
            await slices.hand(bytes(page), send_piece)
            series = _Series(encoder, self._endpoint_families, self._max_endpoints)
            for begin in range(0, len(told), FUNCTIONS_AT_ONCE):
                some = told[begin : begin + FUNCTIONS_AT_ONCE]
                async with aclosing(self._sources.functions.reports(some)) as reports:
                    async for report in reports:
                        await series.add(report, slices)
            for text in series.texts():
                for begin in range(0, len(text), _PIECE_BYTES):
                    await slices.hand(bytes(memoryview(text)[begin : begin + _PIECE_BYTES]), send_piece)
        await send_piece(encoder.end)

    async def _process_families(self) -> list[Metric]:
        sources = self._sources
        # ProcessCollector reads /proc, where it counts the descriptors one by one.
        families = await trio.to_thread.run_sync(_collect)
        families += process_families(sources)
        families += connection_families(await sources.connections())
        families += total_families(await sources.functions.totals())
        if sources.workers is not None:
            workers = await sources.workers()
            families += worker_families(workers)
            families += await trio.to_thread.run_sync(worker_process_families, workers)
        return families


class _Series:
    """The series of functions and endpoints, one text for each family.

    A family's series have to stand together, and a function is asked once: so all is kept until all were asked.
    """

    def __init__(self, encoder: Encoder, endpoint_families: Sequence[Family], max_endpoints: int) -> None:
        self._encoder = encoder
        self._functions = [(family, bytearray(encoder.lines(family.empty()))) for family in FUNCTION_FAMILIES]
        self._endpoints = [(family, bytearray(encoder.lines(family.empty()))) for family in endpoint_families]
        self._room = max_endpoints if endpoint_families else 0
        self._cut = 0
        self._tells_endpoints = bool(endpoint_families)

    async def add(self, report: Report, slices: Slices) -> None:
        """Write those of one function."""
        function = labels(("function",), (report["function"],))
        _write(self._functions, report, function)
        await slices.keep()
        if not self._tells_endpoints:
            return
        for endpoint in report["endpoints"]:
            if not self._room:
                self._cut += 1
                return
            self._room -= 1
            _write(self._endpoints, endpoint, f"{function},{labels(('endpoint',), (endpoint['endpoint'],))}")
            if self._room % _ENDPOINTS_AT_ONCE == 0:
                await slices.keep()

    def texts(self) -> list[bytes | bytearray]:
        """Return what has been written."""
        cut = gauge(
            "golb_functions_cut",
            "Functions some of whose endpoints have no series of their own, as there are too many.",
            [((), self._cut)],
        )
        return [self._encoder.lines(cut), *(text for _, text in (*self._functions, *self._endpoints))]


def _write(texts: Sequence[tuple[Family | HistogramFamily, bytearray]], report: Report, named: str) -> None:
    for family, text in texts:
        text.extend("".join(family.lines(report, named)).encode())


def _collect() -> list[Metric]:
    collectors = (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR)
    return [family for collector in collectors for family in collector.collect()]

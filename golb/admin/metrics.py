"""The page of metrics: what is measured of the process, of each function, and of each endpoint of a function.

Rule: labels are bounded. Functions are those in etcd, of which the first 5,000 are told one by one; endpoints can be
left out; nothing that a client sends becomes a label. A series of calls begins with its first call, so that functions
which nobody calls cost little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR

from golb.admin.families import pieces
from golb.admin.function_metrics import ENDPOINT_FAMILIES, FUNCTION_FAMILIES
from golb.admin.process_metrics import process_families

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from golb.admin.exposition import Encoder
    from golb.admin.pace import Pace, Slices
    from golb.admin.sources import Sources
    from golb.admin.streaming import SendPiece

MAX_FUNCTIONS = 5000
"""So many functions, those that are known for longest, have series of their own."""

_PIECE_BYTES = 65536


class MetricsPage:
    """Makes pages of metrics.

    Args:
        sources: what is measured.
        pace: at which they are made.
        endpoint_label: whether endpoints have series of their own.
        max_functions: how many functions have.
    """

    def __init__(
        self, sources: Sources, pace: Pace, *, endpoint_label: bool, max_functions: int = MAX_FUNCTIONS
    ) -> None:
        self._sources = sources
        self._pace = pace
        self._families = FUNCTION_FAMILIES + (ENDPOINT_FAMILIES if endpoint_label else ())
        self._max_functions = max_functions

    async def write(self, encoder: Encoder, send_piece: SendPiece) -> None:
        """Write a page; each function is as it was at one moment, though not all at the same."""
        # ProcessCollector reads /proc, where it counts the descriptors one by one.
        families = await trio.to_thread.run_sync(_collect)
        async with self._pace.slices() as slices:
            functions = self._sources.handler.function_names()
            omitted = max(len(functions) - self._max_functions, 0)
            families += process_families(self._sources, functions=len(functions), omitted=omitted)
            text = bytearray()
            for family in families:
                text += encoder.lines(family)
                await slices.keep()
            await slices.hand(bytes(text), send_piece)
            for text in await self._texts(functions[: self._max_functions], encoder, slices):
                for begin in range(0, len(text), _PIECE_BYTES):
                    await slices.hand(bytes(memoryview(text)[begin : begin + _PIECE_BYTES]), send_piece)
        await send_piece(encoder.end)

    async def _texts(self, functions: list[str], encoder: Encoder, slices: Slices) -> list[bytearray]:
        """Return the families of functions and endpoints, one text each.

        A family's series have to stand together, and a function is asked once: so all is kept until all were asked.
        """
        texts = [bytearray(encoder.lines(family.empty())) for family in self._families]
        for function in functions:
            report = self._sources.handler.function_report(function)
            await slices.keep()
            if report is None:  # gone meanwhile
                continue
            for family, text in zip(self._families, texts, strict=True):
                for piece in pieces(family.lines(report)):
                    text.extend(piece)
                    await slices.keep()
        return texts


def _collect() -> list[Metric]:
    collectors = (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR)
    return [family for collector in collectors for family in collector.collect()]

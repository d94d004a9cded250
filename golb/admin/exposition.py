"""Metrics into text as Prometheus reads it, in the format that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

_END = b"# EOF\n"  # of OpenMetrics


class Encoder:
    """Writes the format that a client asks for.

    Args:
        accept: the value of its Accept header; where that is not understood, it gets the plain text format.
    """

    def __init__(self, accept: str) -> None:
        self._encode: Callable[[Collector], bytes]
        try:
            self._encode, self.media_type = choose_encoder(accept)
        except TypeError:  # a version that is no number
            self._encode, self.media_type = choose_encoder("")
        self.end = self._encode(_Families([]))
        """What stands at the end of the page."""

    def lines(self, family: Metric) -> bytes:
        """Return what a family is, and its samples."""
        return self._encode(_Families([family])).removesuffix(_END)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families

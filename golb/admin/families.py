"""Families of metrics: those of golb as a whole, and those with a series for each function.

Of the latter there may be a hundred thousand lines. prometheus_client takes ten to twenty microseconds for a line where
two are enough; so it writes what stands before the lines, where its formats differ, and all that is not of functions.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Report = dict[str, Any]
"""What a handler tells of a function, or of an endpoint of a function."""
Row = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@frozen
class Family:
    """A family with a series for each function or endpoint, or several; the name of a counter is without `_total`."""

    kind: Literal["counter", "gauge"]
    name: str
    meaning: str
    rows: Callable[[Report], Iterable[Row]]
    """What there is to tell of one; nothing, perhaps."""
    labels: tuple[str, ...] = ()
    """Of the rows, beside those that name the function and the endpoint."""

    def empty(self) -> Metric:
        """Return the family without samples."""
        return Metric(self.name, self.meaning, self.kind)

    def lines(self, report: Report, named: str) -> Iterator[str]:
        """Yield a line for each sample of one, which `named` has the labels of, as `labels` writes them."""
        name = f"{self.name}_total" if self.kind == "counter" else self.name
        for values, value in self.rows(report):
            more = "," + labels(self.labels, values) if values else ""
            yield f"{name}{{{named}{more}}} {value}\n"


@frozen
class HistogramFamily:
    """A family of histograms, one for each function that was called."""

    name: str
    meaning: str
    member: str
    """Of a function's report."""

    def empty(self) -> Metric:
        """Return the family without samples."""
        return Metric(self.name, self.meaning, "histogram")

    def lines(self, report: Report, named: str) -> Iterator[str]:
        """Yield a line for each bucket, which counts all up to its bound, and for the sum and the count of all."""
        histogram: Mapping[str, Any] = report[self.member]
        up_to = list(accumulate(histogram["counts"]))
        if not up_to[-1]:
            return
        for bound, count in zip([*map(float, histogram["bounds_s"]), "+Inf"], up_to, strict=True):
            yield f'{self.name}_bucket{{{named},le="{bound}"}} {count}\n'
        yield f"{self.name}_count{{{named}}} {up_to[-1]}\n"
        yield f"{self.name}_sum{{{named}}} {histogram['sum_s']}\n"


def labels(names: Sequence[str], values: Sequence[str]) -> str:
    """Return labels with their values, as they stand in a line."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def counter(name: str, meaning: str, rows: Iterable[Row], *names: str) -> Metric:
    """Return a counter of golb as a whole."""
    return _filled(CounterMetricFamily(name, meaning, labels=names), rows)


def gauge(name: str, meaning: str, rows: Iterable[Row], *names: str) -> Metric:
    """Return a gauge of golb as a whole."""
    return _filled(GaugeMetricFamily(name, meaning, labels=names), rows)


def histogram(name: str, meaning: str, report: Report) -> Metric:
    """Return a histogram of golb as a whole."""
    bounds = [*map(str, map(float, report["bounds_s"])), "+Inf"]
    buckets = list(zip(bounds, accumulate(report["counts"]), strict=True))
    return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=report["sum_s"])


def _filled(family: Any, rows: Iterable[Row]) -> Metric:
    for values, value in rows:
        family.add_metric(values, value)
    made: Metric = family
    return made


@lru_cache(maxsize=1024)
def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)

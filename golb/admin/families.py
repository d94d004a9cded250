"""Families of metrics: those of golb as a whole, and those with a series for each function.

Of the latter there may be a hundred thousand lines. prometheus_client takes ten to twenty microseconds for a line where
two are enough; so it writes what stands before the lines, where its formats differ, and all that is not of functions.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Report = dict[str, Any]
"""What a handler tells of a function."""
Row = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""

_LINES_AT_ONCE = 200  # a few hundred microseconds
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@frozen
class Family:
    """A family with a series for each function, or several; the name of a counter is without `_total`."""

    kind: Literal["counter", "gauge"]
    name: str
    meaning: str
    labels: tuple[str, ...]
    rows: Callable[[Report], Iterable[Row]]
    """What there is to tell of a function; nothing, perhaps."""

    def empty(self) -> Metric:
        """Return the family without samples."""
        return Metric(self.name, self.meaning, self.kind)

    def lines(self, report: Report) -> Iterator[str]:
        """Yield a line for each sample of a function."""
        name = f"{self.name}_total" if self.kind == "counter" else self.name
        for values, value in self.rows(report):
            yield f"{name}{{{_labels(self.labels, values)}}} {value}\n"


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

    def lines(self, report: Report) -> Iterator[str]:
        """Yield a line for each bucket, which counts all up to its bound, and for the sum and the count of all."""
        histogram: Mapping[str, Any] = report[self.member]
        up_to = list(accumulate(histogram["counts"]))
        if not up_to[-1]:
            return
        labels = _labels(("function",), (report["function"],))
        for bound, count in zip([*map(float, histogram["bounds_s"]), "+Inf"], up_to, strict=True):
            yield f'{self.name}_bucket{{{labels},le="{bound}"}} {count}\n'
        yield f"{self.name}_count{{{labels}}} {up_to[-1]}\n"
        yield f"{self.name}_sum{{{labels}}} {histogram['sum_s']}\n"


def pieces(lines: Iterator[str]) -> Iterator[bytes]:
    """Yield lines joined and encoded, few of them at a time."""
    while some := "".join(islice(lines, _LINES_AT_ONCE)):
        yield some.encode()


def counter(name: str, meaning: str, rows: Iterable[Row], *labels: str) -> Metric:
    """Return a counter of golb as a whole."""
    return _filled(CounterMetricFamily(name, meaning, labels=labels), rows)


def gauge(name: str, meaning: str, rows: Iterable[Row], *labels: str) -> Metric:
    """Return a gauge of golb as a whole."""
    return _filled(GaugeMetricFamily(name, meaning, labels=labels), rows)


def _filled(family: Any, rows: Iterable[Row]) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, value)
    made: Metric = family
    return made


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


@lru_cache(maxsize=1024)
def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)

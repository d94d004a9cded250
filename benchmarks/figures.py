"""Medians over the rounds, and how far the rounds lie apart."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

NOISY_SPREAD = 0.25
"""Where max - min is more than this share of the median, the result says that it is noisy."""


@frozen
class Figure:
    """One measured quantity, over all rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def spread(self) -> float:
        """How far the rounds lie apart: max - min, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def noisy(self) -> bool:
        """Whether the rounds lie too far apart to compare by."""
        return self.spread > NOISY_SPREAD


def figure(values: Sequence[float]) -> Figure:
    """Sum up one or more rounds."""
    return Figure(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which the share (0 to 1) of the values lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

"""The steps of a gradual move of weight from one target to another. No I/O, no clock.

Rule: the sum of the two weights is the same at each step, exactly, so the shares of all other targets stay as they are.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from golb.commands.values import Number

# Digits of the weight that is moved; a step that shows in no share is none.
_DIGITS = 6
# From here on whole weights have steps fine enough to stay whole.
_STAYS_WHOLE = 1000


@frozen
class Move:
    """A part of one target's weight goes to another, in equal steps."""

    source: Fraction
    """The weight of the target that loses, before; > 0."""
    sink: Fraction
    """The weight of the other one, before; >= 0."""
    part: Fraction
    """Of `source`, that goes over; above 0, up to 1."""
    steps: int
    """> 0."""

    @classmethod
    def plan(cls, source: Number, sink: Number, part: Fraction, steps: int) -> Move:
        """Plan a move between weights that golb takes."""
        return cls(_exact(source), _exact(sink), part, steps)

    def at(self, step: int) -> tuple[Number, Number]:
        """Return both weights after a step, from 1 to `steps`; the last one is exact, or the nearest whole one."""
        moved = self.source * self.part * step / self.steps
        if self._stays_whole():
            moved = Fraction(round(moved))
        elif step < self.steps:
            moved = round(moved, max(_DIGITS - 1 - math.floor(math.log10(self.source)), 0))
        return _number(self.source - moved), _number(self.sink + moved)

    def rest(self, step: int) -> Fraction:
        """Return the part of what is left of `source` after a step, from 1 on, that would go over in the steps to come."""
        taken = self.part * step / self.steps
        return (self.part - taken) / (1 - taken) if step < self.steps else Fraction(0)

    def _stays_whole(self) -> bool:
        return self.source.denominator == self.sink.denominator == 1 and self.source >= _STAYS_WHOLE


def _exact(weight: Number) -> Fraction:
    # 33.3 is meant, not the binary fraction next to it. From its shortest form, which bounds the exponent.
    return Fraction(repr(float(weight))) if isinstance(weight, float) else Fraction(weight)


def _number(weight: Fraction) -> Number:
    return weight.numerator if weight.denominator == 1 else float(weight)

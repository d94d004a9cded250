"""Weighted picks over endpoints, with no I/O and no clock.

Rule: this file decides who is next; it never learns whether the endpoint answered.

Method: the quota method. Let an endpoint's share be w/W. Its m-th pick is due by the first step j at which
j*w/W >= m (its deadline), and may not come before the first step at which j*w/W > m - 1 (its release). Among the
endpoints whose release has come, the one with the earliest deadline is next. Of a few it is found by looking at each;
of many the others wait by the step of their release, those whose release has come stand in order, and the next one is taken
off their end. So a pick costs O(log n), and a move of numbers in memory.
Picks are unit jobs with integer releases and deadlines, for which earliest deadline first is optimal, so it finds
the schedule that is known to exist; plain earliest deadline first, as in Envoy and Traefik, strays by 50 picks for
one weight of 100 beside a hundred of 1.

Releases may be delayed by any fractions of a pick whose sum is below one: the picks that must fall into the steps
s to t number at most the sum of (t - s + 1)*w/W plus these fractions, less than t - s + 2, hence at most t - s + 1.
A delay of phase*w/W, with one random phase in [0, 1) for each schedule, moves the whole cycle and keeps the law. So
does a first pick at random: the picks that are due by step t number t only if every endpoint is due, the first one too.

An update keeps what each endpoint is owed: releases (by one pick at most) and deadlines start from there. Where the
endpoints that are owed something are owed a pick or more in all, their deadlines could not all be met; then all
deadlines move later by the same number of steps, but none by so much that its endpoint would fall two picks behind,
counted from the update. Nothing is forgotten by that: the next update starts from what is then owed.

All arithmetic is on integers (a float is a ratio of integers), so nothing drifts.

Sources: Tijdeman, The chairman assignment problem (1980); Steiner and Yeomans, Level schedules for mixed-model
just-in-time processes (1993); Bennett and Zhang, WF2Q (1996).
"""

from __future__ import annotations

from bisect import insort
from math import lcm
from random import Random
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from golb.errors import NoEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

# What is owed is kept in units of 2**-32 picks: exact enough to be invisible, coarse enough to bound the integers
# over any number of updates.
_UNIT: Final = 1 << 32
# Of all items together, by deadlines that can be met.
_MOST_OWED: Final = _UNIT - _UNIT // 64
_PLACE_BITS: Final = 4
# Of no more than so many, looking at each is faster; and a place among them takes so few bits.
_FEW: Final = 1 << _PLACE_BITS
# Where there are 100,000 schedules, none of them is in the processor's cache when its turn comes. So of few the next picks are
# worked out together, and the others need not look at the slots: each of these numbers is a pick's place among the slots, the
# first one the lowest, and a one stands above the last. Fifteen fill a number that takes no memory of its own.
_PLACE: Final = _FEW - 1
_NOTHING_AHEAD: Final = 1
_MOST_AHEAD: Final = 15
# Those that may come stand as one number each, what is due above the rank: these take less than half of the time that tuples
# take, and a third of the memory.
_RANK_BITS: Final = 32
_RANK: Final = (1 << _RANK_BITS) - 1
# To sort anew what is nearly in order takes about as long as one insertion for so many entries of it.
_ENTRIES_PER_INSERTION: Final = 16


class _Slot:
    """One endpoint with a positive weight."""

    __slots__ = (
        "begins",
        "deadline",
        "divisor",
        "due",
        "item",
        "order",
        "owed",
        "picks",
        "release",
        "tie",
        "weight",
    )

    def __init__(self, item: Any, order: int) -> None:
        # Of many schedules nothing is in the processor's cache. With eleven attributes, none of them a float, and no type
        # variable, a slot is 128 bytes long, two lines of the cache, and what is looked at for each pick stands in the first.
        self.begins = 0
        """The first step at which the next pick may come."""
        self.due = 0
        """The last one."""
        self.tie = 0
        """The lowest goes first of equal deadlines: what is rare breaks up the runs of what is not; else by `order`."""
        self.item = item
        self.release = 0
        """Of the next pick: it may come behind this."""
        self.deadline = 0
        """Of the next pick: it must come before this has passed."""
        self.divisor = 1
        """The weight in units; the two above are in steps times this."""
        self.weight = 0
        """Scaled so that all weights are integers."""
        self.picks = 0
        """Since the last update."""
        self.owed = 0
        """At the last update, in units; the sum over all slots is 0."""
        self.order = order
        """Random and constant, of 2**32: decides between equals, differently in each process."""

    def begin(self, total: int, lateness: int, phase: int) -> None:
        """Begin to count, from what is owed.

        Args:
            total: of all weights.
            lateness: by which all deadlines move, in units of a step.
            phase: by which all releases are delayed, likewise.
        """
        weight, owed = self.weight, self.owed
        deadline_offset = max(owed - lateness * weight // total, -_UNIT)
        release_offset = max(min(owed, _UNIT), deadline_offset) - phase * weight // total
        self.picks = 0
        self.divisor = weight * _UNIT
        self.tie = self.order // 4 + weight * _UNIT // total
        self.release = -release_offset * total
        self.deadline = (_UNIT - deadline_offset) * total
        self._set_steps()

    def pick(self, period: int) -> None:
        """Count a pick; the next one comes a period later, in steps times the divisor."""
        self.picks += 1
        self.release += period
        self.deadline += period
        self._set_steps()

    def _set_steps(self) -> None:
        self.begins = self.release // self.divisor + 1
        self.due = -(-self.deadline // self.divisor)


class _Many:
    """Of many endpoints, those that may come in the order in which they are due, the others by the step from which on they may.

    Args:
        slots: all of them.
    """

    __slots__ = ("_by_rank", "_ready", "_step", "_waiting")

    def __init__(self, slots: list[_Slot]) -> None:
        self._step = 0
        self._by_rank = sorted(slots, key=lambda slot: slot.tie)
        self._ready: list[int] = []
        """Negative and in order, so that the first that is due is the last in the list, and taken off it at once."""
        self._waiting: dict[int, list[int]] = {}
        """The same numbers."""
        for rank, slot in enumerate(self._by_rank):
            slot.tie = rank
            self.put(slot)

    def put(self, slot: _Slot) -> None:
        """Put in one whose next pick is known."""
        begins = max(slot.begins, self._step + 1)
        number = -(slot.due << _RANK_BITS | slot.tie)
        waiting = self._waiting.get(begins)
        if waiting is None:
            self._waiting[begins] = [number]
        else:
            waiting.append(number)

    def take(self) -> _Slot:
        """Take out whose turn it is, to be put in again."""
        ready = self._ready
        self._step += 1
        released = self._waiting.pop(self._step, None)
        # By the law there is always one; if there were none, who may come first would come early.
        while released is not None or not ready:
            _put_in_order(ready, released or self._waiting.pop(min(self._waiting)))
            released = None
        return self._by_rank[-ready.pop() & _RANK]


def _put_in_order(ready: list[int], released: list[int]) -> None:
    if len(released) * _ENTRIES_PER_INSERTION > len(ready):
        ready += released
        ready.sort()
    else:
        for number in released:
            insort(ready, number)


class Schedule(Generic[T]):
    """Smooth weighted round robin over any hashable items; not safe for threads, never waits.

    For constant weights, after any n picks an item of weight w (>= 0, no unit) has had n * w / sum(weights) of them,
    less than one off. Counted from an update on, less than two off.
    """

    __slots__ = (
        "_ahead",
        "_is_behind",
        "_is_new",
        "_items",
        "_many",
        "_period",
        "_phase",
        "_random",
        "_slots",
        "_weights",
    )

    def __init__(self, weights: Mapping[T, int | float], *, random: Random | None = None) -> None:
        # Two lines as well, for the type variable takes the room of two attributes; and first what is looked at for each pick.
        self._is_behind = False
        """The weights have changed since the slots were made."""
        self._is_new = True
        self._ahead = _NOTHING_AHEAD
        """The next picks of few, as far as they have been worked out, and counted."""
        self._items: tuple[T, ...] = ()
        """All with a positive weight, if they are few, in the order of the slots."""
        self._period = _UNIT
        """Between two picks of one item, in steps times its divisor: the total of the weights, in units."""
        self._many: _Many | None = None
        """All with a positive weight, if they are many."""
        self._slots: dict[T, _Slot] = {}
        self._weights: Mapping[T, int | float] = {}
        self._random = random or Random()  # noqa: S311 - a phase is no secret
        self._phase = int(self._random.random() * (_UNIT - _UNIT // 1024))
        self.update(weights)

    @property
    def weights(self) -> Mapping[T, int | float]:
        """The weights in force, those of 0 included."""
        return self._weights

    def __bool__(self) -> bool:
        """Whether `next` has anything to return."""
        return any(self._weights.values())

    def next(self) -> T:
        """Return the item whose turn it is.

        Raises:
            NoEndpoint: every weight is 0, or there is none; answer 503.
        """
        count = _MOST_AHEAD
        if self._is_behind:
            count = self._take_weights()
        ahead = self._ahead
        if ahead == _NOTHING_AHEAD:
            if self._many is not None:
                return self._pick_of_many(self._many)
            ahead = self._look_ahead(count)
        self._ahead = ahead >> _PLACE_BITS
        return self._items[ahead & _PLACE]

    def _look_ahead(self, count: int) -> int:
        """Work out so many of the next picks of few, 1 to `_MOST_AHEAD`."""
        slots = list(self._slots.values())
        if not slots:
            raise NoEndpoint
        self._is_new = False
        step = sum([slot.picks for slot in slots])  # each step is one pick
        bits = _PLACE_BITS * count
        ahead = _NOTHING_AHEAD << bits
        for place_bits in range(0, bits, _PLACE_BITS):
            step += 1
            place = _find(slots, step)
            slots[place].pick(self._period)
            ahead |= place << place_bits
        return ahead

    def _pick_of_many(self, many: _Many) -> T:
        self._is_new = False
        slot = many.take()
        slot.pick(self._period)
        many.put(slot)
        item: T = slot.item
        return item

    def update(self, weights: Mapping[T, int | float]) -> None:
        """Take new weights over; each item that stays is owed what it was owed. Equal weights: no effect at all.

        That is done at the next pick: of many schedules whose weights change all the time, most are not asked meanwhile.

        Args:
            weights: finite and >= 0, in any order.
        """
        if weights != self._weights:
            self._weights = dict(weights)
            self._is_behind = True

    def _take_weights(self) -> int:
        """Begin anew with the weights in force. Where they change every second, most requests meet that: hence no more passes than it needs.

        Returns:
            How many picks to work out ahead. Weights may change again as soon, and what has not been used by then was worked out in
            vain; so, as many as there were since they changed last, or as many as can be where there were none yet.
        """
        self._is_behind = False
        before, total_before = self._slots, self._period // _UNIT
        step = self._count_picks(list(before.values()))
        weights = {item: weight for item, weight in self._weights.items() if weight}
        scaled = _to_integers(list(weights.values()))
        self._slots = {item: before.get(item) or _Slot(item, int(self._random.random() * _UNIT)) for item in weights}
        slots = list(self._slots.values())
        total = sum(scaled) or 1
        self._period = total * _UNIT
        # Of a slot that is new, all this is 0.
        owed = [slot.owed + step * slot.weight * _UNIT // total_before - slot.picks * _UNIT for slot in slots]
        # As items came and went, it has to be made to sum to 0 again.
        surplus = sum(owed)
        for slot, weight, one in zip(slots, scaled, owed, strict=True):
            slot.weight = weight
            slot.owed = one - surplus * weight // total
        lateness = 0
        owed_in_all = sum([slot.owed for slot in slots if slot.owed > 0])
        if owed_in_all > _MOST_OWED:
            lateness = _lateness(slots, total)
            owed_in_all = sum([max(slot.owed - lateness * slot.weight // total, 0) for slot in slots])
        # The phase takes the room that the owed picks leave below one.
        phase = self._phase * max(_UNIT - owed_in_all, 0) // _UNIT
        for slot in slots:
            slot.begin(total, lateness, phase)
        if self._is_new and slots:
            first = self._random.choices(slots, [slot.weight / total for slot in slots])[0]
            first.begins = first.due = 0
        is_few = len(slots) <= _FEW
        self._items = tuple(self._slots) if is_few else ()
        self._many = None if is_few else _Many(slots)
        return min(step, _MOST_AHEAD) or _MOST_AHEAD

    def _count_picks(self, slots: list[_Slot]) -> int:
        """Return how many picks there were since the last update; take back what was worked out ahead and has not been used."""
        ahead = self._ahead
        while ahead > _NOTHING_AHEAD:
            slots[ahead & _PLACE].picks -= 1
            ahead >>= _PLACE_BITS
        self._ahead = _NOTHING_AHEAD
        return sum([slot.picks for slot in slots])


def _find(slots: list[_Slot], step: int) -> int:
    """Return the place of the slot whose turn it is, of a few."""
    found: _Slot | None = None
    found_place = 0
    for place, slot in enumerate(slots):
        if slot.begins > step:
            continue
        if found is None or slot.due < found.due or (slot.due == found.due and slot.tie < found.tie):
            found, found_place = slot, place
    if found is not None:
        return found_place
    # By the law there is always one; if there were none, who may come first would come early, as of many.
    return min(range(len(slots)), key=lambda place: (slots[place].begins, slots[place].tie))


def _lateness(slots: list[_Slot], total: int) -> int:
    """Return by how many steps, in units, all deadlines must move so that what is owed comes to less than one pick.

    Newton's method on sum(max(0, owed - lateness * w / W)), which is convex and falls: from the left it ends exactly.
    """
    lateness = 0
    late = slots
    while True:
        late = [slot for slot in late if slot.owed * total > lateness * slot.weight]
        weight = sum(slot.weight for slot in late)
        excess = sum(slot.owed for slot in late) - lateness * weight // total - _MOST_OWED
        if excess <= 0:
            return lateness
        lateness += -(-excess * total // weight)


def _to_integers(weights: list[int | float]) -> list[int]:
    """Scale exactly: every finite float is an integer over a power of two."""
    if set(map(type, weights)) == {int}:
        return cast("list[int]", weights)
    ratios = [weight.as_integer_ratio() for weight in weights]
    denominator = lcm(*(ratio[1] for ratio in ratios))
    return [numerator * (denominator // divisor) for numerator, divisor in ratios]

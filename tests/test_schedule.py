"""The laws of the schedule, and the same picks by a list and fractions as by the heaps."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import groupby, islice
from math import ceil, floor, lcm
from random import Random
from typing import TYPE_CHECKING

import pytest
from attrs import define
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golb.errors import NoEndpoint
from golb.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Weights = dict[int, int | float]

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=60)
SEEDS = st.integers(0, 2**32)


@st.composite
def drawn_weights(draw: st.DrawFn) -> Weights:
    """Return weights of 2 to 200 endpoints, at least one of them positive."""
    kinds = [
        st.integers(0, 5),
        st.integers(0, 2**31),
        st.floats(0, 1e6),
        st.floats(0, 1e300),
        st.sampled_from([1, 100]),
        st.sampled_from([0, 0.1, 33.3, 1, 2]),
    ]
    size = draw(st.integers(2, 200))
    weights = draw(st.lists(draw(st.sampled_from(kinds)), min_size=size, max_size=size))
    weights[draw(st.integers(0, size - 1))] = draw(st.sampled_from([1, 0.1, 1000]))
    return dict(enumerate(weights))


def made_weights(random: Random) -> Weights:
    """Return what an optimizer, or a fault of one, might put: 2 to 200 endpoints, of 200 that there are."""
    size = random.choice([2, 3, 5, 20, 200])
    kinds: list[Callable[[], int | float]] = [
        lambda: random.randint(0, 5),
        lambda: random.randint(0, 1000),
        lambda: random.uniform(0, 100),
        lambda: random.choice([1, 100]),
        lambda: float(10 ** random.uniform(-3, 3)),
        lambda: random.choice([0, 0, 1, 2**31 - 1]),
    ]
    kind = random.choice(kinds)
    return {item: kind() for item in random.sample(range(200), size)}


def scaled(weights: Mapping[int, int | float]) -> tuple[dict[int, int], int]:
    """Return the weights as integers of the same proportions, and their sum."""
    exact = {item: Fraction(weight) for item, weight in weights.items()}
    denominator = lcm(*(weight.denominator for weight in exact.values()))
    integers = {item: int(weight * denominator) for item, weight in exact.items()}
    return integers, sum(integers.values())


def picks(schedule: Schedule[int], count: int) -> list[int]:
    return [schedule.next() for _ in range(count)]


def strays(schedule: Schedule[int], count: int) -> Iterator[tuple[int, int]]:
    """Pick, and yield after each pick, as integers, the most that any endpoint has strayed, and what one pick is."""
    weights, total = scaled(schedule.weights)
    had = Counter[int]()
    for picked in range(1, count + 1):
        had[schedule.next()] += 1
        yield max(abs(had[item] * total - picked * weight) for item, weight in weights.items()), total


@REPEATABLE
@given(weights=drawn_weights(), seed=SEEDS, count=st.integers(1, 300))
@example(weights={0: 100} | dict.fromkeys(range(1, 101), 1), seed=0, count=300)
@example(weights=dict.fromkeys(range(200), 0.1), seed=0, count=300)
def test_after_any_picks_each_endpoint_has_had_its_share_less_than_one_off(
    weights: Weights, seed: int, count: int
) -> None:
    for stray, one_pick in strays(Schedule(weights, random=Random(seed)), count):
        assert stray < one_pick


@REPEATABLE
@given(seed=SEEDS)
def test_counted_from_an_update_each_endpoint_has_had_its_share_less_than_two_off(seed: int) -> None:
    random = Random(seed)
    schedule: Schedule[int] = Schedule({}, random=random)
    most = random.choice([1, 3, 30])
    for _ in range(12):
        schedule.update(made_weights(random))
        for stray, one_pick in strays(schedule, random.randint(0, most) if schedule else 0):
            assert stray < 2 * one_pick


@REPEATABLE
@given(weights=drawn_weights(), seed=SEEDS, data=st.data())
def test_equal_weights_put_again_have_no_effect_at_all(weights: Weights, seed: int, data: st.DataObject) -> None:
    schedule, twin = (Schedule(weights, random=Random(seed)) for _ in range(2))
    for _ in range(5):
        order = list(weights)
        Random(seed).shuffle(order)
        schedule.update({item: float(weights[item]) for item in order})
        count = data.draw(st.integers(0, 30))
        assert picks(schedule, count) == picks(twin, count)


@REPEATABLE
@given(seed=SEEDS)
def test_an_endpoint_of_weight_0_is_never_picked(seed: int) -> None:
    random = Random(seed)
    schedule: Schedule[int] = Schedule({}, random=random)
    for _ in range(10):
        weights = made_weights(random)
        schedule.update(weights)
        assert schedule.weights == weights
        for item in picks(schedule, 20 if schedule else 0):
            assert weights[item] > 0


@pytest.mark.parametrize("weights", [{}, {0: 0}, {0: 0, 1: 0.0}])
def test_without_a_positive_weight_there_is_no_endpoint_until_one_comes(weights: Weights) -> None:
    schedule: Schedule[int] = Schedule(weights)
    for _ in range(3):
        assert not schedule
        with pytest.raises(NoEndpoint):
            schedule.next()
    schedule.update({7: 0.5})
    assert schedule
    assert picks(schedule, 3) == [7, 7, 7]
    schedule.update(weights)
    with pytest.raises(NoEndpoint):
        schedule.next()


def test_the_shares_over_whole_cycles_are_exact() -> None:
    for seed in range(20):
        schedule = Schedule({"a": 5, "b": 3, "c": 1, "d": 1}, random=Random(seed))
        for _ in range(10):
            assert Counter(schedule.next() for _ in range(1000)) == {"a": 500, "b": 300, "c": 100, "d": 100}


def test_equal_puts_in_the_middle_of_a_cycle_keep_the_shares() -> None:
    weights = {"a": 100, "b": 1, "c": 1}
    schedule = Schedule(weights, random=Random(1))
    had = Counter[str]()
    for _ in range(510):
        had.update([schedule.next(), schedule.next()])
        schedule.update(dict(weights))
    assert had == {"a": 1000, "b": 10, "c": 10}


def test_5_1_1_is_smooth() -> None:
    for seed in range(200):
        schedule = Schedule({"a": 5, "b": 1, "c": 1}, random=Random(seed))
        runs = (len(list(run)) for item, run in groupby(schedule.next() for _ in range(70)) if item == "a")
        assert max(runs) <= 4  # as in a a b a c a a, over and over


def test_each_seed_has_a_phase_of_its_own_and_one_seed_always_the_same() -> None:
    def start(seed: int) -> tuple[int, ...]:
        return tuple(picks(Schedule({0: 5, 1: 3, 2: 1, 3: 1}, random=Random(seed)), 20))

    starts = [start(seed) for seed in range(100)]
    assert starts == [start(seed) for seed in range(100)]
    assert len(set(starts)) > 20


def test_many_nodes_start_with_each_endpoint_as_often_as_its_share_says() -> None:
    firsts = Counter(Schedule({0: 5, 1: 3, 2: 1, 3: 1}, random=Random(seed)).next() for seed in range(2000))
    for item, expected in {0: 1000, 1: 600, 2: 200, 3: 200}.items():
        assert abs(firsts[item] - expected) < 80


def test_a_call_that_found_no_endpoint_does_not_make_all_nodes_start_with_the_heaviest() -> None:
    firsts = Counter[int]()
    for seed in range(200):
        schedule: Schedule[int] = Schedule({}, random=Random(seed))
        with pytest.raises(NoEndpoint):
            schedule.next()
        schedule.update({0: 3, 1: 2})
        firsts[schedule.next()] += 1
    assert 50 < firsts[1] < 110


def test_few_are_worked_out_as_far_ahead_as_there_were_picks_between_the_last_two_changes() -> None:
    schedule = Schedule({"a": 5, "b": 3})

    def ahead() -> int:
        return (schedule._ahead.bit_length() - 1) // 4  # noqa: SLF001 - it shows in nothing but the time that it takes

    schedule.next()
    assert ahead() == 14
    # Behind each change one pick is made, so that one less is left of as many as there were before.
    for picks, expected in ((2, 2), (1, 1), (0, 0), (0, 0), (40, 14)):
        for _ in range(picks):
            schedule.next()
        schedule.update({"a": 5, "b": 4 if schedule.weights["b"] == 3 else 3})
        schedule.next()
        assert ahead() == expected


@pytest.mark.parametrize("scale", [1, 2**31 - 1, 10**300, 0.1, 1e300, 5e-324])
def test_the_size_of_the_weights_makes_no_difference(scale: float) -> None:
    small = Schedule({0: 3, 1: 2, 2: 1}, random=Random(3))
    schedule = Schedule({0: scale + scale + scale, 1: scale + scale, 2: scale}, random=Random(3))
    had = Counter(picks(schedule, 600))
    assert had == {0: 300, 1: 200, 2: 100}
    if scale != 0.1:  # three times 0.1 is a little more than 0.3
        assert picks(schedule, 60) == picks(small, 660)[600:]


def test_a_million_times_the_weight_costs_no_more_steps() -> None:
    schedule = Schedule({0: 2**31, 1: 2**31 - 1, 2: 1}, random=Random(0))
    assert Counter(picks(schedule, 1000))[0] in (499, 500, 501)
    schedule.update({0: 2**31 - 1, 1: 2**31, 2: 1})
    assert Counter(picks(schedule, 1000))[1] in (499, 500, 501)
    extremes = Schedule({0: 1e300, 1: 5e-324, 2: 1}, random=Random(0))
    assert sum(item != 0 for item in picks(extremes, 1000)) <= 2


def test_an_endpoint_that_was_owed_a_pick_gets_it_after_the_update() -> None:
    for seed in range(50):
        schedule = Schedule({0: 1, 1: 1}, random=Random(seed))
        first = schedule.next()
        schedule.update({0: 1, 1: 1.001})
        assert schedule.next() == 1 - first


def test_what_one_endpoint_is_owed_is_not_lost_when_others_come_and_go() -> None:
    schedule = Schedule(dict.fromkeys(range(10), 1), random=Random(5))
    late = set(range(10)) - set(picks(schedule, 8))
    for newcomer in range(10, 20):
        schedule.update(dict.fromkeys([*range(10), newcomer], 1))
    assert late <= set(picks(schedule, 4))


@pytest.mark.parametrize(("count", "most"), [(2, 1), (2, 10), (10, 3), (50, 1), (50, 10), (100, 10)])
def test_debts_do_not_add_up_over_thousands_of_updates(count: int, most: int) -> None:
    # No rule that does not know the weights to come can bound this for all of them by less than about the harmonic
    # number, ln(count): in the game of cups (Dietz and Sleator, 1987) that is what an opponent forces.
    bound = 1 + sum(1 / number for number in range(1, count + 1))
    random = Random(count)
    schedule: Schedule[int] = Schedule({}, random=random)
    weights = {item: random.uniform(1, 100) for item in range(count)}
    owed = dict.fromkeys(weights, 0.0)
    worst = 0.0
    for _ in range(2000):
        weights = {item: min(max(weight * random.uniform(0.9, 1.1), 1), 100) for item, weight in weights.items()}
        schedule.update(weights)
        picked = random.randint(0, most)
        for item in picks(schedule, picked):
            owed[item] -= 1
        pick_share = picked / sum(weights.values())
        for item, weight in weights.items():
            owed[item] += weight * pick_share
        worst = max(worst, *owed.values(), -min(owed.values()))
    assert worst < (3 if count <= 10 else bound)


UNIT = 2**-32


def in_units(number: Fraction) -> Fraction:
    return Fraction(floor(number / UNIT)) * Fraction(UNIT)


@define
class Entry:
    item: int
    order: float
    share: Fraction = Fraction(0)
    picks: int = 0
    owed: Fraction = Fraction(0)
    release_from: Fraction = Fraction(0)
    deadline_from: Fraction = Fraction(0)

    @property
    def tie(self) -> float:
        return self.order / 4 + float(self.share)

    def release(self) -> int:
        """Return the first step j at which j*share > picks, counted from `release_from`."""
        return floor((self.picks - self.release_from) / self.share) + 1

    def deadline(self) -> int:
        """Return the first step j at which j*share >= picks + 1, counted from `deadline_from`."""
        return ceil((self.picks + 1 - self.deadline_from) / self.share)


class Reference:
    """The rules that stand at the head of golb/schedule.py, by a list, fractions and a search for each pick."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.phase = in_units(Fraction(random.random()) * Fraction(1023, 1024))
        self.entries: list[Entry] = []
        self.step = 0
        self.is_new = True
        self.first: Entry | None = None
        self.newest: Weights | None = None

    def next(self) -> int:
        if self.newest is not None:
            self.take(self.newest)
            self.newest = None
        self.step += 1
        self.is_new = False  # it is not called while there is no endpoint
        if self.first is not None:
            entry, self.first = self.first, None
            entry.picks += 1
            return entry.item
        ready = [entry for entry in self.entries if entry.release() <= self.step]
        if not ready:
            ready = [min(self.entries, key=lambda entry: (entry.release(), entry.tie))]
        entry = min(ready, key=lambda entry: (entry.deadline(), entry.tie))
        entry.picks += 1
        return entry.item

    def update(self, weights: Weights) -> None:
        """Only the last weights before a pick count."""
        self.newest = weights

    def take(self, weights: Weights) -> None:
        for entry in self.entries:
            entry.owed += in_units(self.step * entry.share) - entry.picks
            entry.picks = 0
        self.step = 0
        known = {entry.item: entry for entry in self.entries}
        total = sum(map(Fraction, weights.values()))
        self.entries = []
        for item, weight in weights.items():
            if weight:
                entry = known.get(item) or Entry(item, self.random.random())
                entry.share = Fraction(weight) / total
                self.entries.append(entry)
        surplus = sum(entry.owed for entry in self.entries)
        for entry in self.entries:
            entry.owed -= in_units(surplus * entry.share)
        lateness = self.lateness()
        for entry in self.entries:
            entry.deadline_from = max(entry.owed - in_units(lateness * entry.share), Fraction(-1))
            entry.release_from = max(min(entry.owed, Fraction(1)), entry.deadline_from)
        room = 1 - sum(max(entry.deadline_from, Fraction(0)) for entry in self.entries)
        phase = in_units(self.phase * max(room, 0))
        for entry in self.entries:
            entry.release_from -= in_units(phase * entry.share)
        self.first = None
        if self.is_new and self.entries:
            self.first = self.random.choices(self.entries, [float(entry.share) for entry in self.entries])[0]

    def lateness(self) -> Fraction:
        """Return the fewest steps by which all deadlines must move so that less than one pick is owed in all."""
        by_urgency = sorted(self.entries, key=lambda entry: entry.owed / entry.share, reverse=True)
        owed = share = most = Fraction(0)
        for entry in by_urgency:
            owed += entry.owed
            share += entry.share
            most = max(most, (owed - Fraction(63, 64)) / share)
        return -in_units(-most)


@settings(REPEATABLE, max_examples=20)
@given(weights=drawn_weights(), seed=SEEDS, count=st.integers(1, 60))
def test_few_and_many_are_picked_as_by_a_plain_list(weights: Weights, seed: int, count: int) -> None:
    reference = Reference(Random(seed))
    reference.update(weights)
    assert picks(Schedule(weights, random=Random(seed)), count) == [reference.next() for _ in range(count)]


@REPEATABLE
@given(seed=SEEDS)
def test_few_and_many_are_picked_as_by_a_plain_list_through_any_updates(seed: int) -> None:
    random = Random(seed)
    schedule: Schedule[int] = Schedule({}, random=Random(seed))
    reference = Reference(Random(seed))
    few = (weights for weights in iter(lambda: made_weights(random), None) if len(weights) <= 20)
    for weights in islice(few, 6):
        schedule.update(weights)
        reference.update(weights)
        count = random.randint(0, 15) if schedule else 0
        assert picks(schedule, count) == [reference.next() for _ in range(count)]

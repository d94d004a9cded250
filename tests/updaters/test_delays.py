"""How long weights take to the handler: what is measured, and what is not."""

from __future__ import annotations

from golb.updaters.delays import Delays


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def measured(delays: Delays) -> dict[float, int]:
    """Return how many delays lie up to each bound that has any."""
    told = delays.report()
    return {
        bound: count for bound, count in zip([*told["bounds_s"], float("inf")], told["counts"], strict=True) if count
    }


def test_a_delay_ends_when_its_revision_is_in_force() -> None:
    clock = Clock()
    delays = Delays(clock)
    delays.learnt(7, 100.0)
    delays.learnt(9, 100.5)
    clock.now_s = 101.0
    delays.in_force(8)
    assert measured(delays) == {1.0: 1}
    delays.in_force(9)
    assert measured(delays) == {0.5: 1, 1.0: 1}
    assert delays.report()["sum_s"] == 1.5
    delays.in_force(9)
    assert sum(measured(delays).values()) == 2


def test_what_is_under_way_while_etcd_is_listed_is_not_measured() -> None:
    delays = Delays(Clock())
    delays.learnt(7, 100.0)
    delays.forget()
    delays.in_force(8)
    assert measured(delays) == {}


def test_where_a_handler_is_far_behind_the_newest_are_measured() -> None:
    delays = Delays(Clock())
    for revision in range(1, 10_101):
        delays.learnt(revision, 100.0)
    delays.in_force(10_100)
    assert measured(delays) == {0.0001: 10_000}

"""Lists and changes of one zone, joined: whatever order they come in, each revision counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from updaters.etcd_follower import ZONE, key, value, weights

from golb.trio_etcd import Event, EventType, KeyValue, RangeResult, ResponseHeader, WatchBatch
from golb.updaters import Knowledge
from golb.updaters.zone import Zone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from golb.weights import Weights, WeightUpdate

FUNCTIONS = ["f", "g", "h", "no/function", "bad"]
Change = tuple[str, float | None]  # None: a delete


class Store:
    """What etcd does, in memory: the truth that a zone is compared with."""

    def __init__(self) -> None:
        self.states: list[dict[str, KeyValue]] = [{}]
        self.events: list[Event] = []

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def change(self, function: str, weight: float | None) -> None:
        state, revision = dict(self.states[-1]), self.revision + 1
        before = state.get(function)
        if weight is None:
            if before is None:
                return
            del state[function]
            self.events.append(Event(EventType.DELETE, KeyValue(key(function).encode(), b"", mod_revision=revision)))
        else:
            content = b"" if function == "bad" else value(weight)
            version = before.version + 1 if before else 1
            state[function] = KeyValue(key(function).encode(), content, mod_revision=revision, version=version)
            self.events.append(Event(EventType.PUT, state[function]))
        self.states.append(state)

    def listed(self, revision: int) -> RangeResult:
        return RangeResult(
            ResponseHeader(cluster_id=1, revision=revision), revision, tuple(self.states[revision].values())
        )

    def batch(self, start: int, end: int) -> WatchBatch:
        """Return the changes after revision `start` up to `end`."""
        return WatchBatch(end, tuple(self.events[start:end]))

    def served(self, revision: int) -> dict[str, Weights]:
        state = self.states[revision]
        return {
            name: next(weights(w) for w in range(4) if value(w) == kv.value)
            for name, kv in state.items()
            if name not in ("bad", "no/function")
        }


class Served:
    def __init__(self) -> None:
        self.table: dict[str, Weights] = {}
        self.calls = 0

    def publish(self, updates: Iterable[WeightUpdate]) -> None:
        self.calls += 1
        for update in updates:
            if update.weights is None:
                del self.table[update.function]
            else:
                assert self.table.get(update.function) != update.weights  # only what differs is published
                self.table[update.function] = update.weights


CHANGES = st.lists(st.tuples(st.sampled_from(FUNCTIONS), st.none() | st.integers(0, 3)), max_size=20)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(CHANGES, CHANGES, CHANGES, CHANGES)
def test_a_list_beside_a_watch_reverts_nothing_and_repeats_nothing(
    before: list[Change], seen: list[Change], in_list: list[Change], later: list[Change]
) -> None:
    """A list is read at some revision while the watch delivers, behind it or ahead of it."""
    store = Store()
    for change in before:
        store.change(*change)
    first = store.revision
    for change in (*seen, *in_list, *later):
        store.change(*change)
    last = store.revision
    knowledge = Knowledge(clock=lambda: 0.0)
    zone, served = Zone(ZONE, knowledge), Served()

    async def run(list_at: int, delivered: int) -> None:
        await zone.take_list(store.listed(first), 0.0, served.publish)
        assert served.calls == 1
        assert served.table == store.served(first)
        with zone.listing():
            await zone.take_changes(store.batch(first, delivered), served.publish)
            assert served.table == store.served(delivered)
            await zone.take_list(store.listed(list_at), 0.0, served.publish)
            reached = max(list_at, delivered)
            assert knowledge.revision == reached
            assert served.table == store.served(reached)
            assert zone.keys == len(store.states[reached])
        # The watch goes on where it was, also with what the list had already.
        await zone.take_changes(store.batch(delivered, last), served.publish)
        assert served.table == store.served(last)
        assert zone.keys == len(store.states[last])
        assert knowledge.revision == last

    middle = min(first + len(seen), last)
    with capture_logs():
        trio.run(run, middle, last)
    knowledge = Knowledge(clock=lambda: 0.0)
    zone, served = Zone(ZONE, knowledge), Served()
    with capture_logs():
        trio.run(run, last, middle)


async def test_many_changes_let_others_run_but_keep_a_transaction_together() -> None:
    knowledge = Knowledge()
    zone = Zone(ZONE, knowledge)
    events = [
        Event(EventType.PUT, KeyValue(key(f"f{number}").encode(), value(1), mod_revision=2 + number // 150, version=1))
        for number in range(450)
    ]
    calls: list[int] = []
    with capture_logs():
        await zone.take_list(RangeResult(ResponseHeader(1, 1, 1, 1), 1, ()), 0.0, Served().publish)
        await zone.take_changes(WatchBatch(4, tuple(events)), lambda updates: calls.append(len(list(updates))))
    assert calls == [150, 150, 150]
    assert (knowledge.revision, zone.keys) == (4, 450)

"""What News makes of what happens: an event for each thing that somebody may want to know, and never too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from golb.admin import EventFeed, News
from golb.health import Health
from golb.updaters.refusals import Refusal
from golb.updaters.table import describe_change
from golb.weights import Fault, Weights, WeightUpdate, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


def update(function: str, revision: int, weights: dict[str, float] | None) -> WeightUpdate:
    if weights is None:
        return WeightUpdate(function, None, revision)
    return WeightUpdate(function, Weights({parse_endpoint(one): weight for one, weight in weights.items()}), revision)


async def told(*batches: Iterable[WeightUpdate]) -> list[dict[str, Any]]:
    """Return what is told of batches of updates."""

    async def following() -> AsyncIterator[dict[str, WeightUpdate]]:
        for batch in batches:
            await trio.lowlevel.checkpoint()
            yield {one.function: one for one in batch}

    feed = EventFeed()
    await News(feed).follow(following(), describe_change)
    assert {event.kind for event in feed.after(0, 999)[1]} <= {"weights"}
    return [dict(event.data) for event in feed.after(0, 999)[1]]


@pytest.mark.usefixtures("autojump_clock")
async def test_what_has_changed_is_told() -> None:
    first = update("f", 1, {"10.42.0.1:80": 3, "10.42.0.2:80": 1})
    other = update("f", 2, {"10.42.0.1:80": 1, "10.42.0.3:80": 1})
    assert await told([first], [other], [update("f", 3, None)], [first]) == [
        {"function": "f", "revision": 1, "removed": False, "changes": "+10.42.0.1:80=3 +10.42.0.2:80=1"},
        {
            "function": "f",
            "revision": 2,
            "removed": False,
            "changes": "+10.42.0.3:80=1 -10.42.0.2:80 10.42.0.1:80=3->1",
        },
        {"function": "f", "revision": 3, "removed": True, "changes": ""},
        {"function": "f", "revision": 1, "removed": False, "changes": "+10.42.0.1:80=3 +10.42.0.2:80=1"},
    ]


@pytest.mark.usefixtures("autojump_clock")
async def test_of_many_functions_that_change_at_once_the_number_is_told_and_what_they_had_is_known() -> None:
    table = [update(f"f{number}", 1, {"10.42.0.1:80": 1}) for number in range(105)]
    events = await told(table, [update("f104", 2, {"10.42.0.1:80": 2})])
    assert [event.get("function") for event in events[:100]] == [f"f{number}" for number in range(100)]
    assert events[100] == {"more_functions": 5}
    assert events[101]["changes"] == "10.42.0.1:80=1->2"


@pytest.mark.usefixtures("autojump_clock")
async def test_few_endpoints_are_described_when_somebody_asks_and_many_at_once_as_their_weights_would_be_held() -> None:
    described: list[int] = []

    def describe(_before: Weights | None, after: Weights) -> str:
        described.append(len(after.by_endpoint))
        return ""

    async def batches() -> AsyncIterator[dict[str, WeightUpdate]]:
        yield {str(count): update(str(count), 1, {f"10.42.0.{n}:80": 1 for n in range(count)}) for count in (50, 51)}

    feed = EventFeed()
    await News(feed).follow(batches(), describe)
    assert described == [51]
    for _ in range(2):
        assert [event.data["function"] for event in feed.after(0, 9)[1]] == ["50", "51"]
    assert described == [51, 50]


@pytest.mark.usefixtures("autojump_clock")
async def test_an_event_stays_short_however_many_endpoints_change() -> None:
    (event,) = await told([update("f", 1, {f"10.{n >> 8}.{n & 255}.1:80": 1 for n in range(5000)})])
    assert event["changes"].endswith(" and 4980 more")
    assert len(event["changes"]) < 1000


def test_rests_refusals_and_the_drain_are_told() -> None:
    feed = EventFeed()
    news = News(feed)
    health = Health("10.42.0.1:80", failures=3, cause="cannot connect")
    news.tell_health(health, 1.5)
    news.tell_health(health, 0.0)
    news.tell_rest("10.42.0.1:80", 1.5, 3, "cannot connect", worker=1)
    news.tell_refusal(Refusal("f", Fault.WEIGHT, "a weight is -1", 7))
    news.tell_drain()
    assert [(event.kind, dict(event.data)) for event in feed.after(0, 9)[1]] == [
        (
            "endpoint",
            {"endpoint": "10.42.0.1:80", "state": "resting", "rest_s": 1.5, "failures": 3, "cause": "cannot connect"},
        ),
        ("endpoint", {"endpoint": "10.42.0.1:80", "state": "serving", "rest_s": 0.0, "failures": 3, "cause": ""}),
        (
            "endpoint",
            {
                "worker": 1,
                "endpoint": "10.42.0.1:80",
                "state": "resting",
                "rest_s": 1.5,
                "failures": 3,
                "cause": "cannot connect",
            },
        ),
        ("refused", {"name": "f", "fault": "weight", "reason": "a weight is -1", "revision": 7}),
        ("draining", {}),
    ]

"""The description of the API: what it says is so, and nothing is left out."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from admin.fakes import running_admin
from jsonschema_rs import Draft202012Validator  # which schemathesis brings

from golb.admin import EventFeed, News
from golb.admin.event_stream import write_events
from golb.health import Health
from golb.updaters.refusals import Refusal
from golb.updaters.table import describe_change
from golb.weights import Fault, Weights, WeightUpdate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DESCRIPTION: dict[str, Any] = json.loads(files("golb.admin").joinpath("openapi.json").read_text())
OPEN_PATHS = {"/healthz", "/readyz"}


async def test_it_is_served_as_it_stands() -> None:
    async with running_admin() as admin:
        assert await admin.json("/api/openapi.json") == DESCRIPTION


async def test_each_path_is_there_for_get_only_and_needs_a_token_where_it_is_said_to() -> None:
    async with running_admin(token="c2VjcmV0") as admin:
        for path, operations in DESCRIPTION["paths"].items():
            assert operations.keys() == {"get"}
            is_open = operations["get"].get("security") == []
            assert is_open is (path in OPEN_PATHS)
            answer = await admin.client.head(path.replace("{function}", "f"))
            assert answer.status_code == (200 if is_open else 401)
            assert str(answer.status_code) in operations["get"]["responses"]


async def test_each_kind_of_event_comes_as_it_is_described() -> None:
    stream = DESCRIPTION["paths"]["/api/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    described = stream["x-events"]
    told = await events_of_all_kinds()
    assert {kind for kind, _ in told} == set(described)
    for kind, data in told:
        # It refers to what stands beside it.
        Draft202012Validator(described[kind] | {"components": DESCRIPTION["components"]}).validate(data)


async def events_of_all_kinds() -> list[tuple[str, Any]]:
    """Return the kind and the data of events as they are sent, each kind in all its forms."""

    async def batches() -> AsyncIterator[dict[str, WeightUpdate]]:
        await trio.lowlevel.checkpoint()
        yield {f"f{number}": WeightUpdate(f"f{number}", Weights({}), 7) for number in range(30)}
        yield {"f0": WeightUpdate("f0", None, 8)}

    feed, health = EventFeed(kept=40), Health("10.42.0.1:80", failures=3, cause="cannot connect")
    news = News(feed)
    text = bytearray()

    async def send_piece(piece: bytes) -> None:
        text.extend(piece)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_events, feed, None, send_piece)  # of an earlier process
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(50):
            news.tell_drain()
        news.tell_health(health, 1.5)
        news.tell_health(health, 0.0)
        news.tell_rest(health.name, 1.5, 3, "cannot connect", worker=1)
        news.tell_refusal(Refusal("f", Fault.WEIGHT, "a weight is -1", 7))
        await news.follow(batches(), describe_change)
        while b'"f0","revision":8' not in text:
            await trio.testing.wait_all_tasks_blocked(0.1)
        nursery.cancel_scope.cancel()
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.decode().split("\n\n")[1:-1]]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def test_all_that_is_referred_to_is_there_and_all_that_is_there_is_referred_to() -> None:
    components = DESCRIPTION["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in components[kind]}
    assert set(references(DESCRIPTION)) == there


def test_each_object_says_what_each_member_means_and_has_no_others() -> None:
    for schema in objects(DESCRIPTION["components"]["schemas"]):
        assert schema["required"] is not None
        for member in schema["properties"].values():
            assert "$ref" in member or member["description"]


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for one in part for found in references(one)]
    if not isinstance(part, dict):
        return []
    return [part["$ref"]] if "$ref" in part else references(list(part.values()))


def objects(part: Any) -> list[dict[str, Any]]:
    """Return all schemas of objects with members."""
    if isinstance(part, list):
        return [found for one in part for found in objects(one)]
    if not isinstance(part, dict):
        return []
    own = [part] if isinstance(part.get("properties"), dict) and part.get("type") == "object" else []
    return own + objects(list(part.values()))

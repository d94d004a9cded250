"""The description of the API: what it says is so, and nothing is left out."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from admin.fakes import running_admin

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

"""What may be asked, and what is said where it may not: GET and HEAD only, problem documents for the rest."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
from admin.fakes import FakeParts, report, running_admin
from support.wire import connect

PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/status",
    "/api/functions",
    "/api/functions/f",
    "/api/events",
    "/api/openapi.json",
]


def with_function() -> FakeParts:
    parts = FakeParts()
    parts.handler.add(report("f", "10.42.0.5:8080"))
    return parts


async def test_head_answers_as_get_without_a_body_and_the_connection_goes_on() -> None:
    async with running_admin(with_function()) as admin, await connect(admin.port) as wire:
        for path in PATHS * 2:
            await wire.send(b"HEAD %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            assert (await wire.read_response(to=b"HEAD")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(method: str) -> None:
    async with running_admin(with_function()) as admin:
        for path in PATHS:
            answer = await admin.client.request(method, path)
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json() == {
                "type": "about:blank",
                "title": "Method Not Allowed",
                "status": 405,
                "detail": "the admin port changes nothing; it takes GET and HEAD",
            }


async def test_other_paths_are_not_found() -> None:
    paths = [b"/api", b"/api/", b"/api/status/", b"//", b"/function/f", b"/api/functions/a/b", b"/api/functions/"]
    async with running_admin(with_function()) as admin, await connect(admin.port) as wire:
        for path in paths:
            await wire.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            answer = await wire.read_response()
            assert answer.status == 404
            assert answer.head.values(b"Content-Type") == [b"application/problem+json"]


async def test_a_limit_that_is_none_is_refused() -> None:
    queries = ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=%D9%A1", "limit=1&limit=2"]
    async with running_admin(with_function()) as admin:
        for query in queries:
            answer = await admin.client.get(f"/api/functions?{query}")
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith("limit ")


async def test_a_failure_is_told_as_a_problem_and_logged() -> None:
    def fail() -> bool:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as log:
        async with running_admin(is_loaded=fail) as admin:
            answer = await admin.client.get("/readyz")
            assert (await admin.client.get("/healthz")).status_code == 200
    assert [line["event"] for line in log] == ["request failed"]
    assert answer.status_code == 500
    assert answer.json()["detail"] == "golb failed to answer; its log says why"


async def test_pages_that_are_made_at_once_are_few_and_the_others_are_told_to_come_again(
    nursery: trio.Nursery,
) -> None:
    parts = FakeParts()
    parts.handler.add(*(report(f"f{number}", "10.42.0.5:8080") for number in range(200)))
    answers: list[int] = []

    async with running_admin(parts) as admin:

        async def ask() -> None:
            async with await connect(admin.port) as wire:
                await wire.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = await wire.read_response()
                answers.append(answer.status)
                if answer.status == 503:
                    assert answer.head.values(b"Retry-After") == [b"1"]

        async with trio.open_nursery() as asking:
            for _ in range(15):
                asking.start_soon(ask)
    assert sorted(answers) == [200] * 10 + [503] * 5

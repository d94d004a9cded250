"""Who may ask, and how answers are hardened."""

from __future__ import annotations

import pytest
from admin.fakes import running_admin

from golb.admin.guard import is_loopback

TOKEN = "c2VjcmV0LXRva2Vu"
DATA_PATHS = ["/metrics", "/api/status", "/api/functions", "/api/functions/f", "/api/events", "/api/openapi.json"]


async def test_with_a_token_set_it_is_needed_for_all_data() -> None:
    async with running_admin(token=TOKEN) as admin:
        for path in [*DATA_PATHS, "/nothing"]:
            answer = await admin.client.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="golb"'
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 401


async def test_health_and_the_page_without_data_need_no_token() -> None:
    async with running_admin(token=TOKEN) as admin:
        for path in ("/healthz", "/readyz", "/"):
            assert (await admin.client.get(path)).status_code == 200


async def test_the_token_opens() -> None:
    async with running_admin(token=TOKEN) as admin:
        for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
            assert (await admin.client.get("/api/status", headers={"authorization": value})).status_code == 200


async def test_another_token_does_not_open() -> None:
    async with running_admin(token=TOKEN) as admin:
        for value in ("Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}"):
            answer = await admin.client.get("/api/status", headers={"authorization": value})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="golb", error="invalid_token"'


async def test_of_two_tokens_none_counts() -> None:
    headers = [("authorization", "Bearer x"), ("authorization", f"Bearer {TOKEN}")]
    async with running_admin(token=TOKEN) as admin:
        assert (await admin.client.get("/api/status", headers=headers)).status_code == 401


async def test_on_loopback_without_a_token_a_loopback_host_is_answered() -> None:
    async with running_admin() as admin:
        for host in ("localhost:8081", "127.0.0.1", "[::1]:9", "LOCALHOST", "golb.localhost", "127.9.9.9:1"):
            assert (await admin.client.get("/api/status", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("path", ["/api/status", "/readyz", "/"])
async def test_on_loopback_without_a_token_a_name_that_only_points_to_it_is_refused(path: str) -> None:
    hosts = ("evil.example", "evil.example:8081", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example")
    async with running_admin() as admin:
        for host in hosts:
            answer = await admin.client.get(path, headers={"host": host})
            assert answer.status_code == 421
            assert answer.json()["title"] == "Misdirected Request"


async def test_with_a_token_any_host_will_do() -> None:
    headers = {"host": "golb.example", "authorization": f"Bearer {TOKEN}"}
    async with running_admin(token=TOKEN) as admin:
        assert (await admin.client.get("/api/status", headers=headers)).status_code == 200


async def test_on_other_addresses_any_host_will_do() -> None:
    async with running_admin(local_only=False) as admin:
        assert (await admin.client.get("/api/status", headers={"host": "golb.example"})).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/status", "/api/functions"])
async def test_a_query_of_very_many_parameters_is_refused_before_it_is_taken_apart(path: str) -> None:
    async with running_admin() as admin:
        answer = await admin.client.get(f"{path}?{'a&' * 10_000}")
    assert (answer.status_code, answer.json()["detail"]) == (400, "a query has 16 parameters at most")


async def test_each_answer_is_hardened() -> None:
    async with running_admin() as admin:
        for path in ("/", "/healthz", "/metrics", "/api/status", "/api/functions", "/nothing"):
            headers = (await admin.client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost."])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example"])
def test_what_is_not_loopback_is_not_taken_for_it(host: str) -> None:
    assert not is_loopback(host)

"""What the API tells of golb and of its functions."""

from __future__ import annotations

import time
from typing import Any

import pytest
from admin.fakes import NOW_S, FakeParts, called, endpoint_report, report, running_admin

from golb.weights import Fault


async def names(admin: Any, query: str) -> list[str]:
    page = await admin.json(f"/api/functions?{query}")
    return [one["function"] for one in page["functions"]]


async def test_the_status_tells_who_golb_is_and_what_it_knows() -> None:
    parts = FakeParts()
    parts.knowledge.opened("http://etcd:2379")
    parts.knowledge.confirm("etcd", cluster_id=2**63 + 1, revision=17, at=99.0)
    async with running_admin(parts) as admin:
        told = await admin.json("/api/status")
    assert (told["node"], told["zone"], told["version"]) == ("eb-a", "zone-a", "1.2.3")
    assert told["is_ready"] is True
    assert told["is_draining"] is False
    assert told["knowledge"] == {
        "source": "etcd",
        "cluster_id": "9223372036854775809",
        "revision": 17,
        "age_s": 1.0,
        "connection": "open",
        "member": "http://etcd:2379",
        "cause": "",
        "connects": 1,
        "losses": 0,
    }
    assert told["connections"] == {"limit": 100, "open": 4, "accepted": 50, "delayed": 2, "closed_for_room": 1}
    assert told["totals"] == parts.handler.totals()
    assert told["now_s"] > told["started_s"]


async def test_the_status_tells_what_is_refused_and_why() -> None:
    parts = FakeParts()
    for number in range(150):
        parts.refused.add(f"f{number}", Fault.WEIGHT, "a weight is -1", number, value_hash=number, kept=True)
    async with running_admin(parts) as admin:
        told = await admin.json("/api/status")
    assert (told["refused_keys"], told["refused_puts"]) == (150, {"weight": 150})
    assert len(told["refused"]) == 100
    assert told["refused"][0] == {"name": "f0", "fault": "weight", "reason": "a weight is -1", "revision": 0}


async def test_where_nothing_can_be_refused_the_status_says_so() -> None:
    async with running_admin(refused=None) as admin:
        told = await admin.json("/api/status")
    assert (told["refused"], told["refused_keys"], told["refused_puts"]) == ([], 0, {})


async def test_functions_come_in_pages_by_name() -> None:
    parts = FakeParts()
    parts.handler.add(*(report(name) for name in ("d", "b", "größe", "a", "c")))
    async with running_admin(parts) as admin:
        page = await admin.json("/api/functions?limit=2")
        assert [one["function"] for one in page["functions"]] == ["a", "b"]
        assert (page["matching"], page["next"]) == (5, "b")
        assert await names(admin, "limit=2&after=b") == ["c", "d"]
        last = await admin.json("/api/functions?limit=2&after=d")
    assert [one["function"] for one in last["functions"]] == ["größe"]
    assert last["next"] is None


async def test_a_page_that_is_full_to_the_last_function_is_the_last() -> None:
    parts = FakeParts()
    parts.handler.add(report("a"), report("b"))
    async with running_admin(parts) as admin:
        assert (await admin.json("/api/functions?limit=2"))["next"] is None


async def test_without_functions_there_is_an_empty_page() -> None:
    async with running_admin() as admin:
        assert await admin.json("/api/functions") == {"matching": 0, "next": None, "functions": []}


async def test_functions_are_searched_by_a_part_of_their_name_in_any_case() -> None:
    parts = FakeParts()
    parts.handler.add(report("ResNet-50"), report("mobilenet"), report("hello"))
    async with running_admin(parts) as admin:
        assert await names(admin, "search=NET") == ["ResNet-50", "mobilenet"]
        assert await names(admin, "search=none") == []
        assert (await admin.json("/api/functions?search=net&after=ResNet-50"))["matching"] == 2


async def test_all_pages_together_are_all_functions() -> None:
    parts = FakeParts()
    expected = sorted(f"f{number * 7919 % 2101}" for number in range(2101))
    parts.handler.add(*(report(name) for name in expected))
    found: list[str] = []
    async with running_admin(parts) as admin:
        after: str | None = ""
        while after is not None:
            page = await admin.json("/api/functions", params={"after": after, "limit": 1000})
            found += [one["function"] for one in page["functions"]]
            after = page["next"]
    assert found == expected


async def test_a_function_is_told_whole_with_its_weights_of_late() -> None:
    parts = FakeParts()
    told = report("f", "10.42.0.5:8080", stats=called(3))
    parts.handler.add(told)
    parts.put_weights("f", '{"ips": ["10.42.0.5:8080"], "weights": [3]}', 6, NOW_S)
    parts.put_weights("f", '{"ips": ["10.42.0.5:8080", "10.42.0.6"], "weights": [3, 0.5]}', 7, NOW_S + 1)
    async with running_admin(parts) as admin:
        found = await admin.json("/api/functions/f")
    assert found == told | {
        "history": [
            {"at_s": NOW_S, "revision": 6, "weights": {"10.42.0.5:8080": 3}},
            {"at_s": NOW_S + 1, "revision": 7, "weights": {"10.42.0.5:8080": 3, "10.42.0.6:80": 0.5}},
        ]
    }


@pytest.mark.parametrize(("history_s", "revisions"), [("", [1, 2, 3]), ("100", [1, 2, 3]), ("50", [2, 3]), ("0", [3])])
async def test_a_history_goes_as_far_back_as_is_asked_for_and_begins_with_what_was_in_force(
    history_s: str, revisions: list[int]
) -> None:
    parts = FakeParts()
    parts.handler.add(report("f"))
    for revision, ago_s in enumerate((90, 60, 30), 1):
        parts.put_weights("f", '{"ips": [], "weights": []}', revision, time.time() - ago_s)
    async with running_admin(parts) as admin:
        found = await admin.json("/api/functions/f", params={"history_s": history_s} if history_s else {})
    assert [change["revision"] for change in found["history"]] == revisions


async def test_a_history_that_is_none_is_refused() -> None:
    parts = FakeParts()
    parts.handler.add(report("f"))
    async with running_admin(parts) as admin:
        for text in ("-1", "x", "1e3", "9999999999"):
            answer = await admin.client.get(f"/api/functions/f?history_s={text}")
            assert (answer.status_code, answer.json()["detail"][:10]) == (400, "history_s ")


async def test_all_endpoints_of_a_function_are_told_however_many_they_are() -> None:
    parts = FakeParts()
    authorities = [f"10.42.{number // 250}.{number % 250}:80" for number in range(1001)]
    parts.handler.add(report("f", *authorities), report("g"))
    async with running_admin(parts) as admin:
        one = await admin.json("/api/functions/f")
        page = await admin.json("/api/functions")
    assert [endpoint["endpoint"] for endpoint in one["endpoints"]] == authorities
    assert page["functions"] == [parts.handler.reports["f"], parts.handler.reports["g"]]


async def test_pages_come_without_the_history() -> None:
    parts = FakeParts()
    parts.handler.add(report("f", history=[]))
    async with running_admin(parts) as admin:
        page = await admin.json("/api/functions")
    assert "history" not in page["functions"][0]


async def test_a_function_is_found_by_its_name_percent_encoded() -> None:
    names = ("größe", "a%2Fb", "a b", "f?x", "a+b", "%", '"', "...")
    parts = FakeParts()
    parts.handler.add(*map(report, names))
    async with running_admin(parts) as admin:
        for name in names:
            encoded = "".join(f"%{byte:02X}" for byte in name.encode())
            assert (await admin.json(f"/api/functions/{encoded}"))["function"] == name


async def test_a_function_that_is_not_there_is_not_found() -> None:
    async with running_admin() as admin:
        answer = await admin.client.get("/api/functions/f")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "zone zone-a has no function of that name"


async def test_a_resting_endpoint_says_why_and_for_how_long() -> None:
    parts = FakeParts()
    rest = {"for_s": 3.2, "failures": 5, "cause": "cannot connect: Connection refused"}
    parts.handler.add(report("f", endpoints=[endpoint_report("10.42.0.5:8080", state="resting", rest=rest)]))
    async with running_admin(parts) as admin:
        assert (await admin.json("/api/functions/f"))["endpoints"][0]["rest"] == rest

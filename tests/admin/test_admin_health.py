"""Whether golb is alive and ready, as probes ask."""

from __future__ import annotations

from admin.fakes import FakeParts, running_admin


async def test_golb_is_alive() -> None:
    async with running_admin() as admin:
        assert await admin.json("/healthz") == {"alive": True}


async def test_golb_is_ready_with_a_table_and_says_from_where() -> None:
    parts = FakeParts()
    parts.knowledge.confirm("etcd", cluster_id=1, revision=17, at=98.5)
    async with running_admin(parts) as admin:
        assert await admin.json("/readyz") == {
            "is_ready": True,
            "reason": None,
            "source": "etcd",
            "revision": 17,
            "age_s": 1.5,
        }


async def test_golb_is_ready_with_old_weights_from_disk() -> None:
    parts = FakeParts()
    parts.knowledge.take_from_disk(cluster_id=1, revision=17, age_s=3600)
    parts.knowledge.lost("cannot connect")
    async with running_admin(parts) as admin:
        told = await admin.json("/readyz")
    assert (told["is_ready"], told["source"], told["age_s"]) == (True, "disk", 3600)


async def test_without_a_table_golb_is_not_ready_and_says_why() -> None:
    parts = FakeParts(is_loaded=False)
    parts.knowledge.lost("cannot connect: Connection refused")
    async with running_admin(parts) as admin:
        answer = await admin.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "is_ready": False,
        "reason": "the weights have not been loaded yet: cannot connect: Connection refused",
        "source": "none",
        "revision": 0,
        "age_s": None,
    }


async def test_while_it_drains_golb_is_alive_and_not_ready() -> None:
    async with running_admin(FakeParts(is_draining=True)) as admin:
        answer = await admin.client.get("/readyz")
        alive = await admin.client.get("/healthz")
    assert (answer.status_code, alive.status_code) == (503, 200)
    assert answer.json()["reason"] == "golb is draining: it finishes what is under way and ends"

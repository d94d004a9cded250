"""An admin port over parts that say what a test wants, served by golb's own server on a free port of loopback."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from attrs import Factory, asdict, define, evolve, frozen
from support.stack import running_server

from golb.admin import EventFeed, OwnFunctions, Sources, own_connections
from golb.admin.app import AdminApplication
from golb.history import WeightHistory
from golb.stats import EndpointStats, FunctionStats
from golb.updaters.knowledge import Knowledge
from golb.updaters.refusals import Refusals
from golb.weights import WeightUpdate, parse_weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from golb.history import Change

NOW_S = 1_795_506_240.25


def report(function: str, *endpoints: str, stats: FunctionStats | None = None, **members: Any) -> dict[str, Any]:
    """Return what a handler tells of a function that has these endpoints, each of weight 1."""
    told: dict[str, Any] = {
        "function": function,
        "revision": 7,
        "updated_s": NOW_S,
        "limits": {"max_inflight": None, "queue": None, "timeout_s": None},
        "in_flight": 0,
        "waiting": 0,
        "panicking": False,
        **(stats or FunctionStats()).report(),
        "endpoints": [endpoint_report(endpoint, share=1 / len(endpoints)) for endpoint in endpoints],
    }
    return told | members


def endpoint_report(endpoint: str, stats: EndpointStats | None = None, **members: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "endpoint": endpoint,
        "gateway": False,
        "weight": 1,
        "share": 1.0,
        "state": "serving",
        **(stats or EndpointStats(endpoint)).report(),
        "in_flight": 0,
        "rest": None,
    }
    return told | members


def called(times: int) -> FunctionStats:
    """Return the counts of a function that has been called so often, for 3 ms each."""
    stats = FunctionStats()
    for _ in range(times):
        stats.count(200, 0.003, 0.002, 0.00007)
    return stats


@define
class FakeHandler:
    reports: dict[str, dict[str, Any]] = Factory(dict)
    history: WeightHistory = Factory(WeightHistory)

    def add(self, *reports: dict[str, Any]) -> None:
        self.reports |= {one["function"]: one for one in reports}

    def function_names(self) -> list[str]:
        return list(self.reports)

    def function_report(self, function: str) -> dict[str, Any] | None:
        return self.reports.get(function)

    def weight_changes(self, function: str) -> list[Change]:
        return self.history.of(function)

    def totals(self) -> dict[str, Any]:
        return {
            "functions": len(self.reports),
            "in_flight": 5,
            "waiting": 1,
            "held": 2,
            "unknown_function": 7,
            "no_function_call": 3,
            "second_tries": {"in_use": 1, "begun": 4, "exhausted": 6},
            "resting": 8,
            "rests_begun": 9,
        }


@define
class FakeAdmission:
    limit: int = 100
    open: int = 4
    accepted: int = 50
    delayed: int = 2
    closed_for_room: int = 1

    def report(self) -> dict[str, int]:
        return asdict(self)


@define
class FakeParts:
    """All that the admin port reads, for a test to change."""

    handler: FakeHandler = Factory(FakeHandler)
    knowledge: Knowledge = Factory(lambda: Knowledge(clock=lambda: 100.0))
    refused: Refusals = Factory(Refusals)
    admission: FakeAdmission = Factory(FakeAdmission)
    events: EventFeed = Factory(lambda: EventFeed(wall_clock=lambda: NOW_S))
    is_loaded: bool = True
    is_draining: bool = False

    def sources(self) -> Sources:
        return Sources(
            node="eb-a",
            zone="zone-a",
            version="1.2.3",
            started_s=NOW_S - 60,
            functions=OwnFunctions(self.handler),
            knowledge=self.knowledge,
            refused=self.refused,
            connections=partial(own_connections, self.admission),
            is_draining=lambda: self.is_draining,
            is_loaded=lambda: self.is_loaded,
            events=self.events,
        )

    def put_weights(self, function: str, value: str, revision: int, at_s: float) -> None:
        self.handler.history.add(WeightUpdate(function, parse_weights(value), revision), at_s)


@frozen
class RunningAdmin:
    parts: FakeParts
    port: int
    client: httpx.AsyncClient
    """Has the port as its base."""

    async def json(self, path: str, **arguments: Any) -> Any:
        """Return what the path answers, which has to be 200."""
        answer = await self.client.get(path, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def running_admin(
    parts: FakeParts | None = None,
    *,
    token: str | None = None,
    local_only: bool = True,
    endpoint_label: bool = True,
    **changes: Any,
) -> AsyncIterator[RunningAdmin]:
    """Serve the admin port; `changes` are of its sources."""
    parts = parts or FakeParts()
    sources = evolve(parts.sources(), **changes)
    application = AdminApplication(sources, token=token, local_only=local_only, endpoint_label=endpoint_label)
    async with (
        running_server(application) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=5, verify=False) as client,
    ):
        yield RunningAdmin(parts, server.port, client)

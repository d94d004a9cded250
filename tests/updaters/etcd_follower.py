"""A weight updater on an etcd, in a test: what it publishes, what it logs, what it knows."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from structlog.testing import capture_logs
from support.following import Following, wait_for_logs

from golb.config import Config
from golb.updaters import EtcdWeightUpdater
from golb.weights import Endpoint, Weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence

    from support.following import Logs

    from golb.updaters import Knowledge

ZONE = "zone-a"
A = Endpoint("10.42.0.5", 8080)
LIFE_S = 40


def key(function: str) -> str:
    return f"golb/function/{ZONE}/{function}"


def value(weight: float) -> bytes:
    """Return weights of A."""
    return json.dumps({"ips": [str(A)], "weights": [weight]}).encode()


def weights(weight: float) -> Weights:
    return Weights({A: weight})


class Follower(Following):
    """What follows zone-a."""

    def __init__(self, updater: EtcdWeightUpdater, logs: Logs) -> None:
        super().__init__()
        self.updater = updater
        self.logs = logs

    @property
    def knowledge(self) -> Knowledge:
        return self.updater.knowledge

    async def logged(self, event: str, count: int = 1, **fields: str) -> MutableMapping[str, Any]:
        """Wait until an event was logged so many times, with fields that begin so; return the last of these."""
        return (await wait_for_logs(self.logs, count, event=event, **fields))[count - 1]

    def all_logged(self, event: str) -> Sequence[MutableMapping[str, Any]]:
        return [log for log in self.logs if log["event"] == event]

    async def confirmed_after(self, at: float) -> None:
        """Wait until what is served was confirmed for a moment after `at`."""
        while self.knowledge.confirmed_at <= at:  # noqa: ASYNC110 - it sets no event
            await trio.sleep(0.01)


@asynccontextmanager
async def following(
    *hosts: str, timeout_s: float = 2.0, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Follower]:
    """Run an updater on zone-a; `variables` of golb's are named without their prefix."""
    environ = {"eb_go_lb_zone": ZONE, "eb_go_lb_etcd_host": " ".join(hosts), "eb_go_lb_etcd_timeout": str(timeout_s)}
    environ |= {f"eb_go_lb_{name}": text for name, text in (variables or {}).items()}
    with capture_logs() as logs, trio.fail_after(LIFE_S):
        follower = Follower(EtcdWeightUpdater(Config.from_environ(environ)), logs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.updater.run, follower.publish)
            yield follower
            nursery.cancel_scope.cancel()

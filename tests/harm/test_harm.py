"""`make harm` at a small scale, in every test run: endpoints that fail, clients that mean harm, and golb replaced under load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harm import failing, flood, restarts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.etcd import EtcdProcess
    from harm.verdicts import Verdict


# Under load second tries take as long as everything else does, and more of them are under way than the usual few.
_FAILOVER = {"rest_max": "1", "retry_budget_min": "50"}


def _check(verdicts: Sequence[Verdict], said: Sequence[str]) -> None:
    broken = [f"{verdict.promise}: {verdict.seen}" for verdict in verdicts if not verdict.kept]
    assert not broken, "\n".join([*broken, *said])


async def test_calls_go_on_while_one_endpoint_is_dead_and_one_hangs(etcd: EtcdProcess) -> None:
    said: list[str] = []
    options = failing.Options(
        weights=(2, 1, 1),
        seconds=3.6,
        rate_rps=100,
        response_timeout_s=0.5,
        share_window_s=0.6,
        # In so short a time the few calls that try the one that hangs are one in a hundred.
        noise_s=1.0,
        late_s=3.0,
        pinned=False,
    )
    _check(await failing.run_failing(etcd, options, said.append, _FAILOVER), said)


async def test_attackers_neither_hold_up_others_nor_the_end(etcd: EtcdProcess) -> None:
    said: list[str] = []
    # The other tests may have the machine at the same moment: the bounds tell a golb that waits from one that is slow.
    options = flood.Options(
        slow=200,
        stopped=50,
        flood_rps=100,
        seconds=1.0,
        drain_timeout_s=0.5,
        after_drain_s=4.0,
        p99_s=0.5,
        pinned=False,
    )
    _check(await flood.run_flood(etcd, options, said.append, {}), said)


async def test_neither_restarts_nor_killed_workers_cost_a_call_but_those_in_their_hands(etcd: EtcdProcess) -> None:
    said: list[str] = []
    options = restarts.Options(restarts=2, kills=2, seconds=3.0, kept=16, fresh=4, late_s=3.0)
    _check(await restarts.run_restarts(etcd, options, said.append, {}), said)

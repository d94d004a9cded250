"""Scenario `replaced`: endpoints die, and only seconds later their key names the new ones that stand in for them.

An endpoint dies by kill -9, so a POST that it had in its hands at that moment can neither be answered nor sent again: it
may have had its effect. Such a call is counted apart. Every other one has to be answered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from attrs import evolve, frozen

from harm.arena import open_arena
from harm.calls import Call, delivered_twice
from harm.traffic import Load, reasons
from harm.verdicts import Verdict, share_text
from harm.vitals import telling_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from demo.etcd import EtcdProcess
    from harm.arena import Arena
    from harm.processes import Endpoint

IN_HANDS_S = 0.25
"""A call that was begun earlier than this before a death was answered by then, or was not in the endpoint's hands."""

_ENDPOINTS = 3


@frozen(kw_only=True)
class Options:
    """What is done; the defaults are the issue's."""

    times: int = 20
    dead_s: float = 5.0
    """From an endpoint's death until its key is rewritten."""
    rate_rps: float = 200.0

    def scaled(self, scale: float) -> Options:
        """Return the same with keys that are rewritten sooner."""
        return evolve(self, dead_s=self.dead_s * scale)


@frozen
class Death:
    """Of an endpoint; moments are seconds of the monotonic clock."""

    endpoint: str
    began: float
    ended: float
    """When it was gone, and its connections with it."""


async def run_replaced(
    etcd: EtcdProcess, options: Options, say: Callable[[str], None], variables: Mapping[str, str]
) -> list[Verdict]:
    """Run it, and judge what was seen."""
    async with open_arena(etcd, [1] * _ENDPOINTS, variables) as arena:
        load = Load(arena.golb.port, options.rate_rps)
        with telling_turns(arena.golb, say):
            async with trio.open_nursery() as nursery:
                await nursery.start(load.run)
                deaths = await _replace(arena, options, say)
                load.stop()
        delivered = [number for number, method in arena.deliveries() if method == "POST"]
    for line in reasons([call for call in load.calls if call.failed]):
        say(line)
    return [load.verdict(), no_call_failed(load.calls, deaths), _none_delivered_twice(delivered)]


async def _replace(arena: Arena, options: Options, say: Callable[[str], None]) -> list[Death]:
    alive = list(arena.endpoints)
    deaths = []
    await trio.sleep(options.dead_s)
    for number in range(options.times):
        dying: Endpoint = alive.pop(0)
        began = time.monotonic()
        dying.kill()
        deaths.append(Death(dying.authority, began, time.monotonic()))
        rewritten = trio.current_time() + options.dead_s
        alive.append(await arena.add_endpoint())
        await trio.sleep_until(rewritten)
        await arena.put(dict.fromkeys((endpoint.authority for endpoint in alive), 1))
        say(f"{number + 1} of {options.times}: {dying.authority} is replaced by {alive[-1].authority}")
    await trio.sleep(min(1.0, options.dead_s))
    return deaths


def no_call_failed(calls: Sequence[Call], deaths: Sequence[Death]) -> Verdict:
    """Judge by all calls; a POST that was under way to an endpoint when it was killed is no failure of golb's."""
    failed = [call for call in calls if call.failed]
    lost = [call for call in failed if call.method == "POST" and _was_in_hands(call, deaths)]
    text = f"{share_text(len(failed) - len(lost), len(calls))} failed"
    if lost:
        text += f"; {len(lost)} POST died with their endpoints"
    return Verdict(f"{len(deaths)} deaths fail no request", text, kept=bool(calls) and len(failed) == len(lost))


def _was_in_hands(call: Call, deaths: Sequence[Death]) -> bool:
    return any(
        death.endpoint == call.endpoint
        and death.began - IN_HANDS_S <= call.began <= death.ended
        and call.ended >= death.began
        for death in deaths
    )


def _none_delivered_twice(delivered: Sequence[int]) -> Verdict:
    twice = delivered_twice(delivered)
    text = f"{share_text(len(twice), len(delivered))} twice"
    return Verdict("no POST is delivered twice", text, kept=bool(delivered) and not twice)

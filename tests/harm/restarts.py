"""Scenario `restarts`: golb is replaced by SIGUSR2 again and again, and in between single workers of it are killed.

Each restart leaves another process that serves, which golb's log names; so it has to be followed. At the end the last one is
told to stop, and nothing may be left.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field, frozen
from support.golb_family import whole_family

from benchmarks.figures import percentile
from harm.arena import open_arena
from harm.endpoint import SLOW_S
from harm.killing import kill_worker
from harm.traffic import LATE_S
from harm.verdicts import Verdict
from harm.visitors import Visitors
from harm.visits import all_seen_to_fail, none_delivered_twice, none_failed, none_refused, pace, reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from support.golb_family import GolbFamily
    from support.golb_process import GolbProcess

    from demo.etcd import EtcdProcess
    from harm.visits import Kill

_ENDPOINTS = 3
# golb itself gives a successor as much.
_RESTART_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05
_DRAIN_GRACE_S = 5.0
_DRAIN_TIMEOUT_S = 10.0


@frozen(kw_only=True)
class Options:
    """What is done; the defaults are the issue's."""

    restarts: int = 30
    kills: int = 30
    """With several workers; a golb without workers would be gone."""
    seconds: float = 300.0
    """In which all of it is done, in turns."""
    workers: int = 2
    kept: int = 64
    fresh: int = 16
    late_s: float = LATE_S
    """By how much a call may begin too late."""

    def scaled(self, scale: float) -> Options:
        """Return the same with fewer of them, in less time."""
        return evolve(
            self,
            restarts=max(1, round(self.restarts * scale)),
            kills=round(self.kills * scale),
            seconds=self.seconds * scale,
        )


@define
class Serving:
    """The golb that serves now, of those that have followed each other."""

    golb: GolbProcess
    """The first one; all of them write to its log."""
    family: GolbFamily
    pid: int
    restarts_s: list[float] = field(factory=list)
    """How long each restart took, from the signal on."""

    async def restart(self) -> bool:
        """Have it replaced; return whether it was."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGUSR2)
        done = len(self.restarts_s)
        with trio.move_on_after(_RESTART_TIMEOUT_S):
            while len(successors := self._told("successor serves")) == done:  # noqa: ASYNC110 - another process
                await trio.sleep(_LOOK_EVERY_S)
            self.pid = successors[-1]
            self.restarts_s.append(time.monotonic() - began)
            return True
        return False

    async def kill_worker(self, turn: int) -> Kill:
        """Kill one of its workers, each in its turn."""
        workers = self.family.workers(self.pid)
        index = list(workers)[turn % len(workers)]
        pid = workers[index]

        def is_replaced() -> bool:
            return self.family.workers(self.pid).get(index, pid) in {*self._told("worker serves")} - {pid}

        return await kill_worker(pid, self.golb.port, is_replaced)

    async def stop(self) -> list[int]:
        """Tell it to stop; return those that are left when it should have ended."""
        os.kill(self.pid, signal.SIGTERM)
        with trio.move_on_after(_DRAIN_TIMEOUT_S + _DRAIN_GRACE_S):
            while self.family.pids():  # noqa: ASYNC110 - the kernel's
                await trio.sleep(_LOOK_EVERY_S)
        return self.family.pids()

    def _told(self, message: str) -> list[int]:
        return [line["pid"] for line in self.golb.log() if line["message"] == message]


async def run_restarts(
    etcd: EtcdProcess, options: Options, say: Callable[[str], None], variables: Mapping[str, str]
) -> list[Verdict]:
    """Run it, and judge what was seen."""
    settings: dict[str, str | int] = {"workers": options.workers, "drain_timeout": f"{_DRAIN_TIMEOUT_S:g}", **variables}
    killed = options.kills if int(settings["workers"]) > 1 else 0
    kills: list[Kill] = []
    async with open_arena(etcd, [1] * _ENDPOINTS, settings, pinned=False) as arena:
        with whole_family(arena.golb.port) as family:
            serving = Serving(arena.golb, family, arena.golb.pid)
            visitors = Visitors(arena.golb.port, options.kept, options.fresh)
            async with trio.open_nursery() as nursery:
                await nursery.start(visitors.run)
                await _harm(serving, evolve(options, kills=killed), kills, say)
                visitors.stop()
            left = await serving.stop()
            errors = [line["message"] for line in arena.golb.log() if "exception" in line]
        delivered = [number for number, method in arena.deliveries() if method == "POST"]
    visits = visitors.visits
    for line in reasons(visits, kills):
        say(line)
    say(pace(visits, SLOW_S))
    return [
        visitors.verdict(options.late_s),
        _all_replaced(serving.restarts_s, options.restarts),
        *_all_stood_in_for(kills, killed),
        none_refused(visits),
        none_failed(visits, kills),
        all_seen_to_fail(visits),
        none_delivered_twice(delivered),
        Verdict("no process logs a traceback", f"{len(errors)} {', '.join(errors[:3])}".strip(), kept=not errors),
        Verdict("the last golb ends on SIGTERM, and nothing is left", f"{len(left)} processes left", kept=not left),
    ]


async def _harm(serving: Serving, options: Options, kills: list[Kill], say: Callable[[str], None]) -> None:
    """Restart and kill in turns, evenly over the time."""
    step_s = options.seconds / (options.restarts + options.kills + 1)
    due = trio.current_time()

    async def wait() -> None:
        nonlocal due
        # A restart that took long does not take the next one's time, so that clients are back where they belong.
        due = max(due + step_s, trio.current_time() + step_s / 2)
        await trio.sleep_until(due)

    for turn in range(max(options.restarts, options.kills)):
        if turn < options.restarts:
            await wait()
            if not await serving.restart():
                return
            say(f"restart {turn + 1} of {options.restarts}: {serving.pid} serves after {serving.restarts_s[-1]:.1f} s")
        if turn < options.kills:
            await wait()
            kills.append(kill := await serving.kill_worker(turn))
            say(f"kill {turn + 1} of {options.kills}: {kill.pid} had {len(kill.client_ports)} connections")
    await wait()


def _all_replaced(restarts_s: Sequence[float], due: int) -> Verdict:
    text = f"{len(restarts_s)} of {due}"
    if restarts_s:
        text += f", within {percentile(restarts_s, 0.5):.1f} s mostly, {max(restarts_s):.1f} s at most"
    return Verdict("each SIGUSR2 has a successor serve", text, kept=len(restarts_s) == due)


def _all_stood_in_for(kills: Sequence[Kill], due: int) -> list[Verdict]:
    if not due:
        return []
    times_s = [kill.replaced_s for kill in kills if kill.replaced_s is not None]
    text = f"{len(times_s)} of {due}"
    if times_s:
        text += f", after {percentile(times_s, 0.5):.1f} s mostly, {max(times_s):.1f} s at most"
    return [Verdict("each worker that is killed has another one serve in its place", text, len(times_s) == due)]

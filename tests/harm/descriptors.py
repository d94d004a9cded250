"""Scenario `descriptors`: more clients than golb may have open files. They wait in the kernel, and are served in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve, frozen

from benchmarks.procfs import cpu_s
from harm.arena import allow_descriptors, open_arena
from harm.crowd import open_crowd
from harm.verdicts import Verdict, share_text
from harm.vitals import is_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from demo.etcd import EtcdProcess

BUSY = 0.2
"""golb may use this part of a core while nobody asks it for anything; a busy loop would use all of it."""

_CONNECT_TIMEOUT_S = 20.0
_SERVE_TIMEOUT_S = 60.0


@frozen(kw_only=True)
class Options:
    """What is done; the defaults are the issue's."""

    descriptors: int = 256
    clients: int = 1000
    silent_s: float = 3.0
    """How long all are connected, or wait to be, and say nothing: golb may close some to let others in."""
    calls: int = 2
    """Of each client, one after the other, before it closes its connection for good."""

    def scaled(self, scale: float) -> Options:
        """Return the same with fewer clients, or more."""
        return evolve(self, clients=round(self.clients * scale))


async def run_descriptors(
    etcd: EtcdProcess, options: Options, say: Callable[[str], None], variables: Mapping[str, str]
) -> list[Verdict]:
    """Run it, and judge what was seen."""
    allow_descriptors(options.clients + 200)
    async with open_arena(etcd, [1], variables, descriptors=options.descriptors) as arena:
        golb = arena.golb
        async with open_crowd(golb.port, reconnect=True) as crowd:

            async def call_and_leave(number: int) -> bool:
                answers = [await crowd.call(number) for _ in range(options.calls)]
                await crowd.leave(number)
                return all(answers)

            await crowd.for_all(options.clients, crowd.connect, _CONNECT_TIMEOUT_S)
            used_s = -cpu_s(golb.pid)
            await trio.sleep(options.silent_s)
            used_s += cpu_s(golb.pid)
            said = _says_so(golb.log())
            say(
                f"{len(crowd.clients)} are connected; golb has {golb.descriptors()} open files of {options.descriptors}"
            )
            began = trio.current_time()
            # All at once: if some waited for others here, those that golb has accepted would not be the ones to call.
            served = await crowd.for_all(options.clients, call_and_leave, _SERVE_TIMEOUT_S, at_once=options.clients)
            took_s = trio.current_time() - began
        for failure in crowd.failures[:3]:
            say(f"  {failure}")
        return [
            Verdict(
                "all are served in turn",
                f"{share_text(served, options.clients)} were, in {took_s:.1f} s, and connected anew {crowd.connected_late:,} times",
                kept=served == options.clients,
            ),
            Verdict(
                "no busy loop while they are silent",
                f"{used_s / options.silent_s:.1%} of a core for {options.silent_s:g} s",
                kept=used_s <= BUSY * options.silent_s,
            ),
            said,
            is_sound(golb),
        ]


def _says_so(log: list[dict[str, Any]]) -> Verdict:
    warnings = [line["message"] for line in log if line["level"] == "warning"]
    text = f"{len(warnings)} warnings: {', '.join(sorted(set(warnings))) or 'none'}"
    return Verdict("golb says that they have run out", text, kept=bool(warnings))

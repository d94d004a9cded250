"""Scenario `idle`: very many clients keep their connections and say nothing for a while. Each is answered after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import evolve, frozen

from harm.arena import allow_descriptors, open_arena
from harm.crowd import open_crowd
from harm.verdicts import Verdict, share_text
from harm.vitals import holds_little, is_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from demo.etcd import EtcdProcess

_TIMEOUT_S = 60.0
_SPARE = 100


@frozen(kw_only=True)
class Options:
    """What is done; the defaults are the issue's."""

    clients: int = 10_000
    idle_s: float = 5.0
    """How long all of them say nothing. Shorter than golb waits for a client's next request."""

    def scaled(self, scale: float) -> Options:
        """Return the same with fewer clients, or more."""
        return evolve(self, clients=round(self.clients * scale))


async def run_idle(
    etcd: EtcdProcess, options: Options, say: Callable[[str], None], variables: Mapping[str, str]
) -> list[Verdict]:
    """Run it, and judge what was seen."""
    allow_descriptors(options.clients + 200)
    # What golb allows by default depends on the limit of open files, half of which are for endpoints.
    settings = {"max_connections": str(options.clients + _SPARE), **variables}
    async with open_arena(etcd, [1], settings) as arena:
        golb = arena.golb
        before_bytes = golb.resident_bytes()
        async with open_crowd(golb.port, reconnect=False) as crowd:
            # Each is answered at once: who says nothing after connecting is not idle but slow.
            answered_before = await crowd.for_all(options.clients, crowd.call, _TIMEOUT_S)
            await trio.sleep(options.idle_s)
            each_bytes = (golb.resident_bytes() - before_bytes) / max(1, len(crowd.clients))
            say(f"{len(crowd.clients)} are connected, and golb has {golb.descriptors()} open files")
            answered_after = await crowd.for_all(options.clients, crowd.call, _TIMEOUT_S)
        for failure in crowd.failures[:3]:
            say(f"  {failure}")
        text = (
            f"{share_text(answered_before, options.clients)} were answered before {options.idle_s:g} s of silence,"
            f" {answered_after:,} after it"
        )
        return [
            Verdict("all are held", text, kept=answered_before == answered_after == options.clients),
            holds_little(golb, f", {each_bytes / 1024:.1f} KiB for each connection"),
            is_sound(golb),
        ]

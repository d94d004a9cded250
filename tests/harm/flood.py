"""Scenario `flood`: slow senders, readers that have stopped and a flood of connections, and clients that mean well."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field, frozen
from support.client import Client

from benchmarks.figures import percentile
from benchmarks.procfs import cpu_s
from harm.arena import FUNCTION, allow_descriptors, open_arena
from harm.attackers import LARGE_FUNCTION
from harm.endpoint import CALL_PATH
from harm.processes import program
from harm.verdicts import Verdict, share_text
from harm.vitals import holds_little, telling_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.golb_process import GolbProcess

    from benchmarks.children import Child
    from demo.etcd import EtcdProcess
    from harm.processes import Endpoint

STRENGTH = 0.8
"""Which part of the attackers has to be there at the end: golb breaks the slow ones off, and they need a moment to come back."""

_CALL_EVERY_S = 0.01
_CALL_TIMEOUT_S = 10.0
_GATHER_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05
# An endpoint that uses no CPU time for so long has nothing to do: all that it may send has been sent.
_STALL_S = 0.3
# By then it should have ended long ago; it is killed.
_PATIENCE_S = 10.0


@frozen(kw_only=True)
class Options:
    """What is done; the defaults are the issue's."""

    slow: int = 2000
    stopped: int = 500
    flood_rps: float = 1000.0
    """New connections in a second."""
    seconds: float = 20.0
    """For how long the others call while all of them attack."""
    drain_timeout_s: float = 3.0
    after_drain_s: float = 1.0
    """By how much golb may outlast its drain timeout: to close what is left, and end."""
    p99_s: float = 0.05
    """What the others' p99 has to stay under."""
    pinned: bool = True
    """Whether golb has a core to itself."""

    def scaled(self, scale: float) -> Options:
        """Return the same with fewer attackers, or more."""
        return evolve(
            self,
            slow=round(self.slow * scale),
            stopped=round(self.stopped * scale),
            flood_rps=self.flood_rps * scale,
        )


async def run_flood(
    etcd: EtcdProcess, options: Options, say: Callable[[str], None], variables: Mapping[str, str]
) -> list[Verdict]:
    """Run it, and judge what was seen."""
    # golb has a connection to the endpoint for each reader that has stopped.
    allow_descriptors(options.slow + 2 * options.stopped + 2000)
    settings = {"drain_timeout": f"{options.drain_timeout_s:g}", **variables}
    async with open_arena(etcd, [1], settings, pinned=options.pinned) as arena:
        arguments = ("--slow", options.slow, "--stopped", options.stopped, "--flood", options.flood_rps)
        log = arena.folder / "attackers.log"
        large = await arena.add_endpoint()
        await arena.put({large.authority: 1}, LARGE_FUNCTION)
        with program("attackers", arena.golb.port, *arguments, cores=arena.load_cores, log=log) as attackers:
            await _gather(attackers, options, large)
            before = _counts(attackers)
            say(f"attackers: {_text(before)}")
            keeper, comer = _Other(arena.golb.port, keeps=True), _Other(arena.golb.port, keeps=False)
            with telling_turns(arena.golb, say), trio.move_on_after(options.seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keeper.run)
                    nursery.start_soon(comer.run)
            after = _counts(attackers)
            say(f"{options.seconds:g} s later: {_text(after)}")
            return [
                _strength(before, after, options),
                keeper.verdict("p99 of a client that keeps its connection", options.p99_s),
                comer.verdict("p99 of a client that connects for each call", options.p99_s),
                holds_little(arena.golb),
                await _end(arena.golb, options),
            ]


@define
class _Other:
    """A client that means well: it calls, waits for the answer, and pauses."""

    port: int
    keeps: bool
    """Whether it keeps its connection. Otherwise it connects anew for each call."""
    took_s: list[float] = field(factory=list)
    """How long each call took, connecting included."""
    failed: int = 0
    _client: Client | None = None

    async def run(self) -> None:
        """Call until cancelled."""
        try:
            while True:
                await self._call()
                await trio.sleep(_CALL_EVERY_S)
        finally:
            await self._leave()

    async def _call(self) -> None:
        began = time.monotonic()
        try:
            with trio.fail_after(_CALL_TIMEOUT_S):
                if self._client is None:
                    self._client = await Client.connect(self.port)
                response = await self._client.call(f"/function/{FUNCTION}{CALL_PATH}{len(self.took_s)}")
            self.failed += response.status != 200
        except (AssertionError, OSError, trio.BrokenResourceError, trio.TooSlowError):
            self.failed += 1
            await self._leave()
        self.took_s.append(time.monotonic() - began)
        if not self.keeps:
            await self._leave()

    async def _leave(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            with trio.CancelScope(shield=True):  # closing a plain socket waits for nothing
                await client.aclose()

    def verdict(self, who: str, limit_s: float) -> Verdict:
        if not self.took_s:
            return Verdict(f"{who} is answered", "not once", kept=False)
        p50_s, p99_s = (percentile(self.took_s, share) for share in (0.5, 0.99))
        text = (
            f"{p99_s * 1e3:.1f} ms (p50 {p50_s * 1e3:.1f} ms, longest {max(self.took_s) * 1e3:.1f} ms);"
            f" {share_text(self.failed, len(self.took_s))} failed"
        )
        return Verdict(f"{who} stays under {limit_s * 1e3:g} ms", text, kept=p99_s < limit_s and not self.failed)


async def _gather(attackers: Child, options: Options, large: Endpoint) -> None:
    """Wait until all attackers are connected, and no more is sent to the readers that have stopped."""
    with trio.fail_after(_GATHER_TIMEOUT_S):
        used_s, used_before_s = cpu_s(large.pid), -1.0
        while True:
            attackers.check()
            now = _counts(attackers)
            # golb breaks the slow ones off again and again, and a moment later they are back.
            is_stalled = used_s == used_before_s
            if now["slow_made"] >= options.slow and now["stopped"] >= options.stopped and is_stalled:
                return
            await trio.sleep(_STALL_S)
            used_s, used_before_s = cpu_s(large.pid), used_s


def _counts(attackers: Child) -> Counter[str]:
    """Return what the attackers told last."""
    *_, last = ["{}", *(line for line in attackers.log.read_text().splitlines(keepends=True) if line.endswith("\n"))]
    return Counter(json.loads(last))


def _text(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _strength(before: Counter[str], after: Counter[str], options: Options) -> Verdict:
    """Judge the attackers: on a machine that starves them golb passes for no merit of its own."""
    flood_rps = (after["flood_made"] - before["flood_made"]) / options.seconds
    text = f"{after['slow']:,} slow, {after['stopped']:,} stopped, {flood_rps:,.0f} connections/s"
    due = (options.slow, options.stopped, options.flood_rps)
    there = (after["slow"], after["stopped"], flood_rps)
    kept = all(have >= wanted * STRENGTH for have, wanted in zip(there, due, strict=True))
    return Verdict(f"the attack has {STRENGTH:.0%} of its strength", text, kept=kept)


async def _end(golb: GolbProcess, options: Options) -> Verdict:
    """Judge how golb ends at a SIGTERM while it is attacked."""
    process = golb.process
    assert process is not None
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    with trio.move_on_after(options.drain_timeout_s + _PATIENCE_S):
        while process.poll() is None:  # noqa: ASYNC110 - of another process
            await trio.sleep(_LOOK_EVERY_S)
    took_s, code = time.monotonic() - began, process.poll()
    text = "it goes on" if code is None else f"exit code {code} after {took_s:.1f} s"
    return Verdict(
        f"SIGTERM ends it within {options.drain_timeout_s:g} s to drain, and {options.after_drain_s:g} s",
        text,
        kept=code == 0 and took_s <= options.drain_timeout_s + options.after_drain_s,
    )

"""One run: faults by a seed, one after the other, until the time is over or a promise is broken; and what came of it."""

from __future__ import annotations

import random
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

from chaos.arena import open_arena
from chaos.faults import FAULTS
from chaos.promises import Broken, Window, check_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chaos.arena import Arena, Held
    from chaos.faults import Fault

# golb's client of etcd may keep an unused connection to each member it has asked; a leak for each fault would be more.
_MORE_DESCRIPTORS = 3
# What Python itself may take more of with time; a leak for each fault would be more than that in ten minutes.
_MORE_BYTES = 16 << 20
_CALM_S = (0.3, 1.5)
_WARM_UP_S = 2.0
_EVIDENCE_S = 3.0
_TOLD = {"weights stale", "weights current", "etcd went back"}


@frozen(kw_only=True)
class Options:
    """What to run."""

    seconds: float
    """For how long faults are begun."""
    seed: int
    faults: tuple[str, ...] = tuple(FAULTS)
    """Names of those to choose from."""
    rounds: int | None = None
    """How often each of them comes at most; None for as often as there is time."""
    timeout_s: float = 3.0
    """golb's eb_go_lb_etcd_timeout: shorter than its default, so that more faults have room."""
    with_tls: bool = False
    """Whether etcd serves its clients over TLS and asks them for certificates."""


@define
class Survived:
    """What a kind of fault came to."""

    times: int = 0
    longest_to_truth_s: float = 0.0
    requests: int = 0
    """Answered from its beginning until the truth was served."""
    failures: int = 0


@define
class Report:
    """What a run came to."""

    seed: int
    broken: list[Broken] = field(factory=list)
    by_fault: dict[str, Survived] = field(factory=dict)
    requests: int = 0
    puts: int = 0
    began: float = 0.0
    seconds: float = 0.0
    longest_pause_s: float = 0.0
    held_before: Held | None = None
    held_after: Held | None = None

    def table(self) -> str:
        """Return the faults survived, as Markdown."""
        rows = [
            "| fault | times | longest to truth, s | requests served meanwhile | failed |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {name} | {item.times} | {item.longest_to_truth_s:.2f} | {item.requests} | {item.failures} |"
                for name, item in self.by_fault.items()
            ),
        ]
        return "\n".join(rows)


async def run_chaos(options: Options, write: Callable[[str], None]) -> Report:
    """Run faults until the time is over or a promise is broken; everything started has ended when this returns.

    Args:
        options: what to run.
        write: takes each line of the timeline as it happens.
    """
    began = time.time()
    report = Report(options.seed, began=began)

    def say(text: str) -> None:
        write(f"{time.time() - began:7.2f} s  {text}")

    chosen = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        async with open_arena(Path(folder), chosen, options.timeout_s, say, with_tls=options.with_tls) as arena:
            say(f"three etcds, golb and its endpoints are there; eb_go_lb_etcd_timeout is {options.timeout_s:g} s")
            await _run_faults(arena, options, report)
            for broken in report.broken[:1]:
                for line in _evidence(arena, broken, began):
                    write(line)
    report.seconds = time.time() - began
    return report


async def _run_faults(arena: Arena, options: Options, report: Report) -> None:
    deadline = trio.current_time() + options.seconds
    windows: list[Window] = []
    report.held_before = await arena.held_when_quiet(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arena.writer.run)
        nursery.start_soon(arena.load.run)
        await trio.sleep(_WARM_UP_S)
        for fault in _deck(arena.chosen, options.faults, options.rounds):
            await trio.sleep(arena.chosen.uniform(*_CALM_S))
            if trio.current_time() >= deadline or _check(arena, windows):
                break
            await _run_fault(arena, fault, windows, report)
        nursery.cancel_scope.cancel()
    report.requests, report.puts = arena.load.calls, len(arena.writer.puts)
    report.longest_pause_s = arena.load.longest_pause_s
    report.held_after = await arena.held_when_quiet(report.held_before)
    report.broken = _check(arena, windows) or list(_check_held(report))


def _deck(chosen: random.Random, names: Sequence[str], rounds: int | None) -> Iterator[Fault]:
    """Yield the faults in a random order, all of them before any comes again."""
    for _ in count() if rounds is None else range(rounds):
        for name in chosen.sample(names, len(names)):
            yield FAULTS[name]


async def _run_fault(arena: Arena, fault: Fault, windows: list[Window], report: Report) -> None:
    calls, failures = arena.load.calls, len(arena.load.failures)
    window = Window(fault.name, fault.reach, time.time())
    windows.append(window)
    arena.say(fault.name)
    await fault.run(arena, window)
    to_truth_s = await arena.wait_for_truth(window)
    arena.writer.release()
    survived = report.by_fault.setdefault(fault.name, Survived())
    survived.times += 1
    survived.longest_to_truth_s = max(survived.longest_to_truth_s, to_truth_s)
    survived.requests += arena.load.calls - calls
    survived.failures += len(arena.load.failures) - failures
    said = _said(arena, window)
    if said:
        arena.say(f"  golb says: {'; '.join(said)}")
    arena.say(f"  over after {window.well - window.began:.2f} s, the truth is served {to_truth_s:.2f} s later")


def _said(arena: Arena, window: Window) -> list[str]:
    """Return what golb has said of how old its weights are since the fault began, each with the seconds since then."""
    return [
        f"{line.event} ({line.at - window.began:.2f} s)"
        for line in arena.log.read()
        if line.event in _TOLD and line.at >= window.began
    ]


def _check(arena: Arena, windows: Sequence[Window]) -> list[Broken]:
    broken = check_all(windows, arena.writer.puts, arena.load.sights, arena.log.read(), arena.timeout_s)
    return sorted([*broken, *arena.broken, *arena.load.failures], key=lambda item: item.at)


def _check_held(report: Report) -> Iterator[Broken]:
    before, after = report.held_before, report.held_after
    assert before is not None
    assert after is not None
    if after.descriptors > before.descriptors + _MORE_DESCRIPTORS:
        evidence = f"{before.descriptors} before, {after.descriptors} after"
        yield Broken(time.time(), "file descriptors end where they began", evidence)
    if after.resident_bytes > before.resident_bytes + _MORE_BYTES:
        evidence = f"{before.resident_bytes >> 20} MiB before, {after.resident_bytes >> 20} MiB after"
        yield Broken(time.time(), "memory ends where it began", evidence)


def _evidence(arena: Arena, broken: Broken, began: float) -> Iterator[str]:
    yield f"golb's log, {_EVIDENCE_S:g} s around the moment ({broken.at - began:.2f} s):"
    for line in arena.log.read():
        if abs(line.at - broken.at) <= _EVIDENCE_S:
            yield f"{line.at - began:7.2f} s  {line.text}"

"""`shift`: a gradual move of weight from one target to another, each step guarded by the revision of the one before.

Rule: a step is made whole or not at all, and a signal waits for it: whenever the command ends, it says what is in etcd.
"""

from __future__ import annotations

import math
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import trio
from attrs import evolve, frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from golb.commands.entries import checked_change
from golb.commands.errors import EXIT_OK, CommandFailed, Interrupted, NotFound, OutputLost, UsageFailed, ValueRefused
from golb.commands.moves import Move
from golb.commands.options import (
    command,
    complete_functions,
    complete_targets,
    typed_duration,
    typed_percentage,
    typed_target,
)
from golb.commands.values import Target, Value
from golb.commands.views import TARGET_COLUMNS, percent, share, target_rows, total

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from fractions import Fraction

    from golb.commands.entries import Entry
    from golb.commands.session import Session
    from golb.commands.store import Store

_STOPPING = (signal.SIGINT, signal.SIGTERM)
# etcd takes some milliseconds for a step; more of them would come late, and not end.
_LEAST_EVERY_S = 0.01


@click.command()
@click.argument("function", shell_complete=complete_functions)
@click.argument("source", metavar="FROM", type=typed_target, shell_complete=complete_targets)
@click.argument("sink", metavar="TO", type=typed_target, shell_complete=complete_targets)
@click.option(
    "--percent", "part", metavar="N", type=typed_percentage, default="100", show_default=True, help="Of FROM's weight."
)
@click.option(
    "--over",
    "over_s",
    metavar="DURATION",
    type=typed_duration,
    default="60s",
    show_default=True,
    help="How long it takes.",
)
@click.option(
    "--every",
    "every_s",
    metavar="DURATION",
    type=typed_duration,
    default="1s",
    show_default=True,
    help="How often to take a step.",
)
@command()
def shift(
    session: Session, function: str, source: Target, sink: Target, part: Fraction, over_s: float, every_s: float
) -> int:
    """Move weight to another target, gradually.

    TO may be new. The shares of all other targets stay. A step is made only if nobody else has changed the function
    since the last one; else the move ends there. Ctrl-C ends it after a whole step.
    """
    if source.endpoint == sink.endpoint:
        raise UsageFailed("FROM and TO are the same target")
    if every_s < _LEAST_EVERY_S:
        raise UsageFailed(f"--every is {_LEAST_EVERY_S:g}s at least")
    steps = max(math.ceil(over_s / every_s), 1)

    async def run(store: Store) -> Entry:
        entry = await store.get(function)
        shifting = Shifting.begin(store, entry, source, sink, part, steps)
        with trio.open_signal_receiver(*_STOPPING) as signals, _progress(session, function, steps) as show:
            start_s = trio.current_time()

            async def is_due(step: int) -> bool:
                return await _no_signal_until(start_s + over_s * step / steps, signals)

            def told(step: int, entry: Entry) -> None:
                session.output.json(_step_object(shifting, step, entry))
                show(step, shifting.state(entry))

            return await shifting.run(is_due, told)

    entry = session.run(run)
    if entry.weights is not None:
        session.output.table(TARGET_COLUMNS, target_rows(entry.weights), f"{function} at revision {entry.revision}")
    return EXIT_OK


@frozen
class Shifting:
    """A move of one function's weight, and how it is written."""

    store: Store
    entry: Entry
    """As it was before."""
    source: Target
    sink: Target
    move: Move

    @classmethod
    def begin(cls, store: Store, entry: Entry, source: Target, sink: Target, part: Fraction, steps: int) -> Shifting:
        """Plan the move; nothing is written yet.

        Raises:
            ValueRefused: golb refuses the function as it stands.
            NotFound: it has no weight to move.
        """
        if entry.weights is None:
            raise ValueRefused(
                f"golb refuses the value of {entry.function}, revision {entry.revision}: {entry.refused}"
            )
        by_endpoint = entry.weights.by_endpoint
        if source.endpoint not in by_endpoint:
            raise NotFound(f"{entry.function} has no target {source.endpoint}")
        weight = by_endpoint[source.endpoint]
        if not weight:
            raise NotFound(f"{source.endpoint} has weight 0 in {entry.function}: there is nothing to shift")
        move = Move.plan(weight, by_endpoint.get(sink.endpoint, 0), part, steps)
        if move.at(steps)[0] == weight:
            raise NotFound(f"{float(100 * part):g} % of weight {weight}, to the nearest whole one, is nothing to shift")
        return cls(store, entry, source, sink, move)

    async def run(self, is_due: Callable[[int], Awaitable[bool]], told: Callable[[int, Entry], None]) -> Entry:
        """Take all steps; return the function as it stands then.

        Args:
            is_due: waits until a step is due; False: it shall not be taken any more.
            told: is called after each step.

        Raises:
            Interrupted: a step was not to be taken.
            OutputLost: `told` raises it; the text says what was done.
            Conflict, EtcdAway, EtcdRefuses: as for `Store.commit`; the text says what was done before.
        """
        entry = self.entry
        for step in range(1, self.move.steps + 1):
            if not await is_due(step):
                raise Interrupted(f"interrupted; {self._done(step - 1, entry)}")
            try:
                entry = await self._take(step, entry)
            except CommandFailed as exc:
                raise type(exc)(f"{exc}; before that {self._done(step - 1, entry)}") from exc
            try:
                told(step, entry)
            except OutputLost as exc:
                raise OutputLost(f"{exc}; {self._done(step, entry)}") from exc
        return entry

    def state(self, entry: Entry) -> str:
        """Write the two weights on one line."""
        weights = entry.weights.by_endpoint if entry.weights else {}
        all_of_it = total(entry.weights)
        said = []
        for target in (self.source, self.sink):
            weight = weights.get(target.endpoint, 0)
            said.append(f"{target.endpoint}={weight} ({percent(share(weight, all_of_it))})")
        return ", ".join(said)

    async def _take(self, step: int, entry: Entry) -> Entry:
        value = Value.parse(entry.value)
        source, sink = self.move.at(step)
        value.put(self.source, source)
        value.put(self.sink, sink)
        function = str(entry.function)
        change = checked_change(function, entry, value, self.store.networks)
        made = await self.store.commit([change])
        if function not in made:  # a step too small to show
            return entry
        after = change.after or b""
        return evolve(entry, value=after, weights=change.weights, revision=made[function], version=entry.version + 1)

    def _done(self, steps: int, entry: Entry) -> str:
        if not steps:
            return f"no step of {self.move.steps} was taken"
        said = f"{steps} of {self.move.steps} steps were taken, the last left {self.state(entry)} at revision {entry.revision}"
        rest = self.move.rest(steps)
        return f"{said}; --percent {100 * float(rest):.6g} of it is the rest" if rest else said


async def _no_signal_until(deadline_s: float, signals: AsyncIterator[int]) -> bool:
    with trio.move_on_at(deadline_s):
        await anext(signals)
        return False
    return True


@contextmanager
def _progress(session: Session, function: str, steps: int) -> Iterator[Callable[[int, str], None]]:
    """Show a bar on a terminal; yield what moves it on."""
    if session.output.is_json or not sys.stderr.isatty():
        yield lambda _step, _state: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(function, total=steps, state="")
        yield lambda step, state: progress.update(task, completed=step, state=state)


def _step_object(shifting: Shifting, step: int, entry: Entry) -> dict[str, Any]:
    weights = entry.weights.by_endpoint if entry.weights else {}
    all_of_it = total(entry.weights)
    ends = {}
    for name, target in (("from", shifting.source), ("to", shifting.sink)):
        weight = weights.get(target.endpoint, 0)
        ends[name] = {"target": str(target.endpoint), "weight": weight, "share": share(weight, all_of_it)}
    return {"step": step, "steps": shifting.move.steps, "revision": entry.revision, **ends}

"""What the commands have in common: options, kinds of parameters, and what a shell may complete."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click
import trio
from attrs import fields, frozen

from golb.commands.errors import EXIT_USAGE, CommandFailed
from golb.commands.output import Output
from golb.commands.session import Session
from golb.commands.values import Number, Target, parse_number
from golb.config import Config, accepts
from golb.errors import ConfigError, GolbError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from golb.commands.entries import Entry

# A shell waits for it, and so does whoever has pressed the key.
_COMPLETION_TIMEOUT_S = 1.0

_DEFAULT = "default"


def command(
    *, uses_etcd: bool = True, offline_with: str | None = None
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command its `Session`, and the options for one. The command returns its exit code.

    What it raises of golb's errors is said, and becomes the exit code.

    Args:
        uses_etcd: whether it has anything to do with etcd, and so takes `--zone` and `--etcd`.
        offline_with: the parameter which, if it is given, makes etcd and the zone needless.
    """

    def decorate(body: Callable[..., int]) -> Callable[..., int]:
        @click.option("--json", "is_json", is_flag=True, help="Write JSON, an object a line.")
        @click.pass_context
        @functools.wraps(body)
        def run(context: click.Context, /, *, is_json: bool, **parameters: Any) -> int:
            output = Output(is_json)
            options = {name: parameters.pop(name, None) for name in ("zone", "etcd")}
            needs_zone = uses_etcd and not (offline_with and parameters[offline_with])
            try:
                session = Session.from_environ(context.obj, **options, is_json=is_json, needs_zone=needs_zone)
                return body(session, **parameters)
            except CommandFailed as exc:
                output.failure(exc)
                return exc.exit_code
            except ConfigError as exc:
                output.note(str(exc))
                return EXIT_USAGE

        if uses_etcd:
            run = click.option("--etcd", metavar="HOSTS", help="Members of etcd, instead of eb_go_lb_etcd_host.")(run)
            run = click.option("--zone", metavar="ZONE", help="Instead of eb_go_lb_zone.")(run)
        return run

    return decorate


# Kinds of parameters: what click calls with what was typed


def typed_target(text: str) -> Target:
    """Read an endpoint as it may stand in `ips`."""
    try:
        return Target.parse(text)
    except WeightsError as exc:
        raise click.BadParameter(f"the target {exc}") from None


@frozen
class Weighted:
    """A target and its weight, as they were typed."""

    target: Target
    weight: Number


def typed_weight(text: str) -> Weighted:
    """Read `TARGET=WEIGHT`; what weights golb takes is for golb to judge."""
    name, equals, weight = text.rpartition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not TARGET=WEIGHT, such as 10.42.0.5:8080=3")
    try:
        return Weighted(typed_target(name), parse_number(weight))
    except WeightsError as exc:
        raise click.BadParameter(str(exc)) from None


def typed_duration(text: str) -> float:
    """Read a duration as the variables take it; in seconds, >= 0."""
    variable = fields(Config).drain_timeout
    try:
        return float(variable.metadata["parse"](text))
    except (ValueError, GolbError):
        raise click.BadParameter(f"{text!r} is none; it accepts {accepts(variable)}") from None


def typed_percentage(text: str) -> Fraction:
    """Read a percentage above 0 and up to 100, as an exact part of 1."""
    try:
        # By way of a float: the exact one of 1e-999999999 would need a gigabyte.
        part = Fraction(str(float(text.removesuffix("%")))) / 100
    except ValueError:
        part = Fraction(0)
    if not 0 < part <= 1:
        raise click.BadParameter(f"{text!r} is no percentage above 0 and up to 100")
    return part


@frozen
class Limit:
    """A limit of a function that was typed."""

    number: Number | None
    """None: as the configuration has it."""


def typed_limit(text: str) -> Limit:
    """Read a number, or `default` for what the configuration has; its range is for golb to judge."""
    try:
        return Limit(None if text == _DEFAULT else parse_number(text))
    except WeightsError as exc:
        raise click.BadParameter(f"{exc}, nor {_DEFAULT}") from None


# Completion


def complete_functions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the zone's functions that begin so."""
    names = [entry.function for entry in _entries(context) if entry.function is not None]
    return [name for name in names if name.startswith(incomplete)]


def complete_targets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the targets that begin so: those of the function that was typed, or of all."""
    function = context.params.get("function")
    found = [entry for entry in _entries(context) if function in (None, entry.function)]
    return [name for name in _targets(found) if name.startswith(incomplete)]


def complete_weights(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the targets of the function that begin so, each with a `=` for its weight."""
    return [f"{target}=" for target in complete_targets(context, parameter, incomplete)]


def _targets(entries: Iterable[Entry]) -> list[str]:
    return list(dict.fromkeys(str(each) for entry in entries if entry.weights for each in entry.weights.by_endpoint))


def _entries(context: click.Context) -> tuple[Entry, ...]:
    zone, etcd = context.params.get("zone"), context.params.get("etcd")
    try:
        session = Session.from_environ(context.obj, zone=zone, etcd=etcd)
        return trio.run(_list, session)
    except (GolbError, trio.TooSlowError):
        # Whatever is wrong, the command itself will say it; words among those to choose from would be typed.
        return ()


async def _list(session: Session) -> tuple[Entry, ...]:
    with trio.fail_after(_COMPLETION_TIMEOUT_S):
        async with session.client() as client:
            return (await session.store(client).list()).entries

"""`golb doctor`, the variables: what golb would not accept, what it does not know, and what is hardly meant so.

Method: a variable that holds what it cannot is reported and then left out, so that what does not depend on it can be
looked at all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from golb.commands.doctor_report import Check, Verdict
from golb.config import PREFIX, Config, unknown_variables
from golb.cores import usable_cores
from golb.env_file import with_env_file
from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.commands.doctor_report import Report

# Leaving a variable out may bring up what another one lacks without it; then those whose names begin alike go too.
_ROUNDS = 5
_STAND_IN = {f"{PREFIX}zone": "none", f"{PREFIX}node_name": "none"}


@frozen
class Setup:
    """What golb is told."""

    config: Config
    """Variables in `left_out` have their defaults here."""
    left_out: frozenset[str]
    """The names, without the prefix, of those that hold what they cannot, and of what belongs to them."""

    def lacks(self, *names: str) -> str | None:
        """Return which of these variables is to be corrected first; a name that ends in `_` stands for all that begin so."""
        for name in names:
            for left_out in sorted(self.left_out):
                if left_out == name or (name.endswith("_") and left_out.startswith(name)):
                    return PREFIX + left_out
        return None


def with_file(environ: Mapping[str, str], report: Report) -> Mapping[str, str]:
    """Return the environment with what its file of variables sets; a file that is wrong is reported, and left out."""
    try:
        return with_env_file(environ)
    except ConfigError as exc:
        for problem in str(exc).splitlines():
            fault, _, advice = problem.partition("; ")
            report.wrong(Check.VARIABLES, fault, advice)
        return environ


def check_variables(environ: Mapping[str, str], report: Report) -> Setup | None:
    """Report on all variables; None if no configuration can be made of the others."""
    setup = _read(environ, report)
    unknown = unknown_variables(environ)
    for name, meant in unknown:
        advice = f"did you mean {meant}?" if meant else "unset it: golb --help names all variables"
        report.warn(Check.VARIABLES, f"{name} is no variable of golb", advice)
    if setup is None:
        return None
    _check_meaning(setup, report)
    if not report.has(Check.VARIABLES, Verdict.WRONG, Verdict.WARNING):
        count = sum(name.startswith(PREFIX) and bool(text) for name, text in environ.items())
        report.ok(Check.VARIABLES, f"{count} set; zone {setup.config.zone}, node {setup.config.node_name}")
    return setup


def _check_meaning(setup: Setup, report: Report) -> None:
    """Warn of what golb accepts and hardly anybody means; what was left out has a default, which is none of it but for the handler."""
    config, cores = setup.config, usable_cores()
    if config.handler_type == "dummy" and not setup.lacks("handler_type"):
        report.warn(
            Check.VARIABLES,
            "eb_go_lb_handler_type is dummy: golb answers by itself and balances nothing",
            "set eb_go_lb_handler_type=wrr",
        )
    if config.workers > cores:
        report.warn(
            Check.VARIABLES,
            f"eb_go_lb_workers is {config.workers}, and of the cores golb may use {cores}: more workers take memory and serve no more",
            "set eb_go_lb_workers=auto",
        )
    if config.drain_timeout == 0:
        report.warn(
            Check.VARIABLES,
            "eb_go_lb_drain_timeout is 0: whenever golb ends, also for a successor, the calls under way are cut off",
            "set it to as many seconds as your functions take: 0 is no time at all, not no limit",
        )


def _read(environ: Mapping[str, str], report: Report) -> Setup | None:
    left = dict(environ)
    left_out: set[str] = set()
    for attempt in range(_ROUNDS):
        try:
            return Setup(Config.from_environ(left), frozenset(left_out))
        except ConfigError as exc:
            problems = str(exc).splitlines()
        if attempt == 0:
            for problem in problems:
                fault, _, advice = problem.partition("; ")
                report.wrong(Check.VARIABLES, fault, advice)
        for problem in problems:
            left_out |= _leave_out(problem.split()[0], left, is_family=attempt > 0)
    return None


def _leave_out(name: str, left: dict[str, str], *, is_family: bool) -> set[str]:
    """Take a variable, or all of its family, out of `left`; return their names without the prefix."""
    if name in _STAND_IN:
        left[name] = _STAND_IN[name]
        return {name.removeprefix(PREFIX)}
    gone = {name}
    if is_family:
        # `weights_file` is what `weight_updater` asks for.
        family = PREFIX + name.removeprefix(PREFIX).partition("_")[0].removesuffix("s")
        gone |= {each for each in left if each.startswith(family)}
    for each in gone:
        left.pop(each, None)
    return {each.removeprefix(PREFIX) for each in gone}

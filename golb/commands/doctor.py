"""`golb doctor`: looks at a set-up in the order in which golb depends on it, and says what to do about what is wrong.

Rule: it changes nothing, asks no function, and ends in time whatever does not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import trio
from rich.text import Text

from golb.commands.doctor_etcd import check_gateway_api, check_members, check_zone
from golb.commands.doctor_limits import check_limits
from golb.commands.doctor_listen import check_admin, check_listen
from golb.commands.doctor_report import Check, Report, Verdict
from golb.commands.doctor_table import check_gateways, check_targets, check_values, read_file
from golb.commands.doctor_variables import check_variables, with_file
from golb.commands.doctor_visit import Visit
from golb.commands.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_REFUSED, OutputLost
from golb.commands.options import typed_duration
from golb.commands.output import Column, Output
from golb.config import PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from golb.commands.doctor_report import Finding

_COLUMNS = (Column("VERDICT"), Column("CHECK", style="bold"), Column("FINDING"), Column("WHAT TO DO"))
_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "bold red", Verdict.SKIPPED: "dim"}

# Of each of the checks that ask nobody but this machine.
_LOCAL_S = 3.0

_EPILOG = """\b
exit codes:
  0    nothing is wrong; there may be warnings
  1    something is
  2    wrong usage
  130  ended by Ctrl-C
  141  the output could not be written"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--zone", metavar="ZONE", help="Instead of eb_go_lb_zone.")
@click.option("--etcd", metavar="HOSTS", help="Members of etcd, instead of eb_go_lb_etcd_host.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="DURATION",
    type=typed_duration,
    default="20s",
    show_default=True,
    help="How long etcd and the targets may take in all.",
)
@click.option("--json", "is_json", is_flag=True, help="Write JSON, an object on a line.")
@click.pass_context
def doctor(context: click.Context, *, zone: str | None, etcd: str | None, timeout_s: float, is_json: bool) -> int:
    """Say what is wrong with a set-up, and what to do about it.

    Run it as golb runs: with its variables, on its node, in its pod. It changes nothing.
    """
    typed = {f"{PREFIX}zone": zone, f"{PREFIX}etcd_host": etcd}
    chosen = {name: text for name, text in typed.items() if text is not None}
    output = Output(is_json, "doctor")
    report = None
    try:
        report = trio.run(examine, context.obj, chosen, timeout_s)
    except* KeyboardInterrupt:
        output.note("interrupted")
    if report is None:
        return EXIT_INTERRUPTED
    try:
        output.json(report.as_object())
        output.table(_COLUMNS, map(_row, report.findings))
    except OutputLost as exc:
        output.failure(exc)
        return exc.exit_code
    return EXIT_REFUSED if report.verdict is Verdict.WRONG else EXIT_OK


async def examine(environ: Mapping[str, str], chosen: Mapping[str, str], timeout_s: float) -> Report:
    """Carry out all checks. What waits for etcd and for targets takes `timeout_s` at most, the rest some seconds.

    Args:
        environ: the variables.
        chosen: those that stand in for them, and for what their file sets.
        timeout_s: see above.
    """
    report = Report()
    setup = check_variables({**with_file(environ, report), **chosen}, report)
    if setup is None:
        return report
    visit = Visit(setup, report)
    deadline = trio.current_time() + timeout_s
    for check, look in _remote_checks(visit):
        with trio.move_on_at(deadline) as bound:
            await look(visit)
        if bound.cancelled_caught:
            report.warn(check, f"not done within {timeout_s:g} s", "raise --timeout")
    for check, look in ((Check.LIMITS, check_limits), (Check.LISTEN, check_listen), (Check.ADMIN, check_admin)):
        with trio.move_on_after(_LOCAL_S) as bound:
            await look(visit)
        if bound.cancelled_caught:
            report.warn(check, f"not done within {_LOCAL_S:g} s", "is this machine overloaded?")
    return report


def _remote_checks(visit: Visit) -> list[tuple[Check, Callable[[Visit], Awaitable[None]]]]:
    checks: list[tuple[Check, Callable[[Visit], Awaitable[None]]]] = [
        (Check.VALUES, check_values),
        (Check.TARGETS, check_targets),
        (Check.GATEWAYS, check_gateways),
    ]
    if (variable := visit.setup.lacks("weight_", "weights_")) is not None:
        visit.report.skip(Check.ETCD, f"where the weights come from is not known: {variable} first")
        return checks
    match visit.config.weight_updater:
        case "etcd":
            return [
                (Check.ETCD, check_members),
                (Check.GATEWAY_API, check_gateway_api),
                (Check.ZONE, check_zone),
                *checks,
            ]
        case "file":
            visit.report.skip(Check.ETCD, "the weights come from a file")
            return [(Check.ZONE, read_file), *checks]
        case other:
            visit.report.skip(Check.ETCD, f"the weights come from {other}, which only golb knows to ask")
            return checks


def _row(finding: Finding) -> tuple[Text | str, ...]:
    verdict = Text(finding.verdict, style=_STYLES[finding.verdict])
    return verdict, finding.check, finding.text, finding.advice

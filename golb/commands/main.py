"""`golb weights` and `golb doctor` as a command line: the tree of commands, exit codes, and completion by the shell.

Why click: completion for bash, zsh and fish comes with it, and its types pass mypy's strict mode. typer, which stands on
it, reads annotations while golb runs, and would have them imported for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from golb.commands.doctor import doctor
from golb.commands.errors import EXIT_INTERRUPTED, EXIT_OK
from golb.commands.files import apply, check, diff
from golb.commands.reading import get, history, list_, simulate
from golb.commands.shifting import shift
from golb.commands.watching import watch
from golb.commands.writing import delete, drain, set_

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = "golb"
COMPLETION_VARIABLE = "_GOLB_COMPLETE"
"""By which a shell asks for completions: the name that click would make of the program's."""

_EPILOG = """\b
exit codes:
  0    done; watch: ended by Ctrl-C
  1    refused by golb, or no such function or target, or changed by somebody else meanwhile
  2    wrong usage or configuration, or the file cannot be read
  3    etcd cannot be reached
  4    etcd refuses: user, role, limit, or no etcd at that address
  5    diff: there are differences
  130  ended by Ctrl-C
  141  the output could not be written, or nobody reads it any more"""


@click.group()
def golb() -> None:
    """A weighted load balancer for functions."""


@golb.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def weights() -> None:
    """Look at the weights in etcd, and change them.

    Zone and etcd are those of the variables eb_go_lb_zone, eb_go_lb_etcd_..., unless --zone and --etcd name others.
    """


@weights.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    r"""Write the script for completion by a shell.

    \b
    bash, zsh:  eval "$(golb weights completion bash)"
    fish:       golb weights completion fish | source
    """
    script = get_completion_class(shell)
    if script is None:
        raise LookupError(shell)
    click.echo(script(golb, {}, PROGRAM, COMPLETION_VARIABLE).source())
    return EXIT_OK


for _command in (get, list_, set_, shift, drain, delete, check, diff, apply, watch, simulate, history):
    weights.add_command(_command)

golb.add_command(doctor)


@golb.command(name="check")
def _check() -> None:
    """Print the configuration as golb understands it, and exit."""
    # It is here for completion only: golb.cli carries it out.


def run_command(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Carry out `weights ...` or `doctor ...`, or answer a shell that asks for completions; return the exit code.

    Raises:
        SystemExit: a shell was answered.
    """
    try:
        code = golb.main(list(arguments), PROGRAM, complete_var=COMPLETION_VARIABLE, standalone_mode=False, obj=environ)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    return int(code or EXIT_OK)

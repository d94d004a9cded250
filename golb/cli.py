"""The command line: no command runs the load balancer."""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from typing import TYPE_CHECKING

import trio
from attrs import fields

from golb import __version__
from golb.config import PREFIX, REQUIRED, Config, accepts, unknown_variables
from golb.env_file import with_env_file
from golb.errors import ConfigError, ListenError
from golb.logs import configure_logs
from golb.service import serve, warn_of_unknown
from golb.workers.place import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WEIGHTS = "weights"
DOCTOR = "doctor"
COMPLETION_VARIABLE = "_GOLB_COMPLETE"
"""By which a shell asks for completions."""

EXIT_LISTEN = 1
EXIT_CONFIG = 2


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Carry out a command and return the exit code: 0, 1 if golb cannot listen, 2 if the configuration is wrong.

    `weights` and `doctor` have more of them, see `golb.commands`.
    """
    if arguments[:1] in ([WEIGHTS], [DOCTOR]) or environ.get(COMPLETION_VARIABLE):
        return _run_command(arguments, environ)
    command = _parser().parse_args(arguments).command
    if command in (WEIGHTS, DOCTOR):  # behind `--`
        return _run_command([command], environ)
    try:
        variables = with_env_file(environ)
        config = Config.from_environ(variables)
        if command == "check":
            sys.stdout.write("\n".join(config.lines()) + "\n")
            _warn_of_unknown_variables(variables)
            return 0
        place = Place.from_environ(environ)
        if place is None:
            configure_logs(config.mode, config.log_level)
            warn_of_unknown(unknown_variables(variables))
        else:  # its parent has told
            configure_logs(config.mode, config.log_level, worker=place.index, has_colours=place.has_colours)
        _raise_descriptor_limit()
        _calm_garbage_collector()
        trio.run(serve, config, environ, place)
        gc.freeze()  # the process ends: nothing is gained by looking for cycles once more
    except ConfigError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_CONFIG
    except ListenError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_LISTEN
    return 0


def _run_command(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    from golb.commands import run_command  # noqa: PLC0415 - what it stands on takes time and memory, for this alone

    return run_command(arguments, environ)


def _raise_descriptor_limit() -> None:
    """Allow as many connections as the system does: each takes a descriptor, and the soft limit is for programs of old."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _calm_garbage_collector() -> None:
    """Let Python look for cycles after 10,000 new objects instead of 700: requests in flight have as many, and make none."""
    gc.set_threshold(10_000, 20, 50)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="golb",
        description="A weighted load balancer for functions; configured by the variables below.",
        epilog=_variables(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"golb {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands; none runs the load balancer")
    commands.add_parser("check", help="print the configuration as golb understands it, and exit")
    commands.add_parser(WEIGHTS, help="look at the weights in etcd, and change them: golb weights --help")
    commands.add_parser(DOCTOR, help="say what is wrong with a set-up, and what to do about it: golb doctor --help")
    return parser


def _variables() -> str:
    lines = ["variables:"]
    for variable in fields(Config):
        default = variable.metadata["default"]
        shown = "required" if default is REQUIRED else f"default: {default}" if default else "default: none"
        if variable.name == "node_name":
            shown = "default: $HOSTNAME"
        lines += [
            f"  {PREFIX}{variable.name} ({shown})",
            f"      {variable.metadata['meaning']}",
            f"      accepts {accepts(variable)}",
        ]
        if variable.metadata["at_run_time"]:
            lines.append("      taken over at SIGHUP")
    return "\n".join(lines)


def _warn_of_unknown_variables(environ: Mapping[str, str]) -> None:
    for name, meant in unknown_variables(environ):
        sys.stderr.write(f"{name} is no variable of golb{f'; {meant} is' if meant else ''}\n")

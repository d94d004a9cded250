"""Variables from a file, which stand in for those of the environment: the environment of a running process cannot be changed, a file can.

The form is what docker's `--env-file` and systemd's `EnvironmentFile=` have in common: `NAME=value`, one a line, as long as
the value has neither quotes nor backslashes. A value may stand in a pair of quotes, which keeps white space at its ends.
Nothing is expanded, nothing escaped, and `#` begins a comment at the start of a line only.

Why no library: python-dotenv expands `${...}`, takes ` #` within a value for a comment, and passes over lines that it
cannot read; here such a line would leave golb with a default that nobody has chosen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "eb_go_lb_env_file"
ACCEPTS = "the path of a file of lines eb_go_lb_...=value, blank lines, and comments that begin with #"

_LINE = re.compile(r"(eb_go_lb_\w+)=(.*)", re.ASCII | re.IGNORECASE)
_QUOTES = ("'", '"')


def with_env_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment, in which what the file that it names sets stands in for what it sets itself.

    Raises:
        ConfigError: the file is not there, or is none; a line for each problem, in which no value stands.
    """
    named = environ.get(VARIABLE, "").strip()
    return {**environ, **read_env_file(Path(named))} if named else environ


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables that a file sets; an empty one is set to nothing.

    Raises:
        ConfigError: as `with_env_file`.
    """
    shown = f"{VARIABLE} is {str(path)!r}"
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ConfigError(f"{shown}; it accepts {ACCEPTS}, and there is none")
        text = path.read_text("utf-8")
    except OSError as exc:
        raise ConfigError(f"{shown}, which cannot be read: {exc.strerror}; it accepts {ACCEPTS}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{shown}, which is not UTF-8; it accepts {ACCEPTS}") from exc
    variables, problems = parse_env_file(text)
    if problems:
        raise ConfigError("\n".join(f"{shown}, {problem}; it accepts {ACCEPTS}" for problem in problems))
    return variables


def parse_env_file(text: str) -> tuple[dict[str, str], list[str]]:
    """Return what the lines set, and what is wrong with those that are none. What stands in them may be secret, and is not shown."""
    variables: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            problems.append(f"whose line {number} is no eb_go_lb_...=value")
            continue
        name, value = match[1], match[2].strip()
        if name == VARIABLE:
            problems.append(f"whose line {number} sets {name}, which only the environment can")
        elif name in variables:
            problems.append(f"whose line {number} sets {name} a second time")
        elif value.startswith(_QUOTES) and not (len(value) > 1 and value.find(value[0], 1) == len(value) - 1):
            problems.append(
                f"whose line {number} sets {name} to what begins with a quote and does not end with its pair"
            )
        else:
            variables[name] = value[1:-1] if value.startswith(_QUOTES) else value
    return variables, problems

"""Why a command ends without having done what it was asked for, and the exit code of each reason.

Rule: what etcd's client raises is translated here, once; no traceback reaches those who type commands.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from golb.errors import GolbError
from golb.trio_etcd import EtcdError, TlsFailed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXIT_OK = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_ETCD_AWAY = 3
EXIT_ETCD_REFUSES = 4
EXIT_DIFFERENT = 5
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""
EXIT_OUTPUT_LOST = 141
"""128 and the number of SIGPIPE, likewise."""


class CommandFailed(GolbError):
    """Base of the reasons. Print the text and exit with `exit_code`."""

    kind: ClassVar[str]
    """In a word, for scripts."""
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, text: str, *, written: Sequence[str] = (), not_written: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.written = tuple(written)
        """Functions that the command has changed before it failed."""
        self.not_written = tuple(not_written)
        """Functions that it has not changed, or of which it does not know."""


class ValueRefused(CommandFailed):
    """golb would not take the value, so it was not written. Correct it."""

    kind = "refused"


class NotFound(CommandFailed):
    """The zone has no such function, or no such target. Look at `golb weights list`."""

    kind = "not_found"


class Conflict(CommandFailed):
    """Somebody else has changed a function meanwhile. Look at it, then decide anew."""

    kind = "conflict"


class UsageFailed(CommandFailed):
    """What was typed, a variable, or a file is not what it should be. Correct it."""

    kind = "usage"
    exit_code = EXIT_USAGE


class EtcdAway(CommandFailed):
    """No member of etcd can be reached. A change that was sent may have been made."""

    kind = "etcd_away"
    exit_code = EXIT_ETCD_AWAY


class EtcdRefuses(CommandFailed):
    """etcd does not do it: the user, a role, a limit; or what answers is no etcd."""

    kind = "etcd_refuses"
    exit_code = EXIT_ETCD_REFUSES


class Interrupted(CommandFailed):
    """A signal has ended the command. The text says what is in etcd."""

    kind = "interrupted"
    exit_code = EXIT_INTERRUPTED


class OutputLost(CommandFailed):
    """Nobody reads the result any more, or the disk is full. What was changed before is changed."""

    kind = "output"
    exit_code = EXIT_OUTPUT_LOST


def failure_from(exc: EtcdError) -> CommandFailed:
    """Return what an error of etcd's client means to a command."""
    match exc:
        case TlsFailed():
            return EtcdAway(f"no TLS with etcd: {exc}")
        case Unavailable():
            return EtcdAway(f"etcd cannot be reached: {exc}")
        case _:
            return EtcdRefuses(f"etcd refuses: {exc}")


@contextmanager
def etcd_failures(but: type[EtcdError] | None = None) -> Iterator[None]:
    """Raise `CommandFailed` for what etcd's client raises; what the caller sees to, `but`, as it is."""
    try:
        yield
    except EtcdError as exc:
        if but is not None and isinstance(exc, but):
            raise
        raise failure_from(exc) from exc

"""What a running golb takes over of a changed configuration, and what needs a restart.

Rule: a configuration is taken over as a whole or, if anything in it is wrong, not at all. What needs a restart stays as
it was, and is named each time until the restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import evolve, field, fields, frozen

from golb.config import PREFIX, Config, unknown_variables, written
from golb.env_file import with_env_file
from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

LOG = structlog.get_logger()

_TLS_FILES = ("tls_cert", "tls_key")


@frozen
class Reloaded:
    """What a configuration has become."""

    config: Config
    """The one in force, with what was taken of the new one."""
    taken: tuple[str, ...] = ()
    """As `eb_go_lb_queue=1024->10`."""
    needs_restart: tuple[str, ...] = ()
    """The names of the variables that have changed and were not taken."""
    unknown: list[tuple[str, str | None]] = field(factory=list)
    """As `unknown_variables` returns them."""


def reload(before: Config, environ: Mapping[str, str]) -> Reloaded:
    """Read all variables again, the file of them included, and compare.

    Args:
        before: what is in force.
        environ: of the process.

    Raises:
        ConfigError: as of `Config.from_environ` and `with_env_file`.
    """
    variables = with_env_file(environ)
    return evolve(compare(before, Config.from_environ(variables)), unknown=unknown_variables(variables))


def compare(before: Config, wanted: Config) -> Reloaded:
    """Take of a wanted configuration what can change at run time."""
    changed = [each for each in fields(Config) if getattr(before, each.name) != getattr(wanted, each.name)]
    fixed = () if (before.tls_cert is None) == (wanted.tls_cert is None) else _TLS_FILES  # from HTTP to HTTPS, or back
    taken = [each for each in changed if each.metadata["at_run_time"] and each.name not in fixed]
    shown = [
        f"{PREFIX}{each.name}={written(each, getattr(before, each.name))}->{written(each, getattr(wanted, each.name))}"
        for each in taken
    ]
    return Reloaded(
        evolve(before, **{each.name: getattr(wanted, each.name) for each in taken}),
        tuple(shown),
        tuple(PREFIX + each.name for each in changed if each not in taken),
    )


class Reloading:
    """Takes changes over, one reload after the other.

    Args:
        config: what is in force.
        environ: of the process.
        apply: puts a configuration in force; raises ConfigError, before anything has changed, where it cannot.
    """

    def __init__(self, config: Config, environ: Mapping[str, str], apply: Callable[[Config], Awaitable[None]]) -> None:
        self.config = config
        """What is in force."""
        self._environ = environ
        self._apply = apply

    async def reload(self) -> None:
        """Read the variables again and take over what can be; the log says what that is, or what is wrong."""
        try:
            # In a thread, since it reads files, those of all plugins too.
            reloaded = await trio.to_thread.run_sync(reload, self.config, self._environ, abandon_on_cancel=True)
            await self._apply(reloaded.config)
        except ConfigError as exc:
            LOG.warning("not reloaded, all stays as it was", problems=str(exc).splitlines())
            return
        except Exception:  # the boundary of what the traffic does not depend on
            LOG.exception("reload failed")
            return
        self.config = reloaded.config
        self._tell(reloaded)

    def _tell(self, reloaded: Reloaded) -> None:
        warn_of_unknown(reloaded.unknown)
        env_file = reloaded.config.env_file
        details = {
            "env_file": None if env_file is None else str(env_file),
            **({"certificate": "read again"} if reloaded.config.tls_cert is not None else {}),
        }
        if not (reloaded.taken or reloaded.needs_restart):
            LOG.info("reloaded, no variable has changed", **details)
            return
        log = LOG.warning if reloaded.needs_restart else LOG.info
        log("reloaded", taken=list(reloaded.taken), needs_restart=list(reloaded.needs_restart), **details)


def warn_of_unknown(variables: Iterable[tuple[str, str | None]]) -> None:
    """Log what `unknown_variables` has found."""
    for name, meant in variables:
        LOG.warning("unknown variable", variable=name, **({"did_you_mean": meant} if meant else {}))

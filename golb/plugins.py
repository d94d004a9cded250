"""Handlers and weight updaters by name: golb's own and those of other packages, found by entry points."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points
from inspect import isabstract
from typing import TYPE_CHECKING, TypeVar, cast

from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoints

T = TypeVar("T")

HANDLERS = "golb.handlers"
WEIGHT_UPDATERS = "golb.weight_updaters"
_VARIABLES = {HANDLERS: "eb_go_lb_handler_type", WEIGHT_UPDATERS: "eb_go_lb_weight_updater"}


def plugin_names(group: str) -> list[str]:
    """Return, sorted, what can be chosen in a group."""
    return sorted({point.name.lower() for point in _points(group)})


def load_plugin(group: str, name: str, base: Callable[..., T]) -> Callable[..., T]:
    """Import the class of that name (in lower case).

    Raises:
        ConfigError: it cannot be imported, or is no class that implements `base`.
    """
    point = next(point for point in _points(group) if point.name.lower() == name)
    try:
        found = point.load()
    except Exception as exc:  # whatever the module of another package raises when it is imported
        cause = " ".join(f"{type(exc).__name__}: {exc}".split())
        raise _refusal(group, name, f"{point.value} cannot be loaded ({cause})") from exc
    if not (isinstance(found, type) and isinstance(base, type) and issubclass(found, base)) or isabstract(found):
        raise _refusal(group, name, f"{point.value} is no class that implements {base.__module__}.{base.__name__}")
    return cast("Callable[..., T]", found)


def _points(group: str) -> EntryPoints:
    return _points_on(tuple(sys.path), group)


@cache
def _points_on(path: tuple[str, ...], group: str) -> EntryPoints:
    """Look at what is installed: some 20 ms, several times at each start."""
    del path  # it is looked at on `sys.path`
    return entry_points(group=group)


def _refusal(group: str, name: str, reason: str) -> ConfigError:
    others = " | ".join(other for other in plugin_names(group) if other != name)
    return ConfigError(f"{_VARIABLES[group]} is {name!r}, but {reason}; it accepts {others}")

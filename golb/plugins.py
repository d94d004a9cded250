"""Handlers and weight updaters by name: golb's own and those of other packages, found by entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar, cast

from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

HANDLERS = "golb.handlers"
WEIGHT_UPDATERS = "golb.weight_updaters"


def plugin_names(group: str) -> list[str]:
    """Return, sorted, what can be chosen in a group."""
    return sorted({point.name.lower() for point in entry_points(group=group)})


def load_plugin(group: str, name: str, base: Callable[..., T]) -> Callable[..., T]:
    """Import the class of that name (in lower case).

    Raises:
        ConfigError: it cannot be imported, or is no subclass of `base`.
    """
    point = next(point for point in entry_points(group=group) if point.name.lower() == name)
    try:
        found = point.load()
    except Exception as exc:  # whatever the module of another package raises when it is imported
        raise ConfigError(
            f"the entry point {point.name} of {group} cannot be loaded from {point.value}: {exc}"
        ) from exc
    if not (isinstance(found, type) and isinstance(base, type) and issubclass(found, base)):
        raise ConfigError(f"the entry point {point.name} of {group} is {point.value}, which is no {base}")
    return cast("Callable[..., T]", found)

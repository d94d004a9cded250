"""What this very process serves, for the admin port to ask as it would ask other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from golb.admin.sources import Change


class Handler(Protocol):
    """Who answers the requests of the data port; see `golb/handlers/base.py`."""

    def function_names(self) -> list[str]:
        """Return the names of all functions that are known now, the newest last; for reading only."""

    def function_report(self, function: str, /) -> dict[str, Any] | None:
        """Tell of one function; None: it is not known."""

    def weight_changes(self, function: str, /) -> Sequence[Change]:
        """Return a function's weights of late, oldest first; the last one is in force."""

    def totals(self) -> dict[str, Any]:
        """Tell of all functions together; empty where nothing is counted."""


class Admission(Protocol):
    """The places for clients of the data port; see `golb/server/admission.py`."""

    def report(self) -> dict[str, int]:
        """Tell of it: `limit`, `open`, `accepted`, `delayed`, `closed_for_room`."""


class OwnFunctions:
    """`Functions` of this process, which has no workers to tell apart.

    Args:
        handler: is asked whenever somebody wants to know.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def names(self) -> list[str]:
        return self._handler.function_names()

    async def reports(self, names: Sequence[str], /, worker: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        del worker
        for name in names:
            report = self._handler.function_report(name)
            if report is not None:
                yield report

    async def totals(self, worker: int | None = None) -> dict[str, Any]:
        del worker
        return self._handler.totals()

    def changes(self, function: str, /) -> Sequence[Change]:
        return self._handler.weight_changes(function)


async def own_connections(admission: Admission) -> dict[str, int]:
    """Tell of the clients of the data port."""
    return admission.report()

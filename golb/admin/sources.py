"""What the admin port reads of golb's parts; it changes nothing, and reads nothing else.

Rule: the parts are known by what is needed of them, so that nothing here depends on who counts, serves or watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from golb.admin.events import EventFeed


class Handler(Protocol):
    """Who answers the requests of the data port; `golb/handlers/reports.py` has the form of what it tells."""

    def function_names(self) -> list[str]:
        """Return the names of all functions that are known now, the newest last."""

    def function_report(self, function: str, /) -> dict[str, Any] | None:
        """Tell of one function; None: it is not known."""

    def totals(self) -> dict[str, Any]:
        """Tell of all functions together; empty where nothing is counted."""


class Knowledge(Protocol):
    """How much is known of the weights; see `golb/updaters/knowledge.py`."""

    @property
    def source(self) -> str:
        """From where: `none`, `disk`, `file` or `etcd`."""

    @property
    def cluster_id(self) -> int:
        """Of etcd; 0 while it is not known."""

    @property
    def revision(self) -> int:
        """Of etcd; 0 without a source."""

    @property
    def age_s(self) -> float:
        """For how long it has not been sure that the weights are the newest, in seconds; infinite without a source."""

    @property
    def connection(self) -> str:
        """Of the source: `none`, `connecting`, `open` or `lost`."""

    @property
    def member(self) -> str:
        """The URL of the member of etcd that is followed."""

    @property
    def cause(self) -> str:
        """Why the last try to follow the source failed."""


class Refusal(Protocol):
    """A key whose newest value is refused."""

    @property
    def name(self) -> str:
        """The function, or the whole key."""

    @property
    def fault(self) -> str:
        """What is wrong, in a word: one of few."""

    @property
    def reason(self) -> str:
        """What is wrong."""

    @property
    def revision(self) -> int:
        """Of the refused put."""


class Refusals(Protocol):
    """What is refused now, and how many puts were; see `golb/updaters/refusals.py`."""

    @property
    def counts(self) -> Mapping[Any, int]:
        """Puts that were refused, by what was wrong with them."""

    def __len__(self) -> int:
        """Return for how many keys a refusal is in force."""

    def __iter__(self) -> Iterator[Refusal]:
        """Yield them."""


class Admission(Protocol):
    """The places for clients of the data port; see `golb/server/admission.py`."""

    @property
    def limit(self) -> int:
        """How many places there are."""

    @property
    def open(self) -> int:
        """Clients connected now."""

    @property
    def accepted(self) -> int:
        """Clients that ever got a place."""

    @property
    def delayed(self) -> int:
        """How often one had to wait."""

    @property
    def closed_for_room(self) -> int:
        """Idle connections that gave way to another."""


class Weights(Protocol):
    """The weights of a function."""

    @property
    def by_endpoint(self) -> Mapping[Any, int | float]:
        """Each endpoint's; its name is its string."""


class Change(Protocol):
    """Weights that came into force; see `golb/history.py`."""

    @property
    def at_s(self) -> float:
        """Unix time in seconds."""

    @property
    def revision(self) -> int:
        """Of etcd."""

    @property
    def weights(self) -> Weights:
        """All of the function's."""


@frozen(kw_only=True)
class Sources:
    """All that the admin port reads."""

    node: str
    zone: str
    version: str
    started_s: float
    """Unix time in seconds at which golb began to serve."""
    handler: Handler
    knowledge: Knowledge
    refused: Refusals | None
    """None where the source of weights refuses nothing."""
    admission: Admission
    is_draining: Callable[[], bool]
    is_loaded: Callable[[], bool]
    """Whether the handler has the first whole table."""
    events: EventFeed
    updates: Callable[[str], Sequence[Change]]
    """A function's weights of late, oldest first; the last one is in force."""

"""What the admin port reads of golb's parts; it changes nothing, and reads nothing else.

Rule: the parts are known by what is needed of them, so that nothing here depends on who counts, serves or watches, nor in
which process. What may be counted in another process is asked with `await`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence

    from golb.admin.events import EventFeed


class Functions(Protocol):
    """The functions, whoever serves them: a handler in this process (`OwnFunctions`), or worker processes together.

    `golb/handlers/reports.py` has the form of what is told; `endpoints` may be any iterable, and is gone through once.
    Where there are workers, `worker` is the number of one, which tells of itself; None: all together.
    """

    def names(self) -> list[str]:
        """Return the names of all functions that are known now, the newest last; for reading only."""

    def reports(self, names: Sequence[str], /, worker: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Yield a report for each of these functions that is known, in the order of the names; to be asked for some dozens at once."""

    async def totals(self, worker: int | None = None) -> dict[str, Any]:
        """Tell of all functions together; empty where nothing is counted."""

    def changes(self, function: str, /) -> Sequence[Change]:
        """Return a function's weights of late, oldest first; the last one is in force."""


class Delays(Protocol):
    """How long weights take from etcd's watch to the handler; see `golb/updaters/delays.py`."""

    def report(self) -> dict[str, Any]:
        """Tell them as a histogram: `bounds_s`, `counts`, `sum_s`."""


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

    @property
    def connects(self) -> int:
        """How often it has begun to be followed."""

    @property
    def losses(self) -> int:
        """How often it was followed, and then no more."""

    @property
    def delays(self) -> Delays:
        """How long its changes took to come into force."""


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
    functions: Functions
    knowledge: Knowledge
    refused: Refusals | None
    """None where the source of weights refuses nothing."""
    connections: Callable[[], Awaitable[dict[str, int]]]
    """Tells of the clients of the data port: `limit`, `open`, `accepted`, `delayed`, `closed_for_room`."""
    is_draining: Callable[[], bool]
    is_loaded: Callable[[], bool]
    """Whether the handler has the first whole table."""
    events: EventFeed
    workers: Callable[[], Awaitable[list[dict[str, Any]]]] | None = None
    """Tells of each worker process, by their numbers: `worker`, `pid`, `state`, `since_s`, `replaced`, `connections`, `totals`;
    `openapi.json` says what these mean. None: there is one process."""

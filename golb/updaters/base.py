"""What a weight updater is: where weights come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

from golb.updaters.knowledge import Knowledge
from golb.weights import WeightUpdate

if TYPE_CHECKING:
    from golb.config import Config
    from golb.updaters.refusals import Refusals

Publish = Callable[[Iterable[WeightUpdate]], None]


class WeightUpdater(ABC):
    """A source of weights. Its class is found by name in the entry-point group `golb.weight_updaters`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.knowledge = Knowledge()
        """How much is known of what has been published; an updater that can tell keeps it up to date."""
        self.refused: Refusals | None = None
        """What it refuses; None: it does not tell."""

    @abstractmethod
    async def run(self, publish: Publish) -> NoReturn:
        """Publish the whole table once, then what changes. Ends only by cancellation.

        The first call of `publish`, also with nothing in it, says that the table is known; until then golb answers
        503. A source that is away is waited for. An exception other than `Cancelled` is a defect: it is logged, and
        `run` is called again after a while; it then publishes what differs from what it has published before.
        """

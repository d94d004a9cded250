"""Where the weights of a process come from, and to whom they go: the updater, its broadcaster, and who keeps and tells what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.plugins import WEIGHT_UPDATERS, load_plugin
from golb.updaters import Acknowledgement, Broadcaster, EtcdWeightUpdater, InForce, SavedTable, WeightUpdater

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from golb.config import Config
    from golb.updaters import Refusal
    from golb.weights import WeightUpdate

LOG = structlog.get_logger()

# How long golb waits for the first table before it accepts calls all the same.
_FIRST_TABLE_S = 2.0
# With a table from disk it need not wait; but an etcd that is well answers within this, and its table is newer.
_NEWER_TABLE_S = 1.0
_LOOK_EVERY_S = 0.01
_RESTART_DELAY_S = 1.0


class WeightSource:
    """Follows the configured source of weights.

    Args:
        config: says which one it is.
        on_refusal: told of each put that is refused.

    Raises:
        ConfigError: the updater is not what it should be.
    """

    def __init__(self, config: Config, on_refusal: Callable[[Refusal], None]) -> None:
        self._config = config
        self.updater = load_plugin(WEIGHT_UPDATERS, config.weight_updater, WeightUpdater)(config)
        self.knowledge = self.updater.knowledge
        self.refused = self.updater.refused
        if self.refused is not None:
            self.refused.on_refusal = on_refusal
        self.broadcaster = Broadcaster()
        """Passes on whatever the updater says."""
        self.in_force = InForce(self._newest_revision, self.knowledge.delays.in_force)
        """Of whoever subscribes and takes part in it."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow it until cancelled; ready once a table from disk, if there is one, has been published."""
        config, updater = self._config, self.updater
        async with trio.open_nursery() as nursery:
            if isinstance(updater, EtcdWeightUpdater):
                if config.state_dir is not None:
                    saved = SavedTable(
                        config.state_dir, config.zone, updater.table, self.knowledge, max_age_s=config.state_max_age
                    )
                    await saved.restore(self._publish)
                    nursery.start_soon(saved.keep)
                if config.ack:
                    ack = Acknowledgement(config, updater.table, self.knowledge, self.in_force)
                    nursery.start_soon(_run_again, ack.run, "acknowledgement failed, started again")
            # A defect of the updater, which may be another package's, stops neither the traffic nor the updates to come.
            nursery.start_soon(_run_again, lambda: updater.run(self._publish), "weight updater failed, started again")
            task_status.started()

    async def wait_until_worth_serving(
        self, is_loaded: trio.Event, *, may_hurry: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait a moment for the first table to be handed over, and for a newer one where that is from disk.

        Args:
            is_loaded: set once it has been handed over.
            may_hurry: returns when no other golb serves meanwhile; until then, the wait takes as long as it takes.
        """
        async with trio.open_nursery() as nursery:

            async def hurry() -> None:
                await may_hurry()
                nursery.cancel_scope.deadline = trio.current_time() + _FIRST_TABLE_S

            nursery.start_soon(hurry)
            await is_loaded.wait()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(_NEWER_TABLE_S):
            while self.knowledge.source == "disk" and self.knowledge.connection != "lost":  # noqa: ASYNC110 - it has no event
                await trio.sleep(_LOOK_EVERY_S)

    def _newest_revision(self) -> int:
        return self.updater.table.revision if isinstance(self.updater, EtcdWeightUpdater) else 0

    def _publish(self, updates: Iterable[WeightUpdate]) -> None:
        batch = list(updates)
        if batch:
            self.in_force.published()
        self.broadcaster.publish(batch)


async def _run_again(run: Callable[[], Awaitable[NoReturn]], event: str) -> NoReturn:
    """Run it, and again a while after it has failed."""
    while True:
        try:
            await run()
        except Exception:  # the boundary of what others do not depend on
            LOG.exception(event, retry_in_s=_RESTART_DELAY_S)
        await trio.sleep(_RESTART_DELAY_S)

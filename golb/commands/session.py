"""One run of a command: its configuration, its output, and its connection to etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import fields, frozen

from golb.commands.errors import Interrupted
from golb.commands.output import Output
from golb.commands.store import Store
from golb.config import PREFIX, Config
from golb.env_file import with_env_file
from golb.updaters.etcd_client import make_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from golb.trio_etcd import EtcdClient

T = TypeVar("T")

# Those of the load balancer alone may be wrong here without harm: this is often another machine than its node.
_VARIABLES = ("zone", "target_networks", *(each.name for each in fields(Config) if each.name.startswith("etcd_")))
# The configuration of a load balancer has these, and no command that works without etcd has a use for them.
_UNUSED = {f"{PREFIX}zone": "none", f"{PREFIX}node_name": "none"}


@frozen
class Session:
    """What a command gets."""

    config: Config
    output: Output

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        *,
        zone: str | None = None,
        etcd: str | None = None,
        is_json: bool = False,
        needs_zone: bool = True,
    ) -> Session:
        """Read the variables that matter here; `zone` and `etcd` replace two of them.

        Raises:
            ConfigError: one line for each variable that holds what it cannot, as for the load balancer.
        """
        environ = with_env_file(environ)
        names = [PREFIX + name for name in _VARIABLES]
        chosen = {name: text for name in names if (text := environ.get(name))}
        typed = {f"{PREFIX}zone": zone, f"{PREFIX}etcd_host": etcd}
        chosen |= {name: text for name, text in typed.items() if text is not None}
        unused = {f"{PREFIX}node_name": "none"} if needs_zone else _UNUSED
        return cls(Config.from_environ(unused | chosen), Output(is_json))

    def run(self, task: Callable[[Store], Awaitable[T]]) -> T:
        """Run a task that needs etcd, to its end.

        Raises:
            Interrupted: Ctrl-C, and the task does not see to it itself.
        """
        try:
            return trio.run(self._run, task)
        except* KeyboardInterrupt:  # alone, or in a group: to connect takes a nursery
            pass
        raise Interrupted("interrupted; a change that was under way may have been made")

    async def _run(self, task: Callable[[Store], Awaitable[T]]) -> T:
        async with self.client() as client:
            return await task(self.store(client))

    def client(self) -> EtcdClient:
        """Return a client as the load balancer has it."""
        return make_client(self.config)

    def store(self, client: EtcdClient) -> Store:
        """Return the zone's keys."""
        return Store(client, self.config.zone, self.config.target_networks)

"""Weights from a file, for a machine without etcd: a JSON object of the same values, keyed by function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.errors import WeightsError
from golb.updaters.base import WeightUpdater
from golb.updaters.table import Table
from golb.weights import check_function_name

if TYPE_CHECKING:
    from golb.config import Config
    from golb.updaters.base import Publish

LOG = structlog.get_logger()

# Reading what is mostly a page or two costs microseconds; the kernel's own notice would need a package, and a file's
# time of change does not differ between two writes within one tick of the kernel's clock.
_LOOK_EVERY_S = 0.2


class FileWeightUpdater(WeightUpdater):
    """Follows a file, also when it is replaced; while it is missing or unreadable, the last table stands."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.weights_file is None:
            raise ValueError("a weights file is needed")
        self._path = trio.Path(config.weights_file)
        self._table = Table(targets=config.target_networks)
        self.refused = self._table.refused
        self._revision = 0

    async def run(self, publish: Publish) -> NoReturn:
        taken: bytes | None = None
        problem = ""
        while True:
            try:
                content = await self._path.read_bytes()
                if content != taken:
                    values = _parse(content)
                    self._revision += 1
                    publish(self._table.replace(self._checked(values), self._revision))
                    LOG.info("weights read", path=str(self._path), functions=len(self._table), revision=self._revision)
                    taken = content
                self.knowledge.confirm("file", 0, self._revision, trio.current_time())
                problem = ""
            except (OSError, WeightsError) as exc:
                if str(exc) != problem:
                    problem = str(exc)
                    LOG.warning("weights file not taken", path=str(self._path), reason=problem)
            await trio.sleep(_LOOK_EVERY_S)

    def _checked(self, values: dict[str, object]) -> dict[str, tuple[bytes, int]]:
        checked = {}
        for function, value in values.items():
            try:
                check_function_name(function)
            except WeightsError as exc:
                self._table.refuse(repr(function), str(exc), self._revision)
            else:
                checked[function] = json.dumps(value).encode(), self._revision
        return checked


def _parse(content: bytes) -> dict[str, object]:
    try:
        values = json.loads(content.decode())
    except (ValueError, RecursionError) as exc:
        raise WeightsError(f"the file is not JSON: {exc}") from None
    if not isinstance(values, dict):
        raise WeightsError("the file holds no object; an object of values by function is needed")
    return values

"""Tells when etcd's answers do not go on from earlier ones: restored from a backup, wiped, or another cluster by the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from golb.trio_etcd import ResponseHeader
    from golb.updaters.knowledge import Knowledge

LOG = structlog.get_logger()


class WentBack(Exception):
    """The table is of another store than the one that answers now. List, and take what is there as the truth."""

    def __init__(self) -> None:
        super().__init__("etcd went back")


class Lineage:
    """Compares the headers of answers with what is served."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._has_left = False

    def goes_on(self, header: ResponseHeader, at_least: int = 0) -> bool:
        """Tell whether an answer is of the store whose weights are served; if not, say so in the log, once.

        Args:
            header: the answer's.
            at_least: the revision that the store had before the question; 0 for an answer that is one member's own view,
                which may lag.
        """
        knowledge = self._knowledge
        if knowledge.source not in ("disk", "etcd") or self._has_left:
            return not self._has_left
        if header.cluster_id == knowledge.cluster_id and header.revision >= at_least:
            return True
        self._has_left = True
        LOG.error(
            "etcd went back",
            was_revision=knowledge.revision,
            is_revision=header.revision,
            was_cluster_id=knowledge.cluster_id,
            is_cluster_id=header.cluster_id,
        )
        return False

    def begin(self) -> None:
        """Take note that what is served now is of the store that answers."""
        self._has_left = False

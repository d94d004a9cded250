"""The last table on disk: read before etcd is asked, written when it has changed, but not too often.

Rule: the disk is a help and no condition. Whatever it does, golb starts, serves and stops as it would without it.
Method: the table is copied as a whole, which takes a millisecond for 100,000 functions, and made into bytes piece by piece,
between which others run; a thread writes them. Writing takes at most so many bytes a second: it is flash on edge nodes.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

import structlog
import trio

from golb.updaters.saved_file import About, NotTaken, SavedFile, encode_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from golb.updaters.base import Publish
    from golb.updaters.knowledge import Knowledge
    from golb.updaters.table import Row, Table

LOG = structlog.get_logger()

_LOOK_EVERY_S = 0.5
_AT_MOST_EVERY_S = 5.0
_BYTES_A_SECOND = 512 << 10
# How far the age on the disk may stay behind, where nothing but the time has changed.
_AT_LEAST_EVERY_S = 60.0
_MAX_RETRY_S = 60.0
_READ_TIMEOUT_S = 5.0
# Within the drain's own seconds; a disk that takes longer keeps what it has.
_LAST_SAVE_TIMEOUT_S = 2.0
_ROWS_AT_ONCE = 200  # a tenth of a millisecond
_PIECE_BYTES = 1 << 18


class SavedTable:
    """Keeps a table of etcd's on disk. `restore` first, before etcd is asked; `keep` then for as long as golb runs.

    Args:
        directory: where the file is; it is made when it is first needed.
        zone: whose table it is; each has its own file.
        table: what is filled by `restore` and saved by `keep`.
        knowledge: what is known of the table; `restore` marks it as from disk, `keep` saves only what is from etcd.
        max_age_s: how old a table may be to be taken (>= 0 s); 0 for any age.
        wall_clock: tells unix seconds.
    """

    def __init__(
        self,
        directory: Path,
        zone: str,
        table: Table,
        knowledge: Knowledge,
        *,
        max_age_s: float = 0.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SavedFile(directory, zone)
        self._zone = zone
        self._table = table
        self._knowledge = knowledge
        self._max_age_s = max_age_s
        self._wall_clock = wall_clock
        self._saved_changes = -1
        self._saved_confirmed_at_s = 0.0
        self._next_at_s = -1.0
        self._refresh_at_s = -1.0
        self._retry_s = 0.0
        self._problem = ""

    async def restore(self, publish: Publish) -> bool:
        """Fill the table from the file and publish it, if there is one that can be trusted and is not too old.

        A file that cannot be trusted is set aside, with a warning. Takes some seconds at the most, whatever the disk does.

        Returns:
            Whether there is a table now.
        """
        read = None
        with trio.move_on_after(_READ_TIMEOUT_S) as reading:
            await trio.to_thread.run_sync(self._file.remove_leftovers, abandon_on_cancel=True)
            try:
                read = await trio.to_thread.run_sync(self._file.read, abandon_on_cancel=True)
            except NotTaken as exc:
                await self._set_aside(str(exc))
        if reading.cancelled_caught:
            LOG.warning("saved table not read", path=self._path, reason=f"not within {_READ_TIMEOUT_S:g} s")
        if read is None:
            return False
        about, rows = read
        # A board without a battery for its clock starts in the past: then the age is not known, and 0 at the least.
        age_s = max(self._wall_clock() - about.confirmed_at_s, 0.0)
        if self._max_age_s and age_s > self._max_age_s:
            LOG.warning("saved table too old", path=self._path, age_s=round(age_s, 3), max_age_s=self._max_age_s)
            return False
        await self._take(about, rows, age_s, publish)
        return True

    async def keep(self) -> NoReturn:
        """Save the table when it has changed or is known to be current still; ends by cancellation, and then saves once more."""
        try:
            while True:
                await trio.sleep(_LOOK_EVERY_S)
                now_s = trio.current_time()
                is_due = self._has_changed if now_s < self._refresh_at_s else self._is_newer
                if now_s >= self._next_at_s and self._may_be_saved and is_due:
                    await self._save()
        finally:
            with trio.move_on_after(_LAST_SAVE_TIMEOUT_S, shield=True):
                if self._may_be_saved and self._is_newer:
                    await self._save()

    @property
    def _path(self) -> str:
        return str(self._file.path)

    @property
    def _may_be_saved(self) -> bool:
        return self._table.is_filled and self._table.is_whole and self._knowledge.source == "etcd"

    @property
    def _has_changed(self) -> bool:
        return self._table.changes != self._saved_changes

    @property
    def _is_newer(self) -> bool:
        return self._has_changed or self._knowledge.confirmed_at > self._saved_confirmed_at_s

    async def _take(self, about: About, rows: list[Row], age_s: float, publish: Publish) -> None:
        updates = []
        for some in self._table.restore(rows, about.revision):
            updates += some
            await trio.lowlevel.checkpoint()
        self._knowledge.take_from_disk(about.cluster_id, about.revision, age_s)
        publish(updates)
        LOG.info(
            "weights from disk",
            path=self._path,
            functions=len(self._table),
            revision=about.revision,
            age_s=round(age_s, 3),
        )

    async def _set_aside(self, reason: str) -> None:
        try:
            path = await trio.to_thread.run_sync(self._file.set_aside, abandon_on_cancel=True)
        except OSError as exc:
            LOG.warning("saved table not read", path=self._path, reason=f"{reason}; nor set aside: {exc.strerror}")
        else:
            LOG.warning("saved table set aside", path=str(path), reason=reason)

    async def _save(self) -> None:
        changes, confirmed_at_s = self._table.changes, self._knowledge.confirmed_at
        about = About(
            zone=self._zone,
            cluster_id=self._knowledge.cluster_id,
            revision=self._knowledge.revision,
            confirmed_at_s=self._wall_clock() - (trio.current_time() - confirmed_at_s),
            functions=len(self._table),
        )
        body = await self._encode()
        try:
            length_bytes = await trio.to_thread.run_sync(self._file.write, about, body, abandon_on_cancel=True)
        except OSError as exc:
            self._failed(exc.strerror or str(exc))
            return
        if self._problem:
            LOG.info("table saved again", path=self._path, functions=about.functions, revision=about.revision)
        self._problem = ""
        self._retry_s = 0.0
        self._saved_changes, self._saved_confirmed_at_s = changes, confirmed_at_s
        pause_s = length_bytes / _BYTES_A_SECOND
        self._next_at_s = trio.current_time() + max(_AT_MOST_EVERY_S, pause_s)
        self._refresh_at_s = trio.current_time() + max(_AT_LEAST_EVERY_S, pause_s)

    async def _encode(self) -> list[bytes]:
        rows = self._table.rows()
        pieces: list[bytes] = []
        piece = bytearray()
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            piece += encode_rows(some)
            if len(piece) >= _PIECE_BYTES:
                pieces.append(bytes(piece))
                piece.clear()
            await trio.lowlevel.checkpoint()
        return [*pieces, bytes(piece)]

    def _failed(self, reason: str) -> None:
        self._retry_s = min(max(2 * self._retry_s, _AT_MOST_EVERY_S), _MAX_RETRY_S)
        self._next_at_s = trio.current_time() + self._retry_s
        if reason != self._problem:
            self._problem = reason
            LOG.warning("table not saved", path=self._path, reason=reason)

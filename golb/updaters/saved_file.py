"""A table as a file: its format, and how it is written and read so that a crash at any moment leaves a whole one.

Rule: what is not certainly what golb wrote for this zone is not taken; it is set aside, for somebody to look at.
Form: a line with format, version and the SHA-256 of all that follows; a line of JSON about the table; then for each
function a line with its name, the revision of its put and the length of its value, and the value with a newline.
Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from golb.errors import GolbError, WeightsError
from golb.weights import check_function_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from golb.updaters.table import Row

MAX_FILE_BYTES = 256 << 20
"""Longer files are neither written nor read: a table of 100,000 functions takes some 15 MB."""
KEPT_ASIDE = 3
"""So many files that were set aside are kept for each zone, the newest ones."""

_MAGIC = b"golb-table"
_VERSION = 1
_MAX_LINE_BYTES = 65536
# Whoever is still writing one is done by then.
_TEMPORARY_FOR_S = 600.0


class NotTaken(GolbError):
    """The file is not what golb wrote for this zone; the text says why. Set it aside."""


@frozen
class About:
    """What a saved table says of itself."""

    zone: str
    cluster_id: int
    """etcd's; 0 if it was not known."""
    revision: int
    """etcd's, which the table includes."""
    confirmed_at_s: float
    """Unix seconds: when the table was last known to be etcd's newest."""
    functions: int
    """Their number."""


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Return some of the table as it goes into the file."""
    return b"".join(
        [b"%b\t%d\t%d\n%b\n" % (function.encode(), revision, len(value), value) for function, value, revision in rows]
    )


class SavedFile:
    """The file of one zone in a directory, which other zones' golbs may share.

    Args:
        directory: made when it is first needed.
        zone: whose table it is.
    """

    def __init__(self, directory: Path, zone: str) -> None:
        self.path = directory / f"{zone}.table"
        self._zone = zone
        # A write that was given up while the disk hung must not put its table over a newer one.
        self._lock = threading.Lock()

    def write(self, about: About, body: Sequence[bytes]) -> int:
        """Put a table in the place of the one before; `body` is made by `encode_rows`.

        Whatever happens, also a loss of power, the file is the one before or this one. Writes wait for each other.

        Returns:
            The file's length in bytes.

        Raises:
            OSError: it cannot be written; the one before is as it was.
        """
        head = json.dumps(
            {
                "zone": about.zone,
                "cluster_id": str(about.cluster_id),
                "revision": about.revision,
                "confirmed_at": about.confirmed_at_s,
                "functions": about.functions,
            }
        ).encode()
        parts = [head, b"\n", *body]
        length_bytes = sum(map(len, parts))
        if length_bytes > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"the table has {length_bytes} bytes; {MAX_FILE_BYTES} are the most")
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        first = b"%b %d %b\n" % (_MAGIC, _VERSION, digest.hexdigest().encode())
        with self._lock:
            self._replace([first, *parts])
        return len(first) + length_bytes

    def read(self) -> tuple[About, list[Row]] | None:
        """Return the table; None if there is no file. The values are as they were put, unchecked.

        Raises:
            NotTaken: it is damaged, cut short, too large, of another version or another zone, or cannot be read.
        """
        try:
            content = self._content()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise NotTaken(f"it cannot be read: {exc.strerror}") from exc
        return _decode(content, self._zone)

    def set_aside(self) -> Path:
        """Rename the file, so that it is out of the way, and remove the oldest of those that were set aside before.

        Returns:
            Where it is now.

        Raises:
            OSError: it cannot be renamed.
        """
        aside = self.path.with_name(f"{self.path.name}.bad-{time.time_ns()}")
        self.path.rename(aside)
        older = sorted(self._siblings(".bad-"), key=lambda path: path.name, reverse=True)
        for path in older[KEPT_ASIDE:]:
            with suppress(OSError):
                path.unlink()
        return aside

    def remove_leftovers(self) -> None:
        """Remove what a golb that was killed while it wrote has left."""
        for path in self._siblings("."):
            with suppress(OSError):
                if path.suffix == ".tmp" and time.time() - path.stat().st_mtime > _TEMPORARY_FOR_S:
                    path.unlink()

    def _replace(self, parts: Sequence[bytes]) -> None:
        directory = self.path.parent
        directory.mkdir(parents=True, exist_ok=True)
        # A name of its own: two golbs of one zone may share a node, one of which is about to go.
        descriptor, temporary = tempfile.mkstemp(prefix=f"{self.path.name}.", suffix=".tmp", dir=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
        # The new name is on the disk only with its directory (fsync(2)).
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _siblings(self, start: str) -> list[Path]:
        try:
            return [path for path in self.path.parent.iterdir() if path.name.startswith(self.path.name + start)]
        except OSError:
            return []

    def _content(self) -> bytes:
        # O_NONBLOCK: what is a pipe must not be waited for.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotTaken("it is no regular file")
            if status.st_size > MAX_FILE_BYTES + _MAX_LINE_BYTES:
                raise NotTaken(f"it has {status.st_size} bytes; {MAX_FILE_BYTES} are the most")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)


def _decode(content: bytes, zone: str) -> tuple[About, list[Row]]:
    first, _, rest = content.partition(b"\n")
    words = first[:_MAX_LINE_BYTES].split(b" ")
    if words[0] != _MAGIC or len(words) != 3:
        raise NotTaken("it is no saved table")
    if words[1] != b"%d" % _VERSION:
        raise NotTaken(f"its format is {words[1][:20].decode(errors='replace')!a}; {_VERSION} is known")
    if hashlib.sha256(rest).hexdigest().encode() != words[2]:
        raise NotTaken("it is damaged: the checksum differs")
    try:
        about, start = _decode_about(rest)
        if about.zone != zone:
            raise NotTaken(f"it is of another zone, {about.zone[:100]!r}")
        rows = _decode_rows(rest, start)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, WeightsError) as exc:
        # With a checksum that holds: somebody else has written it.
        raise NotTaken(f"it is not as golb writes it: {exc!r}"[:300]) from exc
    if len(rows) != about.functions:
        raise NotTaken(f"it holds {len(rows)} functions where it says {about.functions}")
    return about, rows


def _decode_about(content: bytes) -> tuple[About, int]:
    end = content.index(b"\n", 0, _MAX_LINE_BYTES)
    about = json.loads(content[:end].decode())
    if not math.isfinite(about["confirmed_at"]):
        raise ValueError("a time that is none")
    return (
        About(
            zone=str(about["zone"]),
            cluster_id=int(about["cluster_id"]),
            revision=int(about["revision"]),
            confirmed_at_s=float(about["confirmed_at"]),
            functions=int(about["functions"]),
        ),
        end + 1,
    )


def _decode_rows(content: bytes, start: int) -> list[Row]:
    rows: list[Row] = []
    while start < len(content):
        end = content.index(b"\n", start, start + _MAX_LINE_BYTES)
        name, revision, length = content[start:end].split(b"\t")
        start = end + 1 + int(length)
        if int(length) < 0 or content[start : start + 1] != b"\n":
            raise ValueError("a value has another length than it says")
        function = name.decode()
        check_function_name(function)
        rows.append((function, content[end + 1 : start], int(revision)))
        start += 1
    return rows

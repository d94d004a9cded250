"""The last table on disk, through starts, ends, and a disk that does not do what it should."""

from __future__ import annotations

import resource
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from support.following import Following

from golb.updaters import Knowledge, SavedTable
from golb.updaters.saved_file import About, SavedFile
from golb.updaters.table import Table
from golb.weights import Endpoint, Weights, WeightUpdate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from support.following import Logs

A = Endpoint("10.0.0.1", 80)
GOOD = b'{"ips": ["10.0.0.1"], "weights": [1]}'
OTHER = b'{"ips": ["10.0.0.1"], "weights": [2]}'
BAD = b'{"ips": ["10.0.0.1"], "weights": [-1]}'
NOW_S = 1_700_000_000.0
REAL_DEADLINE_S = 10


class Golb:
    """What of golb has to do with the saved table, in one life of it; the machine's clock stands still at `NOW_S`."""

    def __init__(self, directory: Path, *, max_age_s: float = 0.0, now_s: float = NOW_S) -> None:
        self.table = Table()
        self.knowledge = Knowledge()
        self.saved = SavedTable(
            directory, "zone-a", self.table, self.knowledge, max_age_s=max_age_s, wall_clock=lambda: now_s
        )
        self.following = Following()

    async def restore(self) -> bool:
        return await self.saved.restore(self.following.publish)

    def list(self, revision: int, **values: bytes) -> list[WeightUpdate]:
        """Take what etcd has, as the updater does."""
        updates = self.table.replace({name: (value, revision) for name, value in values.items()}, revision)
        self.confirm(revision)
        return updates

    def confirm(self, revision: int) -> None:
        self.knowledge.confirm("etcd", 5, revision, trio.current_time())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let it save; on leaving golb ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.saved.keep)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()


class File:
    """What is on the disk."""

    def __init__(self, directory: Path) -> None:
        self.file = SavedFile(directory, "zone-a")

    def about(self) -> About | None:
        read = self.file.read()
        return read[0] if read else None

    def revision(self) -> int | None:
        about = self.about()
        return about.revision if about else None


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()] if directory.exists() else []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def file(directory: Path) -> File:
    return File(directory)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


async def pass_time(clock: trio.testing.MockClock, seconds: float) -> None:
    """Let Trio's clock go on, and wait until no thread has anything to do."""
    limiter = trio.to_thread.current_default_thread_limiter()
    deadline_s = time.monotonic() + REAL_DEADLINE_S
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked()
    while limiter.borrowed_tokens:
        assert time.monotonic() < deadline_s
        await trio.testing.wait_all_tasks_blocked(0.001)
    await trio.testing.wait_all_tasks_blocked()


async def save(golb: Golb) -> None:
    async with golb.running():
        pass  # golb saves as it ends


async def test_what_one_golb_saved_the_next_one_serves_and_says_so(directory: Path, logs: Logs) -> None:
    first = Golb(directory)
    first.table.replace({"f": (GOOD, 3), "g": (OTHER, 4)}, 7)
    first.knowledge.confirm("etcd", 5, 9, trio.current_time())
    await save(first)
    second = Golb(directory, now_s=NOW_S + 40.5)
    assert await second.restore()
    assert await second.following.next_call() == {"f": Weights({A: 1}), "g": Weights({A: 2})}
    assert second.following.revisions == {"f": 3, "g": 4}
    knowledge = second.knowledge
    assert (knowledge.source, knowledge.cluster_id, knowledge.revision) == ("disk", 5, 9)
    assert knowledge.age_s == pytest.approx(40.5, abs=1)
    (line,) = [log for log in logs if log["event"] == "weights from disk"]
    assert line.pop("age_s") == pytest.approx(40.5, abs=1)
    assert line == {
        "event": "weights from disk",
        "log_level": "info",
        "path": str(directory / "zone-a.table"),
        "functions": 2,
        "revision": 9,
    }


async def test_the_first_list_from_etcd_publishes_only_what_differs(directory: Path) -> None:
    first = Golb(directory)
    first.list(7, same=GOOD, changed=GOOD, gone=GOOD)
    await save(first)
    second = Golb(directory)
    await second.restore()
    assert second.list(12, same=GOOD, changed=OTHER) == [
        WeightUpdate("gone", None, 12),
        WeightUpdate("changed", Weights({A: 2}), 12),
    ]


async def test_an_empty_table_is_known_to_be_empty(directory: Path) -> None:
    first = Golb(directory)
    first.list(7)
    await save(first)
    second = Golb(directory)
    assert await second.restore()
    assert await second.following.next_call() == {}


async def test_without_a_file_there_is_nothing_to_say(directory: Path, logs: Logs) -> None:
    golb = Golb(directory)
    assert not await golb.restore()
    assert not golb.following.unread
    assert golb.knowledge.source == "none"
    assert logs == []
    assert names_in(directory) == []


async def test_a_damaged_file_is_set_aside_and_the_next_one_takes_its_place(
    directory: Path, file: File, logs: Logs
) -> None:
    first = Golb(directory)
    first.list(7, f=GOOD)
    await save(first)
    file.file.path.write_bytes(file.file.path.read_bytes()[:-1])
    golb = Golb(directory)
    assert not await golb.restore()
    assert not golb.following.unread
    (aside,) = names_in(directory)
    assert [log for log in logs if log["log_level"] == "warning"] == [
        {
            "event": "saved table set aside",
            "log_level": "warning",
            "path": str(directory / aside),
            "reason": "it is damaged: the checksum differs",
        }
    ]
    golb.list(8, f=OTHER)
    await save(golb)
    assert file.revision() == 8


async def test_a_file_of_another_zone_is_not_served(directory: Path, logs: Logs) -> None:
    first = Golb(directory)
    first.list(7, f=GOOD)
    await save(first)
    (directory / "zone-a.table").rename(directory / "zone-b.table")
    other = SavedTable(directory, "zone-b", Table(), Knowledge())
    following = Following()
    assert not await other.restore(following.publish)
    assert not following.unread
    assert [log["reason"] for log in logs if log["event"] == "saved table set aside"] == [
        "it is of another zone, 'zone-a'"
    ]


async def test_where_nothing_can_be_set_aside_golb_starts_all_the_same(tmp_path: Path, logs: Logs) -> None:
    (tmp_path / "file").touch()
    golb = Golb(tmp_path / "file")
    assert not await golb.restore()
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("saved table not read", "warning")
    assert line["reason"] == "it cannot be read: Not a directory; nor set aside: Not a directory"


async def test_a_value_that_would_be_refused_from_etcd_is_refused_from_disk(directory: Path, logs: Logs) -> None:
    first = Golb(directory)
    first.list(7, f=GOOD, g=GOOD)
    first.table._known["g"] = (BAD, first.table._known["g"][1])  # noqa: SLF001 - as an older golb might have taken it
    await save(first)
    second = Golb(directory)
    assert await second.restore()
    assert await second.following.next_call() == {"f": Weights({A: 1})}
    assert [(log["name"], log["kept"]) for log in logs if log["event"] == "refused"] == [("g", False)]


@pytest.mark.parametrize(("age_s", "max_age_s", "is_taken"), [(59, 60, 1), (62, 60, 0), (1e9, 0, 1)])
async def test_a_table_older_than_allowed_is_not_served(
    age_s: float, max_age_s: float, is_taken: int, directory: Path, logs: Logs
) -> None:
    first = Golb(directory)
    first.list(7, f=GOOD)
    await save(first)
    second = Golb(directory, max_age_s=max_age_s, now_s=NOW_S + age_s)
    assert await second.restore() == is_taken
    assert len(second.following.unread) == is_taken
    assert [log["event"] for log in logs][-1] == ("weights from disk" if is_taken else "saved table too old")


async def test_with_a_clock_that_is_behind_the_age_is_none(directory: Path) -> None:
    first = Golb(directory)
    first.list(7, f=GOOD)
    await save(first)
    second = Golb(directory, max_age_s=60, now_s=0.0)
    assert await second.restore()
    assert second.knowledge.age_s == pytest.approx(0.0, abs=1)


async def test_the_table_is_saved_soon_and_then_every_five_seconds_at_most(
    directory: Path, file: File, mock_clock: trio.testing.MockClock
) -> None:
    golb = Golb(directory)
    golb.list(1, f=GOOD)
    async with golb.running():
        await pass_time(mock_clock, 0.5)
        assert file.revision() == 1
        for revision in range(2, 11):
            golb.list(revision, f=OTHER if revision % 2 else GOOD)
            await pass_time(mock_clock, 0.5)
            assert file.revision() == 1
        golb.list(11, f=OTHER)
        await pass_time(mock_clock, 0.5)
        assert file.revision() == 11


async def test_an_unchanged_table_is_saved_once_a_minute_so_that_its_age_is_right(
    directory: Path, file: File, mock_clock: trio.testing.MockClock
) -> None:
    golb = Golb(directory)
    golb.list(1, f=GOOD)
    async with golb.running():
        await pass_time(mock_clock, 0.5)
        for revision in range(2, 60):
            golb.confirm(revision)
            await pass_time(mock_clock, 1)
            assert file.revision() == 1
        golb.confirm(60)
        await pass_time(mock_clock, 2)
        assert file.revision() == 60
        await pass_time(mock_clock, 70)  # not confirmed any more
    assert file.revision() == 60


async def test_the_age_counts_from_the_last_confirmation_and_not_from_the_saving(
    directory: Path, file: File, mock_clock: trio.testing.MockClock
) -> None:
    golb = Golb(directory)
    golb.list(1, f=GOOD)
    await pass_time(mock_clock, 33)
    await save(golb)
    about = file.about()
    assert about is not None
    assert about.confirmed_at_s == NOW_S - 33


async def test_at_its_end_golb_saves_what_it_knows(
    directory: Path, file: File, mock_clock: trio.testing.MockClock
) -> None:
    golb = Golb(directory)
    golb.list(1, f=GOOD)
    async with golb.running():
        await pass_time(mock_clock, 0.5)
        golb.list(2, f=OTHER)
    assert file.revision() == 2


async def test_only_a_whole_table_from_etcd_is_saved(
    directory: Path, file: File, mock_clock: trio.testing.MockClock
) -> None:
    golb = Golb(directory)
    async with golb.running():
        await pass_time(mock_clock, 10)  # there is none yet
    assert file.revision() is None
    golb.list(1, f=GOOD)
    await save(golb)
    golb = Golb(directory)
    assert await golb.restore()
    async with golb.running():
        golb.table.put("f", OTHER, 2)  # still from disk, whatever it is
        await pass_time(mock_clock, 100)
    assert file.revision() == 1
    golb.confirm(3)
    steps = golb.table.replace_in_steps({"f": (GOOD, 3), "g": (GOOD, 3)}, 3, changes_at_once=1)
    next(steps)
    async with golb.running():
        await pass_time(mock_clock, 100)
    assert file.revision() == 1
    assert [len(updates) for updates in steps] == [1, 0]
    await save(golb)
    assert file.revision() == 3


async def test_a_disk_that_refuses_is_told_once_and_tried_again(
    tmp_path: Path, mock_clock: trio.testing.MockClock, logs: Logs
) -> None:
    (tmp_path / "state").touch()
    golb = Golb(tmp_path / "state")
    golb.list(1, f=GOOD)
    async with golb.running():
        for revision in range(2, 100):
            golb.list(revision, f=OTHER if revision % 2 else GOOD)
            await pass_time(mock_clock, 1)
        (line,) = [log for log in logs if log["event"] == "table not saved"]
        assert (line["log_level"], line["path"]) == ("warning", str(tmp_path / "state" / "zone-a.table"))
        assert line["reason"] == "File exists"
        (tmp_path / "state").unlink()
        await pass_time(mock_clock, 60)
        assert File(tmp_path / "state").revision() == 99
        assert logs[-1]["event"] == "table saved again"


@pytest.fixture
def full_disk() -> Iterator[Callable[..., None]]:
    """Let no file grow beyond 10 kB: a write then fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*, full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000 if full else soft, hard))

    yield fill
    fill(full=False)


async def test_a_disk_that_is_full_half_way_leaves_the_last_table_whole(
    directory: Path, file: File, mock_clock: trio.testing.MockClock, logs: Logs, full_disk: Callable[..., None]
) -> None:
    golb = Golb(directory)
    golb.list(1, f=GOOD)
    async with golb.running():
        await pass_time(mock_clock, 0.5)
        full_disk(full=True)
        golb.list(2, **{f"f{number}": GOOD for number in range(1000)})
        await pass_time(mock_clock, 6)
        full_disk(full=False)
        assert [log["reason"] for log in logs if log["event"] == "table not saved"] == ["File too large"]
        assert file.revision() == 1
        assert names_in(directory) == ["zone-a.table"]
        await pass_time(mock_clock, 6)
        assert file.revision() == 2


async def test_a_large_table_is_saved_piece_by_piece_while_others_run(directory: Path, file: File) -> None:
    golb = Golb(directory)
    golb.list(1, **{f"function-{number}": GOOD for number in range(5000)})
    turns = 0
    async with trio.open_nursery() as nursery:

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(count_turns)
        async with trio.open_nursery() as life:
            life.start_soon(golb.saved.keep)
            await trio.lowlevel.checkpoint()
            life.cancel_scope.cancel()  # golb saves as it ends
        nursery.cancel_scope.cancel()
    assert turns >= 20
    read = file.file.read()
    assert read is not None
    assert len(read[1]) == 5000

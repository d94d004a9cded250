"""Where the lines of the access log go, and what becomes of them when they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from support.unread_pipe import read_all, unread_pipe

from golb.access_log import AccessLog
from golb.access_log import file as file_module
from golb.access_log.file import FileSink
from golb.access_log.stdout import StdoutSink
from golb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILLED = """
import resource, sys, trio
from pathlib import Path
from golb.access_log.file import FileSink
sink = FileSink(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
trio.run(sink.write, [b"first line\\n", b"second line\\n", b"third line\\n"])
print(sink.written, sink.lost, sink.failure)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
trio.run(sink.write, [b"fourth line\\n"])
print(sink.written, sink.lost)
"""
BOUND_S = 10.0
# More than a pipe holds.
MANY = [b"%099d\n" % number for number in range(2000)]


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe whose reader does not wait; yield both ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


async def read_until(reader: int, lines: int) -> bytes:
    """Read so many lines."""
    received = b""
    while received.count(b"\n") < lines:
        received += read_all(reader)
        await trio.sleep(0.001)
    return received


def test_a_line_that_a_full_disk_has_cut_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", FILLED, str(path)], capture_output=True, timeout=30, check=True)
    assert done.stdout.decode().splitlines() == ["2 1 File too large", "3 1"]
    assert path.read_bytes() == b"first line\nsecond line\nth\nfourth line\n"


async def test_a_file_that_is_moved_away_is_left_for_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "_LOOK_EVERY_S", 0)
    path, old = tmp_path / "log", tmp_path / "log.1"
    sink = FileSink(path)
    await sink.write([b"one\n"])
    path.rename(old)
    await sink.write([b"two\n"])
    path.unlink()
    await sink.write([b"three\n"])
    await sink.close()
    assert (old.read_bytes(), path.read_bytes()) == (b"one\n", b"three\n")
    assert (sink.written, sink.lost) == (3, 0)


async def test_a_file_that_is_emptied_in_its_place_goes_on_from_its_begin(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = FileSink(path)
    await sink.write([b"one\n"])
    os.truncate(path, 0)
    await sink.write([b"two\n"])
    await sink.close()
    assert path.read_bytes() == b"two\n"


async def test_only_its_owner_and_group_read_a_new_file(tmp_path: Path) -> None:
    await FileSink(tmp_path / "log").close()
    assert (tmp_path / "log").stat().st_mode & 0o027 == 0


async def test_a_pipe_whose_reader_has_gone_is_written_to_again_when_it_has_a_new_one(tmp_path: Path) -> None:
    with unread_pipe(tmp_path) as (path, _):
        sink = FileSink(path)
        await sink.write([b"one\n"])
    await sink.write([b"two\n"])
    assert (sink.written, sink.lost, sink.failure) == (1, 1, "Broken pipe")
    await sink.write([b"three\n"])
    assert (sink.written, sink.lost) == (1, 2)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await sink.write([b"four\n"])
        assert read_all(reader) == b"four\n"
    finally:
        os.close(reader)
        await sink.close()
    assert (sink.written, sink.lost) == (2, 2)


def test_a_file_that_cannot_be_opened_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        AccessLog("json", tmp_path / "no" / "such")
    assert str(refused.value) == (
        f"eb_go_lb_access_log_path is '{tmp_path}/no/such'; it accepts the path of a file to append to, and this is none: "
        "No such file or directory"
    )


@pytest.mark.parametrize("blocking", [True, False])
async def test_standard_output_gets_lines_as_its_reader_takes_them_and_no_task_waits(*, blocking: bool) -> None:
    with pipe() as (reader, writer), trio.fail_after(BOUND_S):
        os.set_blocking(writer, blocking)
        sink = StdoutSink(writer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sink.write, MANY)
            while not sink.written:
                await trio.lowlevel.checkpoint()
            assert sink.written < len(MANY)  # and the loop goes on, which a write would have held up for good
            assert await read_until(reader, len(MANY)) == b"".join(MANY)
        assert (sink.written, sink.lost) == (len(MANY), 0)


async def test_a_write_to_standard_output_that_is_given_up_leaves_whole_lines() -> None:
    with pipe() as (reader, writer):
        sink = StdoutSink(writer)
        with trio.move_on_after(0.05) as scope:
            await sink.write(MANY)
        assert scope.cancelled_caught
        assert read_all(reader) == b"".join(MANY[: sink.written])
        assert sink.lost == 0


async def test_standard_output_that_is_closed_costs_lines_that_are_counted() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        sink = StdoutSink(writer)
        await sink.write(MANY)
        assert (sink.written, sink.lost, sink.failure) == (0, len(MANY), "Broken pipe")
        await sink.close()
        os.fstat(writer)  # still open
    finally:
        os.close(writer)

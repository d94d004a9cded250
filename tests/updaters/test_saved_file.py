"""The file that holds a table: what is written is read, and what is not certainly that is not taken."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.updaters.saved_file import KEPT_ASIDE, About, NotTaken, SavedFile, encode_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from golb.updaters.table import Row

ABOUT = About(zone="zone-a", cluster_id=2**64 - 1, revision=77, confirmed_at_s=1.7e9, functions=0)
ROWS: list[Row] = [("resnet", b'{"ips": ["10.0.0.1"], "weights": [1]}', 70), ("ünicode", b"\n\x00\t\xff", 2**62)]


def write(file: SavedFile, rows: Iterable[Row], about: About = ABOUT) -> None:
    rows = list(rows)
    file.write(evolve(about, functions=len(rows)), [encode_rows(rows[:1]), encode_rows(rows[1:])])


@pytest.fixture
def file(tmp_path: Path) -> SavedFile:
    return SavedFile(tmp_path / "state" / "golb", "zone-a")


def reason(file: SavedFile) -> str:
    with pytest.raises(NotTaken) as refused:
        file.read()
    return str(refused.value)


def test_what_is_written_is_read_byte_for_byte(file: SavedFile) -> None:
    assert file.read() is None
    write(file, ROWS)
    assert file.read() == (evolve(ABOUT, functions=2), ROWS)
    assert [path.name for path in file.path.parent.iterdir()] == ["zone-a.table"]


def test_an_empty_table_is_a_table(file: SavedFile) -> None:
    write(file, [])
    assert file.read() == (ABOUT, [])


NAMES = st.text("aZ09-_. üλ字🙂", min_size=1, max_size=20)
ANY_ROWS = st.lists(st.tuples(NAMES, st.binary(max_size=50), st.integers(0, 2**63 - 1)), max_size=10)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(ANY_ROWS)
def test_any_rows_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    file = SavedFile(tmp_path_factory.mktemp("saved"), "zone-a")
    write(file, rows)
    assert file.read() == (evolve(ABOUT, functions=len(rows)), rows)


def test_zones_that_share_a_directory_have_files_of_their_own(tmp_path: Path) -> None:
    ours, theirs = SavedFile(tmp_path, "zone-a"), SavedFile(tmp_path, "zone-a2")
    write(ours, ROWS)
    write(theirs, [], evolve(ABOUT, zone="zone-a2"))
    theirs.set_aside()
    assert ours.read() == (evolve(ABOUT, functions=2), ROWS)
    assert theirs.read() is None


def test_a_file_cut_at_any_place_is_not_taken(file: SavedFile) -> None:
    write(file, ROWS)
    content = file.path.read_bytes()
    for length in range(len(content)):
        file.path.write_bytes(content[:length])
        assert reason(file) in {"it is no saved table", "it is damaged: the checksum differs"}


def test_a_file_with_any_byte_changed_is_not_taken(file: SavedFile) -> None:
    write(file, ROWS)
    content = file.path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.path.write_bytes(damaged)
        assert reason(file)


def with_checksum(text: bytes, version: bytes = b"1") -> bytes:
    return b"golb-table %b %b\n" % (version, hashlib.sha256(text).hexdigest().encode()) + text


HEAD = b'{"zone": "zone-a", "cluster_id": "1", "revision": 2, "confirmed_at": 3, "functions": 1}\n'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is no saved table"),
        (b"{}", "it is no saved table"),
        (bytes(range(256)), "it is no saved table"),
        (with_checksum(HEAD, b"2"), "its format is '2'; 1 is known"),
        (with_checksum(HEAD.replace(b"zone-a", b"zone-b")), "it is of another zone, 'zone-b'"),
        (with_checksum(HEAD), "it holds 0 functions where it says 1"),
        (with_checksum(b""), "it is not as golb writes it: "),
        (with_checksum(b"[]\n"), "it is not as golb writes it: "),
        (with_checksum(b"{}\n"), "it is not as golb writes it: "),
        (with_checksum(b"[" * 50_000 + b"\n"), "it is not as golb writes it: "),
        (with_checksum(HEAD.replace(b'"confirmed_at": 3', b'"confirmed_at": NaN')), "it is not as golb writes it: "),
        (with_checksum(HEAD + b"f\t1\t5\nabc\n"), "it is not as golb writes it: "),
        (with_checksum(HEAD + b"f\t1\t-1\nabc\n"), "it is not as golb writes it: "),
        (with_checksum(HEAD + b"f\t1\nabc\n"), "it is not as golb writes it: "),
        (with_checksum(HEAD + b"a/b\t1\t0\n\n"), "it is not as golb writes it: "),
        (with_checksum(HEAD + b"\xff\t1\t0\n\n"), "it is not as golb writes it: "),
    ],
)
def test_what_is_not_golbs_own_is_not_taken_and_the_reason_told(content: bytes, expected: str, file: SavedFile) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(content)
    assert reason(file).startswith(expected)


def test_a_pipe_a_directory_and_a_file_too_long_are_not_taken(file: SavedFile) -> None:
    file.path.parent.mkdir(parents=True)
    os.mkfifo(file.path)
    assert reason(file) == "it is no regular file"
    file.path.unlink()
    file.path.mkdir()
    assert reason(file) == "it is no regular file"
    file.path.rmdir()
    file.path.touch()
    os.truncate(file.path, 1 << 40)  # a hole, which takes no room
    assert reason(file).startswith("it has 1099511627776 bytes")


def test_a_file_set_aside_is_out_of_the_way_and_few_are_kept(file: SavedFile) -> None:
    asides = []
    for number in range(KEPT_ASIDE + 3):
        write(file, [("f", b"%d" % number, number)])
        asides.append(file.set_aside())
        assert file.read() is None
    assert sorted(file.path.parent.iterdir()) == asides[-KEPT_ASIDE:]
    assert b"\tf" not in asides[-1].read_bytes()
    assert asides[-1].read_bytes().endswith(b"\n5\n")


def test_a_write_that_fails_leaves_the_one_before_and_no_litter(file: SavedFile) -> None:
    write(file, ROWS)
    blocked = SavedFile(Path("/dev/full"), "zone-a")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        write(blocked, ROWS)
    file.path.unlink()
    file.path.mkdir()  # nothing can be renamed to its place
    with pytest.raises(IsADirectoryError):
        write(file, ROWS)
    assert [path.name for path in file.path.parent.iterdir()] == ["zone-a.table"]


def test_a_table_too_long_is_not_written(file: SavedFile) -> None:
    piece = b"x" * (1 << 20)
    with pytest.raises(OSError, match="bytes; 268435456 are the most"):
        file.write(ABOUT, [piece] * 257)
    assert not file.path.exists()


def test_what_a_killed_golb_left_is_removed_after_a_while(file: SavedFile) -> None:
    write(file, ROWS)
    old, new = (file.path.with_name(f"zone-a.table.{name}.tmp") for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    file.remove_leftovers()
    assert sorted(file.path.parent.iterdir()) == [file.path, new]

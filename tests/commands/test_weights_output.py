"""Where a command's words go: to pipes that close, disks that are full, terminals without some letters."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands.zones import value

from golb.commands.output import MOST_STYLED_ROWS, Column, Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands.doctors import Doctor
    from commands.zones import Zone

FULL = Path("/dev/full")


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_a_reader_that_has_gone_is_code_141_and_no_word_more(zone: Zone, unread: int) -> None:
    command = [sys.executable, "-m", "golb", "weights", "list"]
    environ = os.environ | zone.environ
    done = subprocess.run(command, env=environ, stdout=unread, stderr=subprocess.PIPE, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
def test_a_disk_that_is_full_is_code_141_and_a_line(
    zone: Zone, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    with FULL.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        ended = zone.weights(*arguments)
    assert ended.code == 141
    assert ended.err.endswith("golb weights: the output cannot be written: No space left on device\n")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_doctor_whose_words_are_lost_is_code_141_too(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code, _, err = doctor.text("--timeout", "0")
    assert (code, err) == (141, "golb doctor: the output cannot be written: No space left on device\n")


def test_a_stdout_that_is_closed_is_code_141_and_a_line(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    ended = zone.weights("list", "--json")
    assert (ended.code, ended.err) == (141, "golb weights: stdout is closed\n")


def test_a_stderr_that_is_closed_keeps_no_command_from_its_end(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert zone.weights("get", "nope").code == 1


def test_a_move_that_nobody_reads_ends_and_says_what_it_has_done(
    zone: Zone, unread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.put("hello", value(**{"5": 4}))
    shift = ["shift", "hello", "10.42.0.5:8080", "10.42.0.6:8080", "--over", "40ms", "--every", "10ms", "--json"]
    with open(unread, "w", encoding="utf-8", closefd=False) as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        ended = zone.weights(*shift)
    assert ended.code == 141
    assert "1 of 4 steps were taken, the last left 10.42.0.5:8080=3 (75.0 %), 10.42.0.6:8080=1 (25.0 %)" in ended.err
    assert zone.members("hello") == value(**{"5": 3, "6": 1})


def test_letters_that_the_output_lacks_are_escaped(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    zone.put("café", value(**{"5": 1}))
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert zone.weights("list").code == 0
    assert written.getvalue().splitlines()[1].split()[:2] == [b"caf\\xe9", b"10.42.0.5:8080"]


def test_columns_in_a_pipe_stand_below_each_other_by_the_width_of_their_letters(zone: Zone) -> None:
    zone.put("a", value(**{"5": 1}))
    zone.put("日本", value(**{"5": 10}))
    rows = [line.partition(" %")[0] for line in zone.weights("list").out.splitlines()[1:]]
    assert rows == [
        "a         10.42.0.5:8080       1  100.0",
        "日本      10.42.0.5:8080      10  100.0",
    ]


@pytest.mark.parametrize(("rows", "is_styled"), [(MOST_STYLED_ROWS, True), (MOST_STYLED_ROWS + 1, False)])
def test_a_table_that_is_very_long_is_plain_on_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch, rows: int, *, is_styled: bool
) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(is_json=False).table([Column("FUNCTION")], [["hello"]] * rows, "a title")
    assert ("a title" in terminal.getvalue()) is is_styled
    assert terminal.getvalue().count("hello") == rows


def test_a_file_that_cannot_be_read_is_code_2(zone: Zone) -> None:
    ended = zone.weights("check", "/proc/self/mem")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "golb weights: /proc/self/mem cannot be read: Input/output error\n"

"""What a worker prints reaches its parent's output in whole lines."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

import pytest
import trio
from support.stack import BOUND_S
from trio.testing import wait_all_tasks_blocked

from golb.workers.output import relay


async def append(lines: list[str], text: str) -> None:
    lines.append(text)


@pytest.mark.parametrize(
    ("parts", "written"),
    [
        ([b"one\n", b"two\n"], ["one\n", "two\n"]),
        ([b"one\ntwo\nthr", b"ee\n"], ["one\ntwo\n", "three\n"]),
        ([b"on", b"e", b"\ntwo\n"], ["one\ntwo\n"]),
        ([b"gr\xc3", b"\xb6\xc3\x9fe\n"], ["größe\n"]),
        ([b"no\xffutf-8\n"], ["no\ufffdutf-8\n"]),
        ([b"\n\n"], ["\n\n"]),
        ([b"one\ntwo"], ["one\n", "two\n"]),
        ([], []),
    ],
)
async def test_lines_are_passed_on_whole_as_soon_as_they_have_ended(parts: list[bytes], written: list[str]) -> None:
    lines: list[str] = []
    reader, writer = os.pipe()
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, trio.lowlevel.FdStream(reader), partial(append, lines))
            for part in parts:
                os.write(writer, part)
                await wait_all_tasks_blocked()
            before = list(lines)
            os.close(writer)
    assert lines == written
    assert before == [line for line in lines if line != "two\n" or parts[-1].endswith(b"\n")]


async def test_a_line_beyond_a_mebibyte_is_passed_on_in_parts() -> None:
    lines: list[str] = []
    reader, writer = os.pipe()
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, trio.lowlevel.FdStream(reader), partial(append, lines))
            async with trio.lowlevel.FdStream(writer) as stream:
                await stream.send_all(b"x" * 3_000_000 + b"\nshort\n")
    assert all(line.endswith("\n") for line in lines)
    assert max(map(len, lines)) < (1 << 20) + (1 << 17)
    assert "".join(lines).replace("\n", "") == "x" * 3_000_000 + "short"
    assert lines[-1].endswith("\nshort\n")


async def test_output_that_nobody_takes_waits_in_its_pipe() -> None:
    taken = trio.Event()
    lines: list[str] = []

    async def take_when_told(text: str) -> None:
        await taken.wait()
        lines.append(text)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, trio.lowlevel.FdStream(reader), take_when_told)
            written = 0
            with suppress(BlockingIOError):
                while written < 1 << 20:
                    written += os.write(writer, b"x" * 99 + b"\n")
                    await wait_all_tasks_blocked()
            assert written < 1 << 20
            taken.set()
            os.close(writer)
    assert sum(map(len, lines)) == written

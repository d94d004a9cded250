"""The demo as a user sees it: started as a process, its lines copied into a shell, ended by a signal.

Whether it leaves something running is told by a variable in its environment: every process that it starts, at any
depth and in any session, inherits it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import define

from demo.__main__ import LAST_LINE
from demo.commands import CYCLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).parents[2]
MARK = "GOLB_DEMO_TEST"
UP_TIMEOUT_S = 30
WEIGHTS_TIMEOUT_S = 15
END_TIMEOUT_S = 15
POLL_INTERVAL_S = 0.02


@define
class Demo:
    """A demo as a process, and what it has printed so far."""

    process: trio.Process
    environ: dict[str, str]
    cwd: Path
    printed: str = ""

    async def read_until(self, text: str) -> str:
        """Read on until this text is printed, or to the end; return all that was printed."""
        assert self.process.stdout is not None
        while text not in self.printed and (data := await self.process.stdout.receive_some()):
            self.printed += data.decode()
        assert text in self.printed, self.printed
        return self.printed

    async def shell(self, line: str) -> str:
        """Run a line as a user would, and return what it prints."""
        done = await trio.run_process(
            ["sh", "-c", line], capture_stdout=True, capture_stderr=True, check=False, cwd=self.cwd, env=self.environ
        )
        assert done.returncode == 0, (line, done)
        # A field's value ends at CR LF, the example functions' lines at LF.
        return done.stdout.decode().replace("\r\n", "\n")

    async def end(self, number: signal.Signals) -> int:
        """Send a signal as a terminal does, to the whole process group; read on to the end, return the exit code."""
        os.killpg(self.process.pid, number)
        with trio.fail_after(END_TIMEOUT_S):
            await self.read_until("golb demo: stopped")
            return await self.process.wait()

    def pid_of_golb(self, zone: str) -> int:
        """Return the process id of a zone's golb."""
        setting = f"eb_go_lb_zone={zone}".encode()
        (pid,) = (pid for pid in self.left() if setting in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
        return pid

    def left(self) -> dict[int, str]:
        """Return the command line by process id of whatever runs on behalf of the demo, itself included."""
        mark = f"{MARK}={self.environ[MARK]}".encode()
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (directory / "environ").read_bytes().split(b"\0"):
                    found[int(directory.name)] = (directory / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue  # it ended meanwhile, or is not ours to read
        return found


@asynccontextmanager
async def running_demo(cwd: Path = ROOT, **variables: str) -> AsyncIterator[Demo]:
    environ = {**os.environ, **variables, MARK: uuid.uuid4().hex}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "demo", "--free-ports"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=environ,
        start_new_session=True,
    )
    demo = Demo(process, environ, cwd)
    try:
        yield demo
    finally:
        # After a failed assertion the demo may still run: it is told first, so that it can stop what it started.
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(END_TIMEOUT_S, shield=True):
                await process.wait()
        for pid in demo.left():
            os.kill(pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


def lines_by_comment(printed: str) -> dict[str, str]:
    return dict(re.findall(r"^# (.*)\n(.*)$", printed, re.MULTILINE))


def line_that(lines: dict[str, str], what: str) -> str:
    (line,) = (line for says, line in lines.items() if says.startswith(what))
    return line


def head_and_body(answer: str) -> tuple[str, list[tuple[str, str]], list[str]]:
    head, _, body = answer.partition("\n\n")
    status, *fields = head.splitlines()
    return status, [(field.partition(":")[0], field.partition(":")[2].strip()) for field in fields], body.splitlines()


def values(fields: list[tuple[str, str]], name: str) -> list[str]:
    return [value for field, value in fields if field == name]


def shares(counted: str) -> list[int]:
    return [int(line.split()[0]) for line in counted.splitlines()]


def worst(counts: Sequence[int], weights: Sequence[int]) -> int:
    """Return by how many calls the endpoint that is furthest from its share is off."""
    return max(abs(count - CYCLES * weight) for count, weight in zip(counts, weights, strict=True))


async def test_the_printed_lines_do_what_they_say_and_ctrl_c_leaves_nothing() -> None:
    async with running_demo() as demo:
        with trio.fail_after(UP_TIMEOUT_S):
            lines = lines_by_comment(await demo.read_until(LAST_LINE))
        assert len(lines) == 4
        # The demo, its etcd and two golbs.
        assert len(demo.left()) == 4

        status, fields, body = head_and_body(await demo.shell(line_that(lines, "a function in the zone")))
        assert status == "HTTP/1.1 200 OK"
        assert re.fullmatch(r"resnet-[123] in zone-a", body[0])
        assert body[1] == "GET /classify?top=5"
        (final_host,) = values(fields, "X-Final-Host")
        assert f"Host: {final_host}" in body
        assert f"X-Final-Host: {final_host}" in body
        assert "X-Forwarded-For: eb-a-controller, 127.0.0.1" in body
        assert values(fields, "X-Forwarded-For") == ["eb-a-controller"]
        (taken_at,) = values(fields, "X-Forwarded-Host-Eb-A-Controller")
        assert re.fullmatch(r"\d+\.\d{7}", taken_at)
        assert float(taken_at) <= float(*values(fields, "X-Start")) <= float(*values(fields, "X-End"))

        status, fields, body = head_and_body(await demo.shell(line_that(lines, "across the zones")))
        assert status == "HTTP/1.1 200 OK"
        assert body[0] == "request_responder_250-1 in zone-b"
        assert body[1] == "GET /"
        gateway, final_host = values(fields, "X-Final-Host")
        assert re.search(rf"^zone-b +http://{gateway} ", demo.printed, re.MULTILINE)
        assert f"Host: {final_host}" in body
        assert values(fields, "X-Forwarded-For") == ["eb-a-controller", "eb-b-controller"]
        (outer,) = values(fields, "X-Forwarded-Host-Eb-A-Controller")
        (inner,) = values(fields, "X-Forwarded-Host-Eb-B-Controller")
        assert float(outer) <= float(inner)

        count_shares = line_that(lines, "shares")
        # The counts stand in the order of the names; each endpoint gets its quota, less than one off.
        # The demo's own first call may stand before the loop's, which makes the window begin anywhere in a cycle.
        before = shares(await demo.shell(count_shares))
        assert sum(before) == 9 * CYCLES
        assert worst(before, (5, 3, 1)) < 2

        assert (await demo.shell(line_that(lines, "change the weights"))).strip() == "OK"
        with trio.fail_after(WEIGHTS_TIMEOUT_S):
            while worst(shares(await demo.shell(count_shares)), (1, 3, 5)) >= 2:
                pass

        assert await demo.end(signal.SIGINT) == 0
        assert demo.left() == {}
        assert "ended by itself" not in demo.printed


async def test_a_golb_that_dies_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    # A machine without curl, too: only what the lines need beside it is on the path.
    for tool in ("head", "seq", "sh", "sort", "uniq"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    async with running_demo(PATH=str(tmp_path)) as demo:
        with trio.fail_after(UP_TIMEOUT_S):
            lines = lines_by_comment(await demo.read_until(LAST_LINE))
        status, fields, _ = head_and_body(await demo.shell(line_that(lines, "across the zones")))
        assert status == "HTTP/1.1 200 OK"
        assert len(values(fields, "X-Final-Host")) == 2

        os.kill(demo.pid_of_golb("zone-b"), signal.SIGKILL)
        with trio.fail_after(END_TIMEOUT_S):
            await demo.read_until("golb eb-b-controller (zone-b) ended by itself, killed by SIGKILL")
        status, _, _ = head_and_body(await demo.shell(line_that(lines, "a function in the zone")))
        assert status == "HTTP/1.1 200 OK"

        assert await demo.end(signal.SIGTERM) == 0
        assert demo.left() == {}


async def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    async with running_demo(TMPDIR=str(tmp_path)) as demo:
        with trio.fail_after(UP_TIMEOUT_S):
            await demo.read_until(LAST_LINE)
        assert len(demo.left()) == 4
        demo.process.kill()
        with trio.fail_after(END_TIMEOUT_S):
            while demo.left():  # noqa: ASYNC110 - what it waits for are processes
                await trio.sleep(POLL_INTERVAL_S)


async def test_a_golb_that_does_not_start_is_named_with_its_log_and_exit_1(tmp_path: Path) -> None:
    # Found before the real one, as the current directory comes first for -m.
    package = tmp_path / "golb"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nsys.exit('broken on purpose')\n")
    async with running_demo(cwd=tmp_path, PYTHONPATH=str(ROOT)) as demo:
        with trio.fail_after(UP_TIMEOUT_S):
            assert await demo.process.wait() == 1
        printed = await demo.read_until("broken on purpose")
        assert re.search(
            r"golb eb-[ab]-controller \(zone-[ab]\): ended while the demo was starting, exit code 1", printed
        )
        assert LAST_LINE not in printed
        assert demo.left() == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_the_demo_starts_leaves_nothing(number: signal.Signals) -> None:
    async with running_demo() as demo:
        with trio.fail_after(UP_TIMEOUT_S):
            await demo.read_until("starting etcd")
        assert await demo.end(number) == 0
        assert LAST_LINE not in demo.printed
        assert demo.left() == {}

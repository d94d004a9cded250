"""golb under a supervisor that it notifies, as systemd is: what it hears, from which process, and in which order."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import trio
from e2e.successions import EXIT_TIMEOUT_S, around, told, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.socket import SocketType

_CREDENTIALS_BYTES = 12


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SocketType]:
    """The socket that golbs are told of, which tells who has sent what (unix(7), SO_PASSCRED)."""
    path = tmp_path / "notify"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with trio.socket.from_stdlib_socket(sock) as listening:
        sock.bind(str(path))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listening


async def heard(supervisor: SocketType) -> tuple[str, int]:
    """Return the first line of the next notice, and the process that it comes from."""
    text, ((_, _, credentials),), _, _ = await supervisor.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS_BYTES))
    return text.decode().splitlines()[0], int.from_bytes(credentials[:4], "little")


async def test_it_hears_of_the_start_of_reloads_of_a_successor_and_of_the_end(
    tmp_path: Path, supervisor: SocketType
) -> None:
    async with around(tmp_path) as here:
        with here.golb(workers="2") as golb:
            assert await heard(supervisor) == ("READY=1", golb.pid)
            os.kill(golb.pid, signal.SIGHUP)
            assert await heard(supervisor) == ("RELOADING=1", golb.pid)
            assert await heard(supervisor) == ("READY=1", golb.pid)
            os.kill(golb.pid, signal.SIGUSR2)
            notice, sender = await heard(supervisor)
            assert sender == golb.pid
            successor = int(notice.removeprefix("MAINPID="))
            assert await heard(supervisor) == ("READY=1", successor)
            assert golb.process is not None
            assert golb.process.wait(EXIT_TIMEOUT_S) == 0
            os.kill(successor, signal.SIGTERM)
            assert await heard(supervisor) == ("STOPPING=1", successor)
            await wait_until(lambda: here.are_left(0))
            assert told(golb, "supervisor not told") == []


async def test_it_hears_that_a_golb_ends_which_one_of_another_unit_replaces(
    tmp_path: Path, supervisor: SocketType
) -> None:
    async with around(tmp_path) as here:
        with here.golb(takeover="on") as old:
            assert await heard(supervisor) == ("READY=1", old.pid)
            await wait_until(here.is_offered)
            with here.golb(takeover="on") as new:
                assert await heard(supervisor) == ("STOPPING=1", old.pid)
                assert await heard(supervisor) == ("READY=1", new.pid)


async def test_a_container_names_no_process_that_it_alone_knows(tmp_path: Path, supervisor: SocketType) -> None:
    async with around(tmp_path) as here:
        with here.container() as golb:
            assert (await heard(supervisor))[0] == "READY=1"
            os.kill(golb.first, signal.SIGUSR2)
            assert (await heard(supervisor))[0] == "READY=1"
            assert golb.stop() == 0
            assert (await heard(supervisor))[0] == "STOPPING=1"

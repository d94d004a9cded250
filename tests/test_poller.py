"""What the poller tells, and when it flushes: real sockets, and pollables that write down what they are told."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from golb.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND_S = 5


class Diary:
    """A pollable that writes down what it is told, and then does as the test says."""

    def __init__(
        self,
        entries: list[str] | None = None,
        name: str = "",
        *,
        on_input: Callable[[], object] = lambda: None,
        on_flush: Callable[[], object] = lambda: None,
    ) -> None:
        self.entries = [] if entries is None else entries
        self._name = name
        self._on_input = on_input
        self._on_flush = on_flush
        self._told = trio.Event()

    def notice_input(self, *, ended: bool) -> None:
        self._write("ended" if ended else "input")
        self._on_input()

    def notice_output(self) -> None:
        self._write("output")

    def flush(self) -> None:
        self._write("flush")
        self._on_flush()

    def _write(self, entry: str) -> None:
        self.entries.append(self._name + entry)
        self._told.set()
        self._told = trio.Event()

    async def until(self, entry: str) -> None:
        """Wait until it has been told this."""
        with trio.fail_after(BOUND_S):
            while self._name + entry not in self.entries:
                await self._told.wait()


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@pytest.fixture
async def poller(nursery: trio.Nursery) -> Poller:
    running = Poller()
    await nursery.start(running.run)
    return running


def fill(sock: socket.socket) -> int:
    """Write until the socket takes no more; return how many bytes."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += sock.send(bytes(65536))
    return count


def drain(sock: socket.socket) -> int:
    """Read all that is there; return how many bytes."""
    count = 0
    with suppress(BlockingIOError):
        while data := sock.recv(65536):
            count += len(data)
    return count


async def test_what_is_there_already_counts_as_new(poller: Poller) -> None:
    with socket_pair() as (ours, theirs):
        theirs.send(b"early")
        diary = Diary()
        poller.add(ours, diary)
        await diary.until("input")
        assert "ended" not in diary.entries
        poller.remove(ours)


@pytest.mark.parametrize("way", [socket.SHUT_WR, socket.SHUT_RDWR])
async def test_the_peers_end_is_told(poller: Poller, way: int) -> None:
    with socket_pair() as (ours, theirs):
        diary = Diary()
        poller.add(ours, diary)
        theirs.send(b"last")
        theirs.shutdown(way)
        await diary.until("ended")
        assert ours.recv(10) == b"last"
        poller.remove(ours)


async def test_what_was_not_read_is_told_of_again_only_when_more_comes(poller: Poller) -> None:
    with socket_pair() as (ours, theirs):
        diary = Diary()
        poller.add(ours, diary)
        for count in (1, 2, 3):
            theirs.send(b"more")
            await trio.testing.wait_all_tasks_blocked()
            assert sum(entry == "input" for entry in diary.entries) == count
        poller.remove(ours)


async def test_room_is_told_of_after_a_write_that_did_not_fit(poller: Poller) -> None:
    with socket_pair() as (ours, theirs):
        diary = Diary()
        poller.add(ours, diary)
        await diary.until("output")  # it takes something from the first moment on
        diary.entries.clear()
        sent = fill(ours)
        assert drain(theirs) == sent
        await diary.until("output")
        poller.remove(ours)


async def test_of_many_events_some_are_told_and_the_rest_next_time(poller: Poller) -> None:
    entries: list[str] = []
    counts = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(150)]
        for ours, _ in pairs:
            poller.add(ours, Diary(entries))
        await trio.testing.wait_all_tasks_blocked()
        entries.clear()
        for _, theirs in pairs:
            theirs.send(b"more")
        while (told := entries.count("input")) < len(pairs):
            counts.append(told)
            await trio.lowlevel.checkpoint()
        for ours, _ in pairs:
            poller.remove(ours)
    assert entries.count("input") == len(pairs)
    assert counts == [0, 64, 128]


async def test_nobody_is_told_of_a_socket_that_was_removed(poller: Poller) -> None:
    with socket_pair() as (ours, theirs), socket_pair() as (other, others_peer):
        gone, stays = Diary(), Diary()
        poller.add(ours, gone)
        poller.add(other, stays)
        await stays.until("output")
        gone.entries.clear()
        theirs.send(b"unseen")
        poller.remove(ours)
        others_peer.send(b"seen")
        await stays.until("input")
        assert gone.entries == []
        poller.remove(other)


async def test_a_socket_that_is_removed_by_the_news_of_another_is_not_told_its_own(poller: Poller) -> None:
    with socket_pair() as (first, firsts_peer), socket_pair() as (second, seconds_peer):
        entries: list[str] = []

        def remove_both() -> None:
            poller.remove(first)
            poller.remove(second)

        poller.add(first, Diary(entries, "first ", on_input=remove_both))
        poller.add(second, Diary(entries, "second ", on_input=remove_both))
        firsts_peer.send(b"x")
        seconds_peer.send(b"x")  # both are found by one poll
        await trio.testing.wait_all_tasks_blocked()
        assert [entry for entry in entries if entry.endswith("input")] == ["first input"]
        assert not any(entry.startswith("second") for entry in entries)


async def test_a_flush_comes_once_in_order_when_no_task_can_run_any_more(poller: Poller) -> None:
    entries: list[str] = []
    for name in ("a ", "b ", "c "):
        poller.flush_later(Diary(entries, name))
    entries.append("this task went on")
    await trio.lowlevel.checkpoint()
    assert entries == ["this task went on", "a flush", "b flush", "c flush"]
    await trio.testing.wait_all_tasks_blocked()
    assert len(entries) == 4


async def test_writes_of_all_tasks_of_a_round_leave_behind_it(poller: Poller) -> None:
    entries: list[str] = []

    async def write(name: str) -> None:
        poller.flush_later(Diary(entries, name))
        entries.append(f"{name}wrote")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "a ")
        nursery.start_soon(write, "b ")
    assert sorted(entries[:2]) == ["a wrote", "b wrote"]
    assert sorted(entries[2:]) == ["a flush", "b flush"]


async def test_who_asks_for_a_flush_in_a_flush_gets_it(poller: Poller) -> None:
    entries: list[str] = []
    late = Diary(entries, "late ")
    poller.flush_later(Diary(entries, "early ", on_flush=lambda: poller.flush_later(late)))
    poller.flush_later(Diary(entries, "next "))
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    assert entries == ["early flush", "next flush", "late flush"]


async def test_what_waits_when_the_poller_ends_leaves() -> None:
    poller = Poller()
    diary = Diary()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        poller.flush_later(diary)
        nursery.cancel_scope.cancel()
    assert diary.entries == ["flush"]

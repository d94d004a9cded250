"""What the poller tells, and when it flushes: real sockets, and pollables that write down what they are told."""

from __future__ import annotations

import fcntl
import select
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from support.diary import BOUND_S, Diary, socket_pair, until_told

from golb.poller import Poller, _epoll_that_watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


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


@pytest.mark.parametrize(("gives_way", "at_once"), [(False, 64), (True, 16)])
async def test_of_many_events_some_are_told_and_the_rest_next_time(
    poller: Poller,
    gives_way: bool,  # noqa: FBT001 - a case
    at_once: int,
) -> None:
    entries: list[str] = []
    counts = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(150)]
        for ours, _ in pairs:
            poller.add(ours, Diary(entries), gives_way=gives_way)
        await until_told(entries, "output", 150)
        entries.clear()
        for _, theirs in pairs:
            theirs.send(b"more")
        while (told := entries.count("input")) < len(pairs):
            counts.append(told)
            await trio.lowlevel.checkpoint()
        for ours, _ in pairs:
            poller.remove(ours)
    assert entries.count("input") == len(pairs)
    assert counts == list(range(0, len(pairs), at_once))


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


async def test_to_remove_what_is_not_watched_or_closed_already_harms_nobody(poller: Poller) -> None:
    with socket_pair() as (closed, never), socket_pair() as (ours, theirs):
        diary = Diary()
        poller.add(closed, Diary())
        poller.add(ours, diary)
        closed.close()
        for sock in (closed, never):
            poller.remove(sock)
        theirs.send(b"heard")
        await diary.until("input")
        poller.remove(ours)
        poller.remove(ours)


async def test_a_descriptor_far_above_all_others_is_watched(poller: Poller) -> None:
    with socket_pair() as (ours, theirs), socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 500)) as high:
        high.setblocking(False)
        diary = Diary()
        poller.add(high, diary)
        theirs.send(b"heard")
        await diary.until("input")
        poller.remove(high)


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


async def test_what_is_written_for_a_single_event_leaves_at_once(poller: Poller) -> None:
    with socket_pair() as (ours, theirs):
        entries: list[str] = []

        def write() -> None:
            poller.flush_later(Diary(entries, "answer "))
            entries.append("went on")

        poller.add(ours, Diary(entries, on_input=write))
        await trio.testing.wait_all_tasks_blocked()
        entries.clear()
        theirs.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert entries == ["input", "answer flush", "went on", "output"]
        poller.remove(ours)


async def test_what_is_written_for_several_events_leaves_behind_them(poller: Poller) -> None:
    with socket_pair() as (first, firsts_peer), socket_pair() as (second, seconds_peer):
        entries: list[str] = []
        for ours in (first, second):
            poller.add(ours, Diary(entries, on_input=lambda: poller.flush_later(Diary(entries))))
        await trio.testing.wait_all_tasks_blocked()
        entries.clear()
        firsts_peer.send(b"x")
        seconds_peer.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert [entry for entry in entries if entry != "output"] == ["input", "input", "flush", "flush"]
        poller.remove(first)
        poller.remove(second)


# What Trio is needed for, while the poller waits in its place and always has something to do.


@pytest.fixture(
    params=[(1, False), (100, False), (1, True), (100, True)],
    ids=["one busy socket", "more than one poll tells of", "one busy client", "more than pass between two polls"],
)
async def busy(poller: Poller, request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], int]]:
    """Sockets that have input again as soon as they have been told of it, without a task; tells how often that was."""
    told = 0
    count, gives_way = request.param
    with ExitStack() as stack:
        pairs = [stack.enter_context(socket_pair()) for _ in range(count)]
        for ours, theirs in pairs:

            def ping(ours: socket.socket = ours, theirs: socket.socket = theirs) -> None:
                nonlocal told
                told += 1
                ours.recv(1)
                theirs.send(b"x")

            poller.add(ours, Diary(on_input=ping), gives_way=gives_way)
            theirs.send(b"x")
        with trio.fail_after(BOUND_S):
            yield lambda: told
        for ours, _ in pairs:
            poller.remove(ours)


async def test_a_deadline_is_kept_by_a_busy_poller(busy: Callable[[], int]) -> None:
    told = busy()
    with trio.move_on_after(0.01) as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert busy() > told


async def test_a_thread_is_heard_by_a_busy_poller(busy: Callable[[], int]) -> None:
    told = busy()
    assert await trio.to_thread.run_sync(lambda: "done") == "done"
    assert busy() > told


async def test_a_socket_of_trios_is_heard_by_the_next_poll(busy: Callable[[], int]) -> None:
    told_before: list[int] = []
    with socket_pair() as (ours, theirs):

        async def read() -> None:
            await trio.lowlevel.wait_readable(ours)
            told_before.append(busy() - told)
            ours.recv(1)

        for _ in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                theirs.send(b"x")
                told = busy()
    assert max(told_before) <= 64


async def test_a_client_is_heard_while_endpoints_always_answer(busy: Callable[[], int], poller: Poller) -> None:
    told = busy()
    with socket_pair() as (ours, theirs):
        client = Diary()
        poller.add(ours, client, gives_way=True)
        await client.until("output")
        theirs.send(b"x")
        await client.until("input")
        poller.remove(ours)
    assert busy() > told


async def test_a_task_that_the_news_of_a_socket_wakes_has_its_turn(busy: Callable[[], int], poller: Poller) -> None:
    told = busy()
    with socket_pair() as (ours, theirs):
        diary = Diary()
        poller.add(ours, diary)
        await diary.until("output")
        theirs.send(b"x")
        await diary.until("input")
        poller.remove(ours)
    assert busy() > told


async def test_a_task_that_a_flush_wakes_has_its_turn(poller: Poller) -> None:
    woken = trio.Event()
    with socket_pair() as (ours, theirs), trio.fail_after(BOUND_S):
        poller.add(ours, Diary(on_input=lambda: poller.flush_later(Diary(on_flush=woken.set))))
        theirs.send(b"x")
        await woken.wait()
        poller.remove(ours)


async def test_a_task_that_the_flush_behind_its_own_round_wakes_has_its_turn(poller: Poller) -> None:
    woken = trio.Event()
    with trio.fail_after(BOUND_S) as scope:
        poller.flush_later(Diary(on_flush=woken.set))
        await woken.wait()
        assert trio.current_time() < scope.deadline, "a wait that ends with the deadline has not ended by the event"


async def test_what_trio_was_needed_for_may_be_gone_when_trio_looks(poller: Poller) -> None:
    """As a connection is that another process has accepted meanwhile."""
    with socket_pair() as (trios, trios_peer), socket_pair() as (ours, theirs), trio.fail_after(BOUND_S):
        told_twice = trio.Event()

        def on_input() -> None:
            if diary.entries.count("input") == 1:
                trios.recv(1)
                theirs.send(b"again")
            else:
                told_twice.set()

        diary = Diary(on_input=on_input)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, trios)
            poller.add(ours, diary)
            await trio.testing.wait_all_tasks_blocked()
            trios_peer.send(b"x")
            theirs.send(b"x")
            await told_twice.wait()
            nursery.cancel_scope.cancel()
        poller.remove(ours)


# How a poller begins and ends.


async def test_a_second_poller_is_refused(poller: Poller) -> None:
    with pytest.raises(RuntimeError, match="a poller runs already"):
        await Poller().run()


async def test_one_poller_may_follow_another_one() -> None:
    for _ in range(2):
        poller = Poller()
        with socket_pair() as (ours, theirs):
            diary = Diary()
            async with trio.open_nursery() as nursery:
                await nursery.start(poller.run)
                poller.add(ours, diary)
                theirs.send(b"x")
                await diary.until("input")
                nursery.cancel_scope.cancel()


async def test_a_poller_may_be_cancelled_before_it_begins() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await Poller().run()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(Poller().run)
            scope.cancel()


async def test_a_poller_that_fails_says_so_to_who_runs_it() -> None:
    class Stop(BaseException):
        """What no boundary of a connection holds."""

    def fail() -> None:
        raise Stop

    poller = Poller()
    with socket_pair() as (ours, _), trio.fail_after(BOUND_S):
        poller.add(ours, Diary())
        poller.flush_later(Diary(on_flush=fail))
        with pytest.raises(Stop):
            await poller.run()


async def test_an_epoll_is_known_by_what_it_watches() -> None:
    with socket_pair() as (ours, theirs), select.epoll() as epoll, select.epoll() as another:
        epoll.register(ours)
        another.register(theirs)
        assert _epoll_that_watches(ours.fileno()) == epoll.fileno()
        epoll.unregister(ours)
        with pytest.raises(RuntimeError, match="no epoll of Trio's"):
            _epoll_that_watches(ours.fileno())
        another.register(ours)  # nothing of the search is left in it


async def test_what_waits_when_the_poller_ends_leaves() -> None:
    poller = Poller()
    diary = Diary()
    async with trio.open_nursery() as nursery:
        await nursery.start(poller.run)
        poller.flush_later(diary)
        nursery.cancel_scope.cancel()
    assert diary.entries == ["flush"]

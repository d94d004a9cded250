"""A worker as its parent sees it: a place that always has a process, whatever becomes of each."""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked
from workers.parents import POD, put, running_worker

from golb.workers import conversation
from golb.workers import worker as module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.parents import Parent


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes moments, except where a busy machine could take them for the end of a process."""
    monkeypatch.setattr(module, "_FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(module, "_MAX_DELAY_S", 0.05)
    monkeypatch.setattr(module, "_END_TIMEOUT_S", 0.3)
    monkeypatch.setattr(module, "_OUTPUT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(conversation, "_ASK_EVERY_S", 0.02)


async def until(holds: Callable[[], object]) -> None:
    """Wait for what has no event."""
    while not holds():  # noqa: ASYNC110 - see above
        await trio.sleep(0.002)


def is_running(pid: int) -> bool:
    """Whether there is such a process, also one that has ended and that nobody has waited for."""
    return Path(f"/proc/{pid}").exists()


def descriptors(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this very listing
            found.append(str(path.readlink()))
    return sorted(found)


def kinds(pid: int) -> list[str]:
    return [link.partition(":")[0] for link in descriptors(pid)]


def socket_of(sock: socket.socket) -> str:
    """Return what `descriptors` shows of it."""
    return str(Path(f"/proc/self/fd/{sock.fileno()}").readlink())


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Have no descriptor left, as `socketpair` finds."""
    real = socket.socketpair

    def fail() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    socket.socketpair = fail  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.socketpair = real


def ended(logs: list[Any]) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"].startswith("worker ended")]


# A process that does as it should.


async def test_a_process_has_its_place_and_serves_with_the_whole_table() -> None:
    async with running_worker() as parent:
        place = await parent.told("place")
        assert (place["index"], place["of"]) == (3, 4)
        assert await parent.told("weights") == [["f", 1, [[POD.host, POD.port, 1]]]]
        await parent.worker.has_had_table.wait()
        assert parent.in_force.revision == 1
        await parent.worker.has_served.wait()
        assert parent.worker.state == "serving"
        assert parent.worker.exit_code is None


async def test_weights_reach_it_as_they_change() -> None:
    async with running_worker() as parent:
        await parent.worker.has_had_table.wait()
        parent.publish(put("g", 2))
        while (await parent.told("weights"))[0][0] != "g":
            pass
        await until(lambda: parent.in_force.revision == 2)


async def test_it_inherits_what_its_place_names_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        async with running_worker(descriptors=(listener.fileno(),)) as parent:
            pid = await parent.told("started")
            sockets = {link for link in descriptors(pid) if link.startswith("socket:")}
            assert socket_of(listener) in sockets
            assert socket_of(other) not in sockets
            assert len(sockets) == 2  # the link is the other one


async def test_it_answers_questions() -> None:
    async with running_worker() as parent:
        await parent.worker.has_served.wait()
        assert parent.worker.questions is not None
        assert await parent.worker.questions.ask("twice", of=1) == [{"of": 1}, {"of": 1}]


async def test_what_it_prints_is_passed_on() -> None:
    async with running_worker() as parent:
        await parent.worker.has_served.wait()
        await parent.worker.tell({"print": "one line\n"})
        await until(lambda: parent.printed)
        assert parent.printed == "one line\n"
        assert parent.errors == ""


async def test_it_drains_when_it_is_told_and_is_not_replaced() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker() as parent:
            await parent.worker.has_served.wait()
            await parent.worker.drain(60.0)
            assert parent.away[:1] == [3]
            assert parent.worker.state == "draining"
            await until(lambda: parent.ends)
            assert parent.worker.exit_code == 0
            await wait_all_tasks_blocked()
            assert parent.ends == 1
            assert parent.worker.replaced == 0
    assert ended(logs) == []


async def test_one_that_drains_by_itself_shows_so_until_another_one_takes_its_place() -> None:
    async with running_worker("stays") as parent:
        pid = await parent.told("started")
        await parent.worker.has_served.wait()
        await parent.worker.tell({"drain": True})
        await until(lambda: parent.away)
        assert parent.worker.state == "draining"
        os.kill(pid, signal.SIGKILL)
        await parent.told("started")
        await until(lambda: parent.worker.state == "serving")


async def test_one_that_is_retired_goes_on_and_is_not_replaced() -> None:
    async with running_worker() as parent:
        await parent.worker.has_served.wait()
        parent.worker.retire()
        assert parent.worker.questions is not None
        assert await parent.worker.questions.ask("twice") == [{}, {}]
        os.kill(parent.worker.pid, signal.SIGKILL)
        await until(lambda: parent.ends)
        await wait_all_tasks_blocked()
        assert parent.worker.pid == 0


async def test_what_it_is_asked_while_it_starts_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []
    open_process = trio.lowlevel.open_process

    async def asked_meanwhile(*command: Any, **options: Any) -> trio.Process:
        async def ask() -> None:
            questions = parent.worker.questions
            answers.extend(await questions.ask("twice", of=2) or [] if questions is not None else [])

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        return await open_process(*command, **options)

    monkeypatch.setattr(trio.lowlevel, "open_process", asked_meanwhile)
    async with trio.open_nursery() as nursery, running_worker() as parent:
        await until(lambda: answers)
    assert answers == [{"of": 2}, {"of": 2}]


async def test_it_drains_too_if_it_is_told_while_it_starts() -> None:
    async with running_worker() as parent:
        await wait_all_tasks_blocked()  # the thread that starts it is at work, or about to be
        await parent.worker.drain(60.0)
        assert await parent.told("drain")
        await until(lambda: parent.ends)
        assert parent.worker.exit_code == 0


async def test_it_is_killed_when_its_parent_is_cancelled() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker("stays") as parent:
            pid = await parent.told("started")
            await parent.worker.has_served.wait()
            assert is_running(pid)
    assert not is_running(pid)
    assert parent.worker.pid == 0
    assert parent.worker.questions is None
    assert [(line["event"], line["pid"], line["cause"]) for line in logs] == [
        ("worker is killed", pid, "golb ends at once")
    ]


# A process that does not.


async def test_one_that_is_killed_is_replaced_at_once_with_the_table_in_hand() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker() as parent:
            pid = await parent.told("started")
            await parent.worker.has_served.wait()
            os.kill(pid, signal.SIGKILL)
            assert await parent.told("started") != pid
            assert [row[0] for row in await parent.told("weights")] == ["f"]
            await until(lambda: parent.worker.state == "serving")
            assert parent.worker.replaced == 1
            assert parent.ends == 1
            assert not is_running(pid)
    assert [(line["exit"], line["started_in_s"]) for line in ended(logs)] == [("SIGKILL", 0.0)]


async def test_nothing_but_what_it_has_printed_keeps_another_one_from_taking_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_OUTPUT_TIMEOUT_S", 60.0)
    async with running_worker() as parent:
        pid = await parent.told("started")
        await parent.worker.has_served.wait()
        await parent.worker.tell({"print": "last words\n"})
        assert parent.worker.questions is not None
        assert await parent.worker.questions.ask("end") is None
        assert await parent.told("started") != pid
        assert parent.printed == "last words\n"


async def test_one_that_is_ended_by_a_signal_without_a_name_is_replaced_too() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker() as parent:
            os.kill(await parent.told("started"), signal.SIGRTMIN + 3)
            await parent.told("started")
    assert ended(logs)[0]["exit"] == f"signal {signal.SIGRTMIN + 3}"


async def test_one_that_keeps_dying_is_replaced_ever_more_slowly() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker("dies") as parent:
            await until(lambda: parent.ends == 6)
            assert parent.errors == "cannot work\n" * 6
            assert parent.worker.exit_code == 3
    assert [line["started_in_s"] for line in ended(logs)][:6] == [0.0, 0.01, 0.02, 0.04, 0.05, 0.05]
    assert {line["exit"] for line in ended(logs)} == {"3"}


async def test_one_that_had_lived_for_long_is_replaced_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STABLE_S", 0.0)
    with structlog.testing.capture_logs() as logs:
        async with running_worker("dies") as parent:
            await until(lambda: parent.ends == 3)
    assert {line["started_in_s"] for line in ended(logs)} == {0.0}


async def test_a_drain_ends_the_wait_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_DELAY_S", 60.0)
    monkeypatch.setattr(module, "_MAX_DELAY_S", 60.0)
    async with running_worker("dies") as parent:
        await until(lambda: parent.ends == 2)
        await parent.worker.drain(60.0)
        await wait_all_tasks_blocked()
        assert parent.ends == 2


async def test_one_that_hangs_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(conversation, "_ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(conversation, "_SECOND_CHANCE_S", 0.1)
    with structlog.testing.capture_logs() as logs:
        async with running_worker() as parent:
            pid = await parent.told("started")
            await parent.worker.has_served.wait()
            os.kill(pid, signal.SIGSTOP)
            assert await parent.told("started") != pid
            assert not is_running(pid)
    missed, killed, lost = [line for line in logs if line.get("worker") == 3][:3]
    assert (missed["event"], missed["pid"]) == ("worker does not answer", pid)
    assert (killed["event"], killed["pid"], killed["requests"]) == ("worker is killed", pid, 7)
    assert killed["cause"] == "it has not answered for 1 s"
    assert (lost["exit"], lost["requests"]) == ("SIGKILL", 7)


async def test_others_stand_in_for_one_that_hangs_until_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PATIENCE_S", 0.5)
    async with running_worker() as parent:
        pid = await parent.told("started")
        await until(lambda: parent.serving)
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: parent.away)
        assert parent.worker.state == "serving"
        os.kill(pid, signal.SIGCONT)
        assert await parent.told("publish")
        assert (parent.serving, parent.away) == ([3, 3], [3])
        assert parent.worker.pid == pid


@pytest.mark.parametrize("behaviour", ["says_nothing", "reads_nothing"])
async def test_one_that_never_answers_is_killed_and_replaced(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(conversation, "_START_TIMEOUT_S", 0.1)
    monkeypatch.setattr(conversation, "_SECOND_CHANCE_S", 0.1)
    async with running_worker(behaviour) as parent:
        await until(lambda: parent.ends == 2)
        assert parent.worker.exit_code == -signal.SIGKILL
        assert not parent.worker.has_had_table.is_set()


async def test_one_that_dies_while_it_drains_is_told_of_and_not_replaced() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker("stays") as parent:
            pid = await parent.told("started")
            await parent.worker.has_served.wait()
            await parent.worker.drain(60.0)
            await parent.told("drain")
            os.kill(pid, signal.SIGKILL)
            await until(lambda: parent.ends)
            assert parent.worker.replaced == 0
    assert [line["exit"] for line in ended(logs)] == ["SIGKILL"]


async def test_one_that_does_not_end_in_time_is_killed_and_the_log_says_what_it_had_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_DRAIN_GRACE_S", 0.2)
    with structlog.testing.capture_logs() as logs:
        async with running_worker("stays") as parent:
            pid = await parent.told("started")
            await parent.worker.has_served.wait()
            await parent.worker.drain(0.1)
            await until(lambda: parent.ends)
            assert not is_running(pid)
    (killed,) = (line for line in logs if line["event"] == "worker is killed")
    assert (killed["worker"], killed["pid"], killed["requests"]) == (3, pid, 7)
    assert killed["cause"] == "it has not ended 0.3 s after it was told to"


async def test_a_drain_waits_no_longer_than_a_moment_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STOP_TIMEOUT_S", 0.05)
    async with running_worker() as parent:
        pid = await parent.told("started")
        await parent.worker.has_served.wait()
        os.kill(pid, signal.SIGSTOP)
        await parent.worker.drain(60.0)
        assert is_running(pid)
        assert parent.away == []


async def test_who_asks_one_that_ends_has_no_answer() -> None:
    async with running_worker() as parent:
        await parent.worker.has_served.wait()
        assert parent.worker.questions is not None
        assert await parent.worker.questions.ask("end") is None


async def test_one_whose_own_program_lives_on_is_replaced_all_the_same() -> None:
    async with running_worker("leaves_one") as parent:
        left, pid = await parent.told("left"), await parent.told("started")
        os.kill(pid, signal.SIGKILL)
        lefts = [left, await parent.told("left")]
        assert await parent.told("started") != pid
    for pid in lefts:
        os.kill(pid, signal.SIGKILL)


async def test_a_node_that_lacks_something_has_its_worker_as_soon_as_it_can_be_started() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running_worker() as parent:
            with few_descriptors():
                await until(lambda: parent.ends == 3)
                assert parent.worker.state == "starting"
            assert await parent.told("started")
            await parent.worker.has_served.wait()
    assert [line["cause"] for line in logs if line["event"] == "worker cannot be started"] == [
        "[Errno 24] Too many open files"
    ] * parent.ends


async def test_a_program_that_cannot_be_started_leaves_nothing_open() -> None:
    before = kinds(os.getpid())
    async with running_worker(program="/nowhere") as parent:
        await until(lambda: parent.ends == 6)
    assert kinds(os.getpid()) == before


async def test_twenty_replacements_leave_no_descriptor_and_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_DELAY_S", 0.0)
    pids = []
    before = kinds(os.getpid())
    async with running_worker() as parent:
        for _ in range(20):
            pids.append(await parent.told("started"))
            os.kill(pids[-1], signal.SIGKILL)
        await parent.told("started")
        await until(lambda: parent.worker.state == "serving")
        assert parent.worker.replaced == 20
    assert kinds(os.getpid()) == before
    assert not any(map(is_running, pids))


async def test_a_subscription_ends_with_the_process_it_is_for() -> None:
    async with running_worker() as parent:
        for _ in range(3):
            os.kill(await parent.told("started"), signal.SIGKILL)
        await parent.told("weights")
        assert subscriptions(parent) == 1


def subscriptions(parent: Parent) -> int:
    return len(parent.broadcaster._ends)  # noqa: SLF001 - nobody else needs to know

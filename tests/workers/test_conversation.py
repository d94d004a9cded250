"""What a parent says to a worker's process, and when: seen from the process's end of the link."""

from __future__ import annotations

import os
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import Factory, define
from support.stack import BOUND_S
from trio.testing import wait_all_tasks_blocked
from workers.parents import put

from golb.updaters import Broadcaster, InForce
from golb.workers import conversation as module
from golb.workers.conversation import Conversation
from golb.workers.link import Link, LinkLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from golb.weights import WeightUpdate


@define
class Talk:
    """Both ends of it."""

    process: Link
    conversation: Conversation
    broadcaster: Broadcaster = Factory(Broadcaster)
    revision: int = 0
    in_force: InForce = Factory(lambda self: InForce(lambda: self.revision), takes_self=True)
    may_serve: trio.Event = Factory(trio.Event)
    seen: list[str] = Factory(list)
    """What the parent was told."""
    end: float | str | None = None
    """How it ended: after so many seconds of silence, or why."""

    def publish(self, *updates: WeightUpdate) -> None:
        self.revision = max((update.revision for update in updates), default=self.revision)
        self.in_force.published()
        self.broadcaster.publish(updates)

    async def run(self) -> None:
        try:
            self.end = await self.conversation.run(self.broadcaster.subscribe, self.in_force.taker(), self.may_serve)
        except LinkLost as exc:
            self.end = str(exc)

    async def hear(self) -> dict[str, Any]:
        """Return what the process is told next, except that it is asked whether it is alive, which it answers."""
        while "ask_alive" in (message := await self.process.receive()):
            await self.process.send({"alive": {}})
        return message

    async def hears_nothing(self) -> bool:
        """Whether it has been told nothing else."""
        heard: list[dict[str, Any]] = []

        async def hear() -> None:
            heard.append(await self.hear())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return not heard


@asynccontextmanager
async def talking(*, send_timeout_s: float = 0.2) -> AsyncIterator[Talk]:
    ours, theirs = socket.socketpair()
    seen: list[str] = []
    link = Link(ours, send_timeout_s=send_timeout_s)
    conversation = Conversation(
        link,
        on_table=lambda: seen.append("table"),
        on_serving=lambda: seen.append("serves"),
        on_draining=lambda: seen.append("draining"),
        on_silence=lambda: seen.append("silence"),
        on_answer=lambda: seen.append("answer"),
        on_health=lambda health: seen.append(str(health)),
    )
    talk = Talk(Link(theirs), conversation, seen=seen)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run)
            await wait_all_tasks_blocked()
            yield talk
            nursery.cancel_scope.cancel()
    link.close()
    talk.process.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait for what has no event."""
    while not holds():  # noqa: ASYNC110 - see above
        await trio.sleep(0.002)


def revisions(message: dict[str, Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in message["weights"]}


async def test_weights_are_in_force_once_the_process_has_taken_them() -> None:
    async with talking() as talk:
        talk.publish(put("f", 7))
        assert revisions(await talk.hear()) == {"f": 7}
        assert talk.in_force.revision == 0
        await talk.process.send({"taken": True})
        await wait_all_tasks_blocked()
        assert talk.in_force.revision == 7
        assert talk.seen == ["table"]


async def test_a_process_that_drains_by_itself_says_so() -> None:
    async with talking() as talk:
        await talk.process.send({"serves": True})
        await wait_all_tasks_blocked()
        served = talk.conversation.serves
        await talk.process.send({"drains": True})
        await wait_all_tasks_blocked()
        assert (served, talk.conversation.serves, talk.conversation.drains) == (True, False, True)
        assert talk.seen == ["serves", "draining"]


async def test_only_the_newest_weights_follow_those_that_a_slow_process_takes() -> None:
    async with talking() as talk:
        talk.publish(put("f", 1), put("g", 2))
        assert revisions(await talk.hear()) == {"f": 1, "g": 2}
        for revision in range(3, 50):
            talk.publish(put("f", revision))
        assert await talk.hears_nothing()
        await talk.process.send({"taken": True})
        assert revisions(await talk.hear()) == {"f": 49}
        assert talk.in_force.revision == 2
        await talk.process.send({"taken": True})
        await wait_all_tasks_blocked()
        assert talk.in_force.revision == 49


async def test_a_large_table_comes_in_parts_that_say_how_much_it_is_in_all() -> None:
    async with talking() as talk:
        talk.publish(*(put(f"f{number}", number + 1) for number in range(1000)))
        functions: dict[str, int] = {}
        while True:
            message = await talk.hear()
            assert message["of"] == 1000
            functions |= revisions(message)
            if message["last"]:
                break
        assert functions == {f"f{number}": number + 1 for number in range(1000)}


async def test_a_process_that_starts_slowly_loses_nothing_by_a_large_table() -> None:
    async with talking() as talk:
        talk.publish(*(put(f"f{number}-{'x' * 500}", number + 1) for number in range(2000)))
        await trio.sleep(0.3)  # longer than a message may wait for its reader
        assert talk.end is None
        assert (await talk.hear())["of"] == 2000


async def test_a_process_is_let_serve_when_it_has_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TABLE_TIMEOUT_S", 0.01)
    async with talking() as talk:
        talk.publish(*(put(f"f{number}", 1) for number in range(1000)))
        talk.may_serve.set()
        while not (await talk.hear())["last"]:
            pass
        await trio.sleep(0.05)  # several times as long as it would wait for a table that does not come
        assert await talk.hears_nothing()
        await talk.process.send({"taken": True})
        assert await talk.hear() == {"serve": True}
        await talk.process.send({"serves": True})
        await wait_all_tasks_blocked()
        assert talk.conversation.serves
        assert talk.seen == ["table", "serves"]


async def test_a_process_is_let_serve_without_a_table_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TABLE_TIMEOUT_S", 0.05)
    async with talking() as talk:
        talk.may_serve.set()
        assert await talk.hear() == {"serve": True}
        assert talk.seen == []


async def test_a_process_is_not_let_serve_before_all_may() -> None:
    async with talking() as talk:
        talk.publish(put("f", 1))
        await talk.hear()
        await talk.process.send({"taken": True})
        assert await talk.hears_nothing()


async def test_what_a_process_tells_of_its_endpoints_health_is_passed_on() -> None:
    async with talking() as talk:
        await talk.process.send({"health": {"endpoint": "a"}})
        await wait_all_tasks_blocked()
        assert talk.seen == ["{'endpoint': 'a'}"]


async def test_a_process_that_answers_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASK_EVERY_S", 0.001)
    async with talking() as talk:
        for _ in range(20):
            assert "ask_alive" in await talk.process.receive()
            await talk.process.send({"alive": {}})
        assert talk.end is None


@pytest.mark.parametrize("has_answered", [True, False])
async def test_a_process_that_answers_no_more_is_of_no_use(
    has_answered: bool,  # noqa: FBT001 - a case's value
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ASK_EVERY_S", 0.001)
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(module, "_LAST_LOOK_S", 0.01)
    monkeypatch.setattr(module, "_SECOND_CHANCE_S", 0.02)
    monkeypatch.setattr(module, "_START_TIMEOUT_S", 0.3 if has_answered else 0.05)
    monkeypatch.setattr(module, "_ANSWER_TIMEOUT_S", 0.05 if has_answered else 0.3)
    async with talking() as talk:
        if has_answered:
            await talk.process.receive()
            await talk.process.send({"alive": {}})
        await until(lambda: talk.end is not None)
        assert talk.end == pytest.approx(0.09)


async def test_how_much_a_process_has_under_way_is_known_from_its_last_answer() -> None:
    async with talking() as talk:
        assert talk.conversation.under_way == {}
        for requests in (3, 2):
            await talk.process.send({"alive": {"requests": requests}})
            await wait_all_tasks_blocked()
            assert talk.conversation.under_way == {"requests": requests}


async def test_one_that_does_not_answer_is_missed_until_it_does_and_publishes_again_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    async with talking() as talk:
        await talk.process.send({"alive": {}})
        await talk.process.send({"serves": True})

        async def be_missed_and_answer(times: int) -> None:
            await until(lambda: talk.seen.count("silence") >= times)
            await talk.process.send({"alive": {}})
            assert await talk.hear() == {"publish": True}

        await be_missed_and_answer(1)
        await be_missed_and_answer(2)
        assert talk.seen[:5] == ["serves", "silence", "answer", "silence", "answer"]
        assert talk.end is None


async def test_to_take_a_part_of_a_table_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    async with talking() as talk:
        talk.publish(put("f", 7))
        await talk.process.send({"serves": True})
        await talk.process.send({"alive": {}})
        await until(lambda: "silence" in talk.seen)
        await talk.process.send({"taken": False})
        await until(lambda: "answer" in talk.seen)
        assert talk.in_force.revision == 0  # other parts are to come


async def test_an_answer_that_came_while_the_parent_itself_stood_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.02)
    monkeypatch.setattr(module, "_LAST_LOOK_S", BOUND_S)
    async with talking() as talk:
        await talk.process.send({"serves": True})
        await wait_all_tasks_blocked()
        os.write(talk.process._stream.socket.fileno(), b'{"alive":{}}\n')  # noqa: SLF001 - nobody else shall have a turn
        time.sleep(0.05)  # noqa: ASYNC251 - this is the parent's process
        await wait_all_tasks_blocked()
        assert talk.seen == ["serves"]


async def test_one_that_reads_nothing_is_missed_though_it_cannot_even_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    async with talking(send_timeout_s=60.0) as talk:
        await talk.process.send({"alive": {}})
        await talk.process.send({"serves": True})
        talk.publish(*(put(f"f{number}-{'x' * 500}", number + 1) for number in range(2000)))
        await until(lambda: "silence" in talk.seen)
        talk.process.close()  # or the parent would go on sending


async def test_one_that_accepts_nothing_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking() as talk:
        await talk.process.send({"serves": True})
        await talk.process.send({"drains": True})
        await wait_all_tasks_blocked()
        for name in ("_PATIENCE_S", "_ANSWER_TIMEOUT_S", "_SECOND_CHANCE_S"):
            monkeypatch.setattr(module, name, 0.01)
        await talk.process.send({"alive": {}})
        await until(lambda: talk.end is not None)
        assert talk.seen == ["serves", "draining"]


async def test_a_process_that_is_gone_counts_no_more_in_what_is_in_force() -> None:
    async with talking() as talk:
        other = talk.in_force.taker()
        talk.publish(put("f", 5))
        other.take()
        other.hand_over()
        await talk.hear()
        await talk.process.send({"taken": True})
        await wait_all_tasks_blocked()
        talk.publish(put("f", 6))
        other.take()
        other.hand_over()
        assert talk.in_force.revision == 5
        talk.process.close()
        await wait_all_tasks_blocked()
        assert talk.in_force.revision == 6
        assert isinstance(talk.end, str)


async def test_who_waits_for_an_answer_learns_that_the_process_is_gone() -> None:
    async with talking() as talk, trio.open_nursery() as nursery:
        got: list[list[Any] | None] = []

        async def ask() -> None:
            got.append(await talk.conversation.questions.ask("totals"))

        nursery.start_soon(ask)
        assert (await talk.hear())["what"] == "totals"
        talk.process.close()
        await wait_all_tasks_blocked()
        assert got == [None]

"""Questions over a link: several at once, each with its own answers, and nobody waits for a worker that is gone."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import frozen
from support.stack import BOUND_S
from trio.testing import wait_all_tasks_blocked

from golb.workers import questions as module
from golb.workers.link import Link, LinkLost
from golb.workers.questions import Questions, answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable


@frozen
class Ends:
    questions: Questions
    worker: Link
    nursery: trio.Nursery

    async def ask(self, what: str, **details: Any) -> Callable[[], list[Any] | None]:
        """Ask, and return what returns the answers when they are there."""
        got: list[list[Any] | None] = []

        async def ask() -> None:
            got.append(await self.questions.ask(what, **details))

        self.nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        return got.pop


@asynccontextmanager
async def asking() -> AsyncIterator[Ends]:
    ours, theirs = socket.socketpair()
    link, worker = Link(ours), Link(theirs)
    questions = Questions(link)

    async def listen() -> None:
        try:
            while True:
                questions.take(await link.receive())
        except LinkLost:
            questions.close()

    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            yield Ends(questions, worker, nursery)
            worker.close()
    link.close()


async def count_to(last: int) -> AsyncGenerator[int, None]:
    for number in range(1, last + 1):
        yield number


ANSWERS = {"count": count_to}


async def test_a_question_has_all_its_answers_in_order() -> None:
    async with asking() as ends:
        count, none = await ends.ask("count", last=3), await ends.ask("count", last=0)
        await answer(ends.worker, await ends.worker.receive(), ANSWERS)
        await answer(ends.worker, await ends.worker.receive(), ANSWERS)
        await wait_all_tasks_blocked()
        assert count() == [1, 2, 3]
        assert none() == []


async def test_answers_to_several_questions_may_come_mixed() -> None:
    async with asking() as ends:
        got = [await ends.ask("any", number=number) for number in range(3)]
        asked = [await ends.worker.receive() for _ in got]
        assert [question["details"] for question in asked] == [{"number": 0}, {"number": 1}, {"number": 2}]
        numbers = [question["ask"] for question in asked]
        for text in ("a", "b", None):
            for index in (2, 0, 1):
                await ends.worker.send({"to": numbers[index], "answer": text and f"{text}{index}"})
        await wait_all_tasks_blocked()
        assert [each() for each in got] == [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]


async def test_a_worker_that_ends_before_its_last_answer_has_given_none() -> None:
    async with asking() as ends:
        got = await ends.ask("count", last=3)
        question = await ends.worker.receive()
        await ends.worker.send({"to": question["ask"], "answer": 1})
        ends.worker.close()
        await wait_all_tasks_blocked()
        assert got() is None


async def test_a_worker_that_is_gone_gives_no_answer() -> None:
    async with asking() as ends:
        ends.worker.close()
        await wait_all_tasks_blocked()
        assert (await ends.ask("count", last=3))() is None


async def test_a_worker_that_does_not_answer_is_waited_for_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    async with asking() as ends:
        assert await ends.questions.ask("count", last=3) is None
        question = await ends.worker.receive()
        await answer(ends.worker, question, ANSWERS)  # too late, and to nobody
        monkeypatch.undo()
        got = await ends.ask("count", last=2)
        await answer(ends.worker, await ends.worker.receive(), ANSWERS)
        await wait_all_tasks_blocked()
        assert got() == [1, 2]


async def test_nobody_answers_where_nobody_asks_any_more() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    link = Link(theirs)
    with pytest.raises(LinkLost):
        await answer(link, {"ask": 0, "what": "count", "details": {"last": 3}}, ANSWERS)
    link.close()

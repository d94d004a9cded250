"""Questions to a worker over its link, several at once, each with any number of answers."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

from golb.workers.link import LinkLost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.workers.link import Link

Message = dict[str, Any]
Answers = Callable[..., AsyncGenerator[Any, None]]
"""Makes the answers to one sort of question, of its details; none of them is None."""

# A worker answers in slices between requests; one that takes longer may hang.
_TIMEOUT_S = 3.0


class Questions:
    """The asking side.

    Args:
        link: to the worker.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = count()
        self._open: dict[int, trio.MemorySendChannel[Any]] = {}

    async def ask(self, what: str, **details: Any) -> list[Any] | None:
        """Return all answers; None if the worker is gone or does not answer in time."""
        number = next(self._numbers)
        answers: list[Any] = []
        self._open[number], receive = trio.open_memory_channel[Any](math.inf)
        try:
            with trio.move_on_after(_TIMEOUT_S):
                await self._link.send({"ask": number, "what": what, "details": details})
                async for answer in receive:
                    if answer is None:
                        return answers
                    answers.append(answer)
        except LinkLost:
            pass
        finally:
            self._open.pop(number).close()
            receive.close()
        return None

    def take(self, message: Message) -> None:
        """Take a message that answers one of them; nobody may wait for it any more."""
        asker = self._open.get(message["to"])
        if asker is not None:
            asker.send_nowait(message["answer"])

    def close(self) -> None:
        """Let nobody wait any more: the worker is gone."""
        for asker in self._open.values():
            asker.close()


async def answer(link: Link, message: Message, answers: Mapping[str, Answers]) -> None:
    """Answer a question that came over the link.

    Args:
        link: to who asked.
        message: the question.
        answers: what makes the answers, by what is asked.

    Raises:
        LinkLost: nobody waits for it.
    """
    number = message["ask"]
    async with aclosing(answers[message["what"]](**message["details"])) as made:
        async for one in made:
            await link.send({"to": number, "answer": one})
    await link.send({"to": number, "answer": None})

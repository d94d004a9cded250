"""Many clients that each have a connection of their own, and what became of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define, field
from support.client import Client

from harm.arena import FUNCTION
from harm.endpoint import CALL_PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# Enough at the same moment to keep golb busy, and few enough for this program to be on time.
AT_ONCE = 64
# A client that is not the last to be served may find its connection closed again, but not for ever.
_RECONNECTS = 10


@define
class Crowd:
    """Clients of golb; made by `open_crowd`."""

    port: int
    reconnect: bool
    """Whether a client connects anew if golb has closed its connection before an answer began, as clients of HTTP do."""
    clients: dict[int, Client] = field(factory=dict)
    """Those that are connected, as far as they know, by their number."""
    connected_late: int = 0
    """How often a client had to connect before a call."""
    failures: list[str] = field(factory=list)
    """What clients saw that were not served."""

    async def connect(self, number: int) -> None:
        """Let a client connect, and say nothing."""
        self.clients[number] = await Client.connect(self.port)

    async def for_all(
        self, count: int, act: Callable[[int], Awaitable[bool | None]], timeout_s: float, *, at_once: int = AT_ONCE
    ) -> int:
        """Let each client do something; return how many said that it was done, when all have, or after the time."""
        numbers = iter(range(count))
        done = 0

        async def act_in_turn() -> None:
            nonlocal done
            for number in numbers:
                if await act(number):
                    done += 1

        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                for _ in range(at_once):
                    nursery.start_soon(act_in_turn)
        return done

    async def call(self, number: int) -> bool:
        """Let a client call golb; return whether it was answered by the endpoint."""
        for _ in range(_RECONNECTS if self.reconnect else 1):
            try:
                if number not in self.clients:
                    self.connected_late += 1
                    await self.connect(number)
                response = await self.clients[number].call(f"/function/{FUNCTION}{CALL_PATH}{number}")
            except (AssertionError, OSError, trio.BrokenResourceError) as exc:
                failure = f"{type(exc).__name__} {exc}"
                await self.leave(number)
                continue
            if response.values("Connection") == ["close"]:
                await self.leave(number)
            if response.status == 200:
                return True
            failure = f"{response.status} {response.body.decode(errors='replace').strip()}"
            break
        self.failures.append(failure)
        return False

    async def leave(self, number: int) -> None:
        """Close a client's connection, if it has one."""
        client = self.clients.pop(number, None)
        if client is not None:
            with trio.CancelScope(shield=True):  # closing a plain socket waits for nothing
                await client.aclose()


@asynccontextmanager
async def open_crowd(port: int, *, reconnect: bool) -> AsyncIterator[Crowd]:
    """Yield a crowd without connections; closes all that it has on leaving."""
    crowd = Crowd(port, reconnect)
    try:
        yield crowd
    finally:
        for number in list(crowd.clients):
            await crowd.leave(number)

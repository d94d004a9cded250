"""Clients that come steadily: some keep their connections, some make a new one for each call.

They do as HTTP has it: who is told `Connection: close` connects anew, and so does who finds the kept connection closed before
a call. What has been sent is not sent again: if golb closes the connection then, the call has failed.
"""

from __future__ import annotations

import random
import time
from itertools import count
from typing import TYPE_CHECKING

import trio
from support.wire import connect

from harm.arena import FUNCTION
from harm.endpoint import SLOW_PATH, slow_body
from harm.verdicts import Verdict
from harm.visits import Outcome, Visit

if TYPE_CHECKING:
    from support.wire import Head, Wire

VISIT_TIMEOUT_S = 10.0
# On average. They differ by chance, so some pauses are longer than golb waits for a last request when it drains.
_KEPT_PAUSE_S = 0.4
_FRESH_PAUSE_S = 0.3
_LONGEST_PAUSE_S = 5.0
_BODY = b"x" * 64


class Visitors:
    """All of these clients.

    Args:
        port: of golb.
        kept: how many keep their connections.
        fresh: how many make a new one for each call.
    """

    def __init__(self, port: int, kept: int, fresh: int) -> None:
        self.visits: list[Visit] = []
        """Those that have ended, in that order."""
        self.latest_s = 0.0
        """By how much this process itself was late to begin a call, at most."""
        self._port = port
        self._kept = kept
        self._fresh = fresh
        self._numbers = count(1)
        self._stopped = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call until `stop`; returns when the last call has ended and all connections are closed. Ready at once."""
        async with trio.open_nursery() as nursery:
            for seed in range(self._kept + self._fresh):
                nursery.start_soon(self._come_again, seed, seed < self._kept)
            task_status.started()

    def stop(self) -> None:
        """Begin no more calls."""
        self._stopped.set()

    def verdict(self, late_s: float) -> Verdict:
        """Judge this program itself: whatever else was seen tells of golb only if calls began when they were due."""
        text = f"late by {self.latest_s * 1e3:.0f} ms at most"
        return Verdict(
            f"{self._kept} clients keep their connections, {self._fresh} do not", text, kept=self.latest_s <= late_s
        )

    async def _come_again(self, seed: int, keeps: bool) -> None:  # noqa: FBT001 - a nursery passes no names
        chance = random.Random(seed)
        mean_s = _KEPT_PAUSE_S if keeps else _FRESH_PAUSE_S
        wire: Wire | None = None
        try:
            while True:
                due = trio.current_time() + min(chance.expovariate(1 / mean_s), _LONGEST_PAUSE_S)
                with trio.move_on_at(due):
                    await self._stopped.wait()
                if self._stopped.is_set():
                    return
                self.latest_s = max(self.latest_s, trio.current_time() - due)
                if wire is not None and (not keeps or _socket(wire).is_readable()):  # what comes now is the end
                    await _close(wire)
                    wire = None
                wire = await self._visit(next(self._numbers), wire)
        finally:
            await _close(wire)

    async def _visit(self, number: int, wire: Wire | None) -> Wire | None:
        """Make a call, by a connection or by a new one, and return the connection if it can be used again."""
        method = "POST" if number % 2 else "GET"
        began, outcome, cause, client_port = time.monotonic(), Outcome.REFUSED, "", 0
        head: Head | None = None
        try:
            with trio.fail_after(VISIT_TIMEOUT_S):
                wire = wire or await connect(self._port)
                client_port = _socket(wire).getsockname()[1]
                outcome = Outcome.LOST
                await wire.send(_request(method, number))
                head = await wire.read_head()
                outcome = Outcome.CUT
                outcome, cause = _judged(head.status, await _body(wire, head), number)
        except (OSError, EOFError, trio.BrokenResourceError) as exc:
            cause = f"{type(exc).__name__} {exc}"
        except (AssertionError, ValueError, IndexError) as exc:
            outcome, cause = Outcome.WRONG, f"no HTTP: {exc}"
        except trio.TooSlowError:
            outcome = Outcome.LATE
        self.visits.append(
            Visit(
                number=number,
                method=method,
                client_port=client_port,
                began=began,
                ended=time.monotonic(),
                outcome=outcome,
                cause=cause,
            )
        )
        is_over = outcome is not Outcome.ANSWERED or head is None or head.values(b"Connection") == [b"close"]
        if is_over:
            await _close(wire)
            return None
        return wire


def _request(method: str, number: int) -> bytes:
    head = f"{method} /function/{FUNCTION}{SLOW_PATH}{number} HTTP/1.1\r\nHost: golb\r\n"
    if method == "GET":
        return f"{head}\r\n".encode()
    return f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY


async def _body(wire: Wire, head: Head) -> bytes:
    if head.values(b"Transfer-Encoding") == [b"chunked"]:
        body, _ = await wire.read_chunked()
        return body
    (length,) = head.values(b"Content-Length")
    return await wire.read_exactly(int(length))


def _judged(status: int, body: bytes, number: int) -> tuple[Outcome, str]:
    if status != 200:
        return Outcome.DENIED, f"{status} {body.decode(errors='replace').strip()}"
    if body != slow_body(number):
        return Outcome.WRONG, f"{len(body)} bytes that begin with {body[:32]!r}"
    return Outcome.ANSWERED, ""


def _socket(wire: Wire) -> trio.socket.SocketType:
    assert isinstance(wire.stream, trio.SocketStream)
    return wire.stream.socket


async def _close(wire: Wire | None) -> None:
    if wire is not None:
        with trio.CancelScope(shield=True):  # closing a plain socket waits for nothing
            await wire.close()

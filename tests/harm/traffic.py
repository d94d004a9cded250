"""Calls at a steady rate, each begun when it is due whatever became of those before: so a slow golb hides nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from support.client import Client

from harm.arena import FUNCTION
from harm.calls import Call
from harm.endpoint import CALL_PATH
from harm.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.client import Response

CALL_TIMEOUT_S = 10.0
LATE_S = 0.25
"""A program that begins calls later than this has measured the machine, not golb."""

_BODY = b"x" * 64


class Load:
    """Half GET and half POST, each with an id of its own; a connection carries one call at a time, and is kept.

    Args:
        port: of golb.
        rate_rps: calls begun in a second.
    """

    def __init__(self, port: int, rate_rps: float) -> None:
        self.calls: list[Call] = []
        """Those that have ended, in that order."""
        self.latest_s = 0.0
        """By how much this process itself was late to begin a call, at most: what it saw of times is no better."""
        self._port = port
        self._rate_rps = rate_rps
        self._idle: list[Client] = []
        self._pacing = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call until `stop`; returns when the last call has ended and all connections are closed. Ready at once."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                with self._pacing:
                    await self._begin_calls(nursery)
        finally:
            with trio.move_on_after(1.0, shield=True):
                for client in self._idle:
                    await client.aclose()

    def stop(self) -> None:
        """Begin no more calls."""
        self._pacing.cancel()

    def verdict(self, late_s: float = LATE_S) -> Verdict:
        """Judge this program itself: whatever else was seen tells of golb only if the load was steady."""
        text = f"late by {self.latest_s * 1e3:.0f} ms at most"
        return Verdict(f"the load is steady, {self._rate_rps:g} calls/s", text, kept=self.latest_s <= late_s)

    async def _begin_calls(self, nursery: trio.Nursery) -> None:
        began, number = trio.current_time(), 0
        while True:
            due = began + number / self._rate_rps
            await trio.sleep_until(due)
            self.latest_s = max(self.latest_s, trio.current_time() - due)
            number += 1
            nursery.start_soon(self._call, number, "POST" if number % 2 else "GET")

    async def _call(self, number: int, method: str) -> None:
        began = time.monotonic()
        status, endpoint, cause = 0, "", ""
        try:
            with trio.fail_after(CALL_TIMEOUT_S):
                response = await self._response(number, method)
        except (AssertionError, OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            cause = f"{type(exc).__name__} {exc}"
        else:
            status, endpoint = response.status, "".join(response.values("X-Final-Host")[-1:])
            if status != 200:
                cause = response.body.decode(errors="replace").strip()
        ended = time.monotonic()
        self.calls.append(
            Call(number=number, method=method, began=began, ended=ended, status=status, endpoint=endpoint, cause=cause)
        )

    async def _response(self, number: int, method: str) -> Response:
        client = self._idle.pop() if self._idle else await Client.connect(self._port)
        is_whole = False
        try:
            body = _BODY if method == "POST" else b""
            response = await client.call(f"/function/{FUNCTION}{CALL_PATH}{number}", method=method, body=body)
            is_whole = True
        finally:
            if is_whole:
                self._idle.append(client)
            else:
                await client.aclose()
        return response


def reasons(calls: Sequence[Call], at_most: int = 5) -> list[str]:
    """Return lines that tell why calls failed, the most frequent reasons first, each with its first call."""
    by_reason: dict[tuple[str, int, str], list[Call]] = {}
    for call in calls:
        # golb names the function and the endpoint in front of what went wrong.
        reason = (call.method, call.status, call.cause.rpartition(f"{call.endpoint}: ")[2])
        by_reason.setdefault(reason, []).append(call)
    groups = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return [
        f"  {len(group):,} {method}: {status or 'no answer'} {cause}; first {group[0].number} after {group[0].took_s:.3f} s"
        for (method, status, cause), group in groups[:at_most]
    ]

"""What the log says where every call fails: each failure, up to a number a second, and then how many more there were."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import structlog.testing
from handlers.around import get
from support.stack import running_golb

from golb.line_budget import LINES_A_SECOND

if TYPE_CHECKING:
    import pytest

MORE = 7


async def test_of_many_failures_within_a_second_the_log_tells_some_and_the_number_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 5.0
    monkeypatch.setattr("golb.handlers.wrr.perf_counter", lambda: now_s)
    with socket.socket() as reserved:  # bound, and nobody listens: every connection is refused
        reserved.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{reserved.getsockname()[1]}"
        with structlog.testing.capture_logs() as lines:
            async with running_golb(authority, failover="off") as golb, await golb.connect() as client:
                for number in range(LINES_A_SECOND + MORE + 1):
                    if number == LINES_A_SECOND + MORE:
                        now_s += 1
                    await client.send(get())
                    assert (await client.read_response()).head.status == 502
    told = [line for line in lines if line["event"] in ("call failed", "more calls failed")]
    assert [line["event"] for line in told] == ["call failed"] * LINES_A_SECOND + ["more calls failed", "call failed"]
    assert told[-2]["times"] == MORE

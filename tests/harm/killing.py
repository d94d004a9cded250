"""The death of a worker by `kill -9`, and what it had in its hands.

It is stopped first, for some milliseconds: what the kernel says of its connections then is what it dies with.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import trio
from support.golb_family import client_ports, state_of

from harm.visits import Kill

if TYPE_CHECKING:
    from collections.abc import Callable

_STATE_TIMEOUT_S = 5.0
_REPLACE_TIMEOUT_S = 20.0
_LOOK_EVERY_S = 0.001
_LOOK_FOR_NEXT_EVERY_S = 0.05


async def kill_worker(pid: int, port: int, is_replaced: Callable[[], bool]) -> Kill:
    """Kill it, and wait until another process stands in for it.

    Args:
        pid: of the worker.
        port: where it listens.
        is_replaced: tells whether another one accepts requests.
    """
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    await _wait_for_state(pid, "T")
    ports = client_ports(pid, port)
    os.kill(pid, signal.SIGKILL)
    await _wait_for_state(pid, "Z")  # its files are closed by then (do_exit, exit(2))
    ended = time.monotonic()
    replaced_s = None
    with trio.move_on_after(_REPLACE_TIMEOUT_S):
        while not is_replaced():  # noqa: ASYNC110 - another process
            await trio.sleep(_LOOK_FOR_NEXT_EVERY_S)
        replaced_s = time.monotonic() - ended
    return Kill(pid=pid, client_ports=ports, began=began, ended=ended, replaced_s=replaced_s)


async def _wait_for_state(pid: int, state: str) -> None:
    with trio.fail_after(_STATE_TIMEOUT_S):
        while state_of(pid) != state:  # noqa: ASYNC110 - the kernel's
            await trio.sleep(_LOOK_EVERY_S)

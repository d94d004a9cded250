"""The program of those who mean harm: one process, cheap enough that golb has more to do with it than this machine.

    python -m harm.attackers PORT --slow 2000 --stopped 500 --flood 1000

It keeps writing a line of JSON to standard output: how many of each sort are connected, and were made in all.
What golb breaks off is made anew, so the numbers hold for as long as golb accepts connections.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import trio
from attrs import asdict, define

from harm.arena import FUNCTION, allow_descriptors
from harm.endpoint import HOST, LARGE_PATH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LARGE_FUNCTION = "large"
"""Whose answers are asked for and not read: its endpoint has to do nothing else."""

_BYTE_EVERY_S = 1.0
_TELL_EVERY_S = 0.2
_TRY_AGAIN_S = 0.1
_LOOK_EVERY_S = 1.0
_ANSWER_TIMEOUT_S = 1.0
# One in so many slow ones trickles a body, the others a head.
_BODIES = 10
# Fewer bytes than an answer, so that golb and not the kernel is left with the rest.
_STOPPED_BUFFER_BYTES = 4096
# What the kernel takes for one connection is some MiB: all of a first answer or two.
_ANSWERS = 8
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ESTABLISHED = 1  # TCP_ESTABLISHED, the first byte of tcp_info


@define
class Attackers:
    """Who is connected now, as far as they know, and how many connections there were."""

    port: int
    slow: int = 0
    """Who sends a byte now and then."""
    stopped: int = 0
    """Who reads nothing."""
    slow_made: int = 0
    stopped_made: int = 0
    flood_made: int = 0
    """Connections begun that come and go."""

    async def trickle(self, number: int) -> NoReturn:
        """Send a request a byte at a time: most of them never come to the end of the head."""
        await trio.sleep(random.random() * _BYTE_EVERY_S)
        start = f"GET /function/{FUNCTION}/ HTTP/1.1\r\nHost: a\r\nX-Slow: "
        if number % _BODIES == 0:
            start = f"POST /function/{FUNCTION}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"

        async def attack(sock: trio.socket.SocketType) -> None:
            self.slow += 1
            self.slow_made += 1
            try:
                await sock.send(start.encode())
                while True:
                    await trio.sleep(_BYTE_EVERY_S)
                    await sock.send(b"x")
            finally:
                self.slow -= 1

        await self._again_and_again(attack)

    async def stop_reading(self) -> NoReturn:
        """Ask for large answers, and read nothing."""

        async def attack(sock: trio.socket.SocketType) -> None:
            self.stopped += 1
            self.stopped_made += 1
            try:
                await sock.send(
                    f"GET /function/{LARGE_FUNCTION}{LARGE_PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * _ANSWERS
                )
                while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:  # noqa: ASYNC110 - the kernel's
                    await trio.sleep(_LOOK_EVERY_S)
            finally:
                self.stopped -= 1

        await self._again_and_again(attack, receive_buffer_bytes=_STOPPED_BUFFER_BYTES)

    async def flood(self, rate_rps: float) -> NoReturn:
        """Connect so many times a second; send nothing, or a request; close, or reset."""
        began, number = trio.current_time(), 0
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep_until(began + number / rate_rps)
                nursery.start_soon(self._come_and_go, number)
                number += 1
        raise AssertionError  # not reached

    async def tell(self) -> NoReturn:
        """Write what there is, again and again."""
        while True:
            counts = {name: count for name, count in asdict(self).items() if name != "port"}
            sys.stdout.write(json.dumps(counts) + "\n")
            sys.stdout.flush()
            await trio.sleep(_TELL_EVERY_S)

    async def _come_and_go(self, number: int) -> None:
        self.flood_made += 1
        with suppress(OSError), trio.move_on_after(_ANSWER_TIMEOUT_S), trio.socket.socket() as sock:
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            await sock.connect((HOST, self.port))
            if number % 4 > 1:
                await sock.send(f"GET /function/{FUNCTION}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                await sock.recv(4096)

    async def _again_and_again(
        self, attack: Callable[[trio.socket.SocketType], Awaitable[None]], receive_buffer_bytes: int | None = None
    ) -> NoReturn:
        while True:
            with suppress(OSError), trio.socket.socket() as sock:
                if receive_buffer_bytes is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
                await sock.connect((HOST, self.port))
                await attack(sock)
            await trio.sleep(_TRY_AGAIN_S)


async def main(port: int, slow: int, stopped: int, flood_rps: float) -> None:
    attackers = Attackers(port)
    async with trio.open_nursery() as nursery:
        for number in range(slow):
            nursery.start_soon(attackers.trickle, number)
        for _ in range(stopped):
            nursery.start_soon(attackers.stop_reading)
        if flood_rps:
            nursery.start_soon(attackers.flood, flood_rps)
        nursery.start_soon(attackers.tell)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--slow", type=int, default=0)
    parser.add_argument("--stopped", type=int, default=0)
    parser.add_argument("--flood", type=float, default=0.0)
    given = parser.parse_args()
    # Who measures runs on the same core, and is to come first.
    os.nice(10)
    allow_descriptors(given.slow + given.stopped + 1000)
    trio.run(main, given.port, given.slow, given.stopped, given.flood)

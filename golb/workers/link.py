"""Messages between a parent and a worker: JSON objects, one a line, over a socket pair.

Rule: the other end is of the same program and of the same moment, so a message is trusted; that it is gone is told by the end.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_RECEIVE_BYTES = 65536


class LinkLost(Exception):
    """The process at the other end is gone, or does not read."""


class Link:
    """One end of it.

    Args:
        sock: a stream socket, which the link takes over.
        send_timeout_s: a message is sent whole or not at all, even if its sender is cancelled; so long may that take. A
            worker has patience by default: a parent that stands still is no reason to serve no more.
    """

    def __init__(self, sock: socket.socket, *, send_timeout_s: float = 60.0) -> None:
        self._send_timeout_s = send_timeout_s
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._sending = trio.Lock()
        self._received = bytearray()
        self._scanned = 0

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; those of several tasks go one after the other.

        Raises:
            LinkLost: nobody will read it.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        async with self._sending:
            try:
                with trio.CancelScope(shield=True), trio.fail_after(self._send_timeout_s):
                    await self._stream.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise LinkLost("the other process is gone") from exc
            except trio.TooSlowError as exc:
                self.close()  # a part of the message may have left
                raise LinkLost(f"the other process has not read for {self._send_timeout_s:g} s") from exc

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            LinkLost: there is none any more.
        """
        received = self._received
        while (end := received.find(b"\n", self._scanned)) < 0:
            self._scanned = len(received)
            try:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise LinkLost("the other process is gone") from exc
            if not data:
                raise LinkLost("the other process has ended")
            received += data
        line = received[:end]
        del received[: end + 1]
        self._scanned = 0
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """End it; whoever waits on it gets LinkLost."""
        self._stream.socket.close()

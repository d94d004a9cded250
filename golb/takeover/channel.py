"""What the two say to each other: JSON objects, a packet each, with descriptors beside them."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKET_BYTES = 65536
# The kernel passes no more than 253 at once (SCM_MAX_FD).
DESCRIPTORS_AT_ONCE = 200

_CREDENTIALS = struct.Struct("3i")


class ChannelLost(Exception):
    """The process at the other end is gone, or is no golb."""


class Channel:
    """One end of it; `with` closes it.

    Args:
        sock: of type SOCK_SEQPACKET, which the channel takes over.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it: the other end gets ChannelLost."""
        self._socket.close()

    @property
    def peer_user(self) -> int:
        """The user id of the process that has opened the other end."""
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(credentials)[1])

    @property
    def is_trusted(self) -> bool:
        """Whether the other end is of the same user, or of root: anybody can listen in the abstract namespace, and connect to it."""
        return self.peer_user in (0, os.geteuid())

    async def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message, with at most `DESCRIPTORS_AT_ONCE` descriptors.

        Raises:
            ChannelLost: nobody will receive it.
        """
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            await self._socket.sendmsg([json.dumps(message).encode()], ancillary)
        except OSError as exc:
            raise ChannelLost(exc.strerror) from exc

    async def receive(self) -> dict[str, Any]:
        """Return the next message; descriptors that have come with it are closed.

        Raises:
            ChannelLost: there is none any more.
        """
        message, descriptors = await self.receive_descriptors()
        _close(descriptors)
        return message

    async def receive_descriptors(self) -> tuple[dict[str, Any], list[int]]:
        """Return the next message, and the descriptors that have come with it, which are the caller's to close.

        Raises:
            ChannelLost: there is none any more, or this process cannot have as many descriptors.
        """
        packet, ancillary, flags = await self._receive_packet()
        descriptors = _descriptors(ancillary)
        try:
            return _message(packet, flags), descriptors
        except ChannelLost:
            _close(descriptors)
            raise

    async def _receive_packet(self) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        room = socket.CMSG_SPACE(DESCRIPTORS_AT_ONCE * array.array("i").itemsize)
        while True:
            try:
                packet, ancillary, flags, _ = await self._socket.recvmsg(_PACKET_BYTES, room, socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError:
                continue  # told once, if the other end was closed with something unread; what it has sent is still there
            except OSError as exc:
                raise ChannelLost(exc.strerror) from exc
            return packet, ancillary, flags


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def _message(packet: bytes, flags: int) -> dict[str, Any]:
    if not packet:
        raise ChannelLost("the other process has ended")
    if flags & socket.MSG_CTRUNC:  # the kernel closes what it can give no number to; recvmsg does not fail
        raise ChannelLost("this process has no room for so many descriptors")
    try:
        message = json.loads(packet)
    except (ValueError, RecursionError) as exc:
        raise ChannelLost("the other process is no golb") from exc
    if not isinstance(message, dict):
        raise ChannelLost("the other process is no golb")
    return message


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

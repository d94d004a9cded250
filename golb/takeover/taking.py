"""The side of the new golb."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
import trio

from golb import __version__
from golb.errors import ListenError
from golb.takeover.channel import Channel, ChannelLost
from golb.takeover.meeting import INHERITED, meeting_address

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = structlog.get_logger()

# The other one answers at once. To tell its workers to stop may take it a few seconds, where they are busy.
_ANSWER_TIMEOUT_S = 10.0


class Taken:
    """The listening sockets that another golb has passed, which serves until `confirm`.

    Args:
        channel: to the other one; None: there is none.
        sockets: by the place where they listen.
    """

    def __init__(
        self, channel: Channel | None = None, sockets: Mapping[str, list[socket.socket]] | None = None
    ) -> None:
        self._channel = channel
        self._answer: dict[str, Any] = {}
        self._sockets = dict(sockets or {})

    async def settled(self) -> None:
        """Return when there is nothing to be gained by waiting: no other golb serves meanwhile, or it goes on for good; `confirm` knows which."""
        if self._channel is not None and not self._answer:
            with suppress(ChannelLost):
                self._answer = await self._channel.receive()

    def sockets(self, place: str) -> list[socket.socket]:
        """Return those that listen at a place, `host:port`, and which are the caller's then; none if there are none."""
        return self._sockets.pop(place, [])

    async def confirm(self) -> None:
        """Tell the other one that all is ready; return when it has stopped accepting, is gone, or does not answer.

        Raises:
            ListenError: it goes on, and this process must not serve.
        """
        self._close_sockets()  # those of places where this one does not listen
        if self._channel is None:
            return
        with self._channel as channel:
            try:
                with trio.fail_after(_ANSWER_TIMEOUT_S):
                    with suppress(ChannelLost):  # it may have said why before it closed the channel
                        await channel.send({"ready": True})
                    answer = self._answer or await channel.receive()
            except ChannelLost as exc:
                LOG.warning("the golb to take over from is gone", cause=str(exc))
                return
            except trio.TooSlowError:  # it hangs, most likely; that both accept harms nobody
                LOG.warning("the golb to take over from does not answer")
                return
        if "no" in answer:
            raise ListenError(f"the golb that listens here goes on: {answer['no']}")

    def close(self) -> None:
        """Give up; the other one goes on."""
        self._close_sockets()
        if self._channel is not None:
            self._channel.close()

    def _close_sockets(self) -> None:
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()
        self._sockets.clear()


NOTHING_TAKEN = Taken()
"""There is nobody to take over from."""


async def take_over(host: str, port: int, environ: Mapping[str, str], *, is_wanted: bool) -> Taken:
    """Ask for the sockets of the golb that has started this one, or, if that is wanted, of the one that listens there.

    Raises:
        ListenError: it gives them to nobody now, or is another user's.
    """
    try:
        channel = _channel(host, port, environ, is_wanted=is_wanted)
        if channel is None:
            return NOTHING_TAKEN
        sockets: dict[str, list[socket.socket]] = {}
        try:
            with trio.fail_after(_ANSWER_TIMEOUT_S):
                await _receive_sockets(channel, sockets)
        except ChannelLost as exc:  # those that have come are as good as ever
            LOG.warning("the golb to take over from is gone", cause=str(exc))
        except BaseException:
            Taken(channel, sockets).close()
            raise
    except trio.TooSlowError:
        raise _refusal(host, port, f"it has not answered for {_ANSWER_TIMEOUT_S:g} s") from None
    except _Refused as exc:
        raise _refusal(host, port, str(exc)) from None
    LOG.info("takes over", places=list(sockets), sockets=sum(map(len, sockets.values())))
    return Taken(channel, sockets)


class _Refused(Exception):
    """The other one gives its sockets to nobody now; the text says why."""


def _refusal(host: str, port: int, reason: str) -> ListenError:
    return ListenError(f"the golb that listens on {host}:{port} cannot be taken over: {reason}")


async def _receive_sockets(channel: Channel, sockets: dict[str, list[socket.socket]]) -> None:
    with suppress(ChannelLost):  # it may have said why it refuses, and closed the channel
        await channel.send({"take": {"pid": os.getpid(), "version": __version__}})
    while True:
        message, descriptors = await channel.receive_descriptors()
        received = [_listener(descriptor) for descriptor in descriptors]
        match message:
            case {"sockets": place}:
                sockets.setdefault(place, []).extend(received)
            case {"no": reason}:
                raise _Refused(reason)
            case _:
                return


def _listener(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    # It does not block, but Python would not know: `dup` would then let it block, the old golb's too, since both share its flags.
    sock.setblocking(False)
    return sock


def _channel(host: str, port: int, environ: Mapping[str, str], *, is_wanted: bool) -> Channel | None:
    inherited = environ.get(INHERITED)
    if inherited:
        sock = socket.socket(fileno=int(inherited))
        sock.set_inheritable(False)  # the workers of this one have nothing to do with it
        return Channel(sock)
    return _meet(meeting_address(host, port)) if is_wanted else None


def _meet(address: str) -> Channel | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        sock.connect(address)
    except BlockingIOError:
        sock.close()
        raise _Refused("too many ask it, or it hangs") from None
    except ConnectionRefusedError:  # there is none
        sock.close()
        return None
    channel = Channel(sock)
    if not channel.is_trusted:
        user = channel.peer_user
        channel.close()
        raise _Refused(f"it belongs to another user, {user}")
    return channel

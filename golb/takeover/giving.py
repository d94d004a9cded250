"""The side of the running golb."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
import trio

from golb.takeover.channel import DESCRIPTORS_AT_ONCE, Channel, ChannelLost
from golb.takeover.meeting import INHERITED, meeting_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

LOG = structlog.get_logger()

# The new one reads Python, finds etcd, and loads its table meanwhile.
_READY_TIMEOUT_S = 60.0
# One that was not let take over ends by itself.
_END_TIMEOUT_S = 5.0
_OFFER_AGAIN_S = 0.2
_PATIENCE_S = 10.0
# To say why costs nobody else's time.
_REFUSE_TIMEOUT_S = 1.0
_BACKLOG = 8
# Over when others have closed something.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORTAGE_PAUSE_S = 1.0


class Giver:
    """Passes the listening sockets to one process, after which this one ends.

    Args:
        sockets: tells those that there are, by the place where they listen.
        stop: called when the other process is ready to serve; returns when this one accepts no more. There is no way
            back from it.
    """

    def __init__(
        self, sockets: Callable[[], Mapping[str, Sequence[socket.socket]]], stop: Callable[[], Awaitable[None]]
    ) -> None:
        self._sockets = sockets
        self._stop = stop
        self._is_busy = False
        self.given = trio.Event()
        """Another process has taken over."""
        self.successor: trio.Process | None = None
        """That process, or the one that is about to take over, if this one has started it."""

    async def give(self, channel: Channel, process: trio.Process | None = None) -> bool:
        """Do so, for who has opened the channel; return whether this process serves no more.

        Args:
            channel: to the other process.
            process: that process, if this one has started it.
        """
        deadline_s = trio.current_time() + _READY_TIMEOUT_S
        try:
            with trio.fail_at(deadline_s):
                asker = await _hear(channel, "take")
            if self._is_busy:  # asked only now: one that says nothing keeps nobody else from it
                await _refuse(channel, "another one takes over")
                return False
            self._is_busy, self.successor = True, process
            try:
                with trio.fail_at(deadline_s):
                    LOG.info("is to be taken over", by=asker)
                    await self._pass_sockets(channel)
                    await _hear(channel, "ready")
                    await trio.lowlevel.checkpoint_if_cancelled()  # from here on there is no way back
            except BaseException:
                self._is_busy, self.successor = False, None
                raise
        except trio.Cancelled:
            await _refuse(channel, "it is stopping")  # otherwise the new one would take it for gone, and serve
            raise
        except trio.TooSlowError:
            LOG.error("not taken over, goes on", cause=f"the new one was not ready within {_READY_TIMEOUT_S:g} s")  # noqa: TRY400 - it is no defect of this process
            await _refuse(channel, f"it was not ready within {_READY_TIMEOUT_S:g} s")
            return False
        except ChannelLost as exc:
            LOG.error("not taken over, goes on", cause=str(exc))  # noqa: TRY400
            return False
        await self._stop()
        try:
            await channel.send({"yours": True})
        except ChannelLost as exc:
            LOG.error("the new one is gone, though it was ready, and this one serves no more", cause=str(exc))  # noqa: TRY400
        else:
            if process is not None:
                LOG.info("successor serves", pid=process.pid)
        self.given.set()
        return True

    async def _pass_sockets(self, channel: Channel) -> None:
        for place, sockets in self._sockets().items():
            for begin in range(0, len(sockets), DESCRIPTORS_AT_ONCE):
                some = [sock.fileno() for sock in sockets[begin : begin + DESCRIPTORS_AT_ONCE]]
                await channel.send({"sockets": place}, some)
        await channel.send({"all": True})


async def offer(host: str, port: int, giver: Giver) -> None:
    """Let a new golb of the same user find this one, until one has taken over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, listener, meeting_address(host, port), giver)
            await giver.given.wait()
            nursery.cancel_scope.cancel()


async def start_successor(command: Sequence[str], environ: Mapping[str, str], giver: Giver) -> bool:
    """Start a golb that takes the place of this one; return whether it has.

    Args:
        command: what starts it.
        environ: its variables.
        giver: of this one's sockets.
    """
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as exc:
        LOG.error("successor cannot be started", cause=str(exc))  # noqa: TRY400 - the node lacks descriptors
        return False
    with Channel(ours) as channel:
        with theirs:
            descriptor = theirs.fileno()
            try:
                process = await trio.lowlevel.open_process(
                    command, env={**environ, INHERITED: str(descriptor)}, pass_fds=[descriptor]
                )
            except OSError as exc:
                LOG.error("successor cannot be started", cause=str(exc))  # noqa: TRY400 - the node lacks something
                return False
        LOG.info("successor started", pid=process.pid)
        if await giver.give(channel, process):
            return True
    with trio.move_on_after(_END_TIMEOUT_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
    LOG.error("successor failed", pid=process.pid, exit=await process.wait())
    return False


async def _listen(sock: socket.socket, address: str, giver: Giver) -> NoReturn:
    await _bind(sock, address)
    sock.listen(_BACKLOG)
    listener = trio.socket.from_stdlib_socket(sock)
    async with trio.open_nursery() as nursery:
        while True:
            try:
                accepted, _ = await listener.accept()
            except OSError as exc:
                if exc.errno not in _SHORTAGES:
                    raise
                LOG.warning("whoever wants to take over has to wait", cause=exc.strerror)
                await trio.sleep(_SHORTAGE_PAUSE_S)
            else:
                nursery.start_soon(_give_to_own_user, giver, Channel(socket.socket(fileno=accepted.detach())))
    raise AssertionError  # not reached


async def _bind(sock: socket.socket, address: str) -> None:
    warn_at_s = trio.current_time() + _PATIENCE_S
    while True:
        try:
            sock.bind(address)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            if trio.current_time() > warn_at_s:
                LOG.warning("cannot be taken over, another process has the address for it", address=address[1:])
                warn_at_s = float("inf")
            await trio.sleep(_OFFER_AGAIN_S)  # the one that has been taken over has not ended yet
        else:
            return


async def _give_to_own_user(giver: Giver, channel: Channel) -> None:
    with channel:
        if channel.is_trusted:
            await giver.give(channel)
        else:
            LOG.warning("takeover refused, another user asks", user=channel.peer_user)
            await _refuse(channel, "it belongs to another user")


async def _hear(channel: Channel, key: str) -> Any:
    """Return what the next message says, which is about `key`; raises ChannelLost if it is not."""
    message = await channel.receive()
    if key not in message:
        raise ChannelLost("the other process is no golb")
    return message[key]


async def _refuse(channel: Channel, reason: str) -> None:
    try:
        with trio.move_on_after(_REFUSE_TIMEOUT_S, shield=True):
            await channel.send({"no": reason})
    except ChannelLost as exc:
        LOG.info("nobody is there any more to be refused", cause=str(exc))

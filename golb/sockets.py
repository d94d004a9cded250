"""A connected TCP socket as a Trio stream that costs as little as Trio allows.

trio.SocketStream tries each call first, waits if it must, and makes a checkpoint in either case. A proxy knows better:
what it reads is rarely there yet, so it waits for the poller's word and then reads; what it writes nearly always fits
into the socket's buffer, so it just writes, or leaves a small message to the poller. Every read still yields to other
tasks.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from golb import fibers
from golb.fibers import Fiber

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.asgi import Buffer
    from golb.pipes import Pipe
    from golb.poller import Poller

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

RECEIVE_BYTES: Final = 65536
# What is longer gains nothing from leaving together with others.
_LATER_BYTES: Final = 16384


class ByteStream(Protocol):
    """What golb needs of a connection: a plain socket, TLS over one, or memory in a test."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one byte, or none at the end."""

    async def send_all(self, data: Buffer) -> None:
        """Write all."""

    async def send_eof(self) -> None:
        """End this direction, if the transport can."""


class SocketStream(trio.abc.HalfCloseableStream):
    """Bytes to and from a peer. One task may read while another one writes.

    Args:
        sock: connected; made non-blocking, and owned by the stream from here on.
        poller: tells when there is something to read; it has to run.
        gives_way: what the peer sends waits in line, behind answers; see `golb.poller`.
    """

    __slots__ = (
        "_ended",
        "_failure",
        "_has_input",
        "_poller",
        "_reading",
        "_unsent",
        "_watch",
        "_writing",
        "has_sent",
        "socket",
    )

    def __init__(self, sock: socket.socket, poller: Poller, *, gives_way: bool = False) -> None:
        sock.setblocking(False)
        # Each write is a whole message or a large piece of one: waiting for more of it (Nagle) only adds delay.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that has lost its power says nothing more: it is found out within two minutes or so.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        self.socket = sock
        self._poller = poller
        self._has_input = False
        """There may be something to read."""
        self._ended = False
        """There always is: the end, or an error."""
        self._reading: trio.lowlevel.Task | Fiber[object] | None = None
        """Who waits for it."""
        self._unsent = b""
        """What `send_later` has taken and the socket has not."""
        self._failure: Exception | None = None
        """What a write has met. The kernel tells of it once; who reads then must not take it for the peer's end."""
        self._writing: trio.lowlevel.Task | None = None
        """Who waits for a full socket to take more."""
        self.has_sent = False
        """Bytes have left since this was last set to False, for who wants to know."""
        self._watch = poller.add(sock, self, gives_way=gives_way)

    def give_way(self, *, gives_way: bool) -> None:
        """Let what the peer sends from now on wait in line, or no more."""
        self._watch.gives_way = gives_way

    async def receive_some(self, max_bytes: int | None = RECEIVE_BYTES) -> bytes:
        """Return at least one byte, or none at the end of the stream. Always yields to other tasks.

        Raises:
            trio.BrokenResourceError: the connection failed.
            trio.ClosedResourceError: `abort` or `aclose` was called, before or meanwhile.
        """
        max_bytes = max_bytes or RECEIVE_BYTES
        if self._has_input:
            await fibers.attach()
            await trio.lowlevel.checkpoint()
        while True:
            if not self._has_input:
                if self._reading is not None:
                    raise trio.BusyResourceError("another task reads this stream")
                fiber = fibers.running()
                if fiber is not None:
                    self._reading = fiber
                    try:
                        await fibers.RESUMPTION
                    except BaseException:
                        self._reading = None
                        raise
                else:
                    self._reading = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._cancel_reading)
            try:
                data = self.socket.recv(max_bytes)
            except BlockingIOError:
                self._has_input = False
                continue
            except OSError as exc:
                raise self._translate(exc) from exc
            if len(data) < max_bytes:
                self._has_input = self._ended
                if not data and self._failure is not None:
                    raise self._translate(self._failure) from self._failure
            return data

    def _cancel_reading(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._reading = None
        return trio.lowlevel.Abort.SUCCEEDED

    def notice_input(self, *, ended: bool) -> None:
        """Let who reads go on, at once if it is a fiber; called by the poller."""
        self._has_input = True
        if ended:
            self._ended = True
        reader = self._reading
        if reader is not None:
            self._reading = None
            if isinstance(reader, Fiber):
                reader.resume()
            else:
                trio.lowlevel.reschedule(reader)

    def _end_input(self) -> None:
        """Let who reads see the end when its turn comes: whoever calls this is in the middle of something."""
        self._has_input = self._ended = True
        reader = self._reading
        if reader is not None:
            self._reading = None
            if isinstance(reader, Fiber):
                reader.wake()
            else:
                trio.lowlevel.reschedule(reader)

    async def receive_into(self, pipe: Pipe, max_bytes: int) -> int:
        """Move at least one byte into an empty pipe, and return how many; 0 at the end of the stream.

        Otherwise as `receive_some`.
        """
        await fibers.attach()
        if self._has_input:
            await trio.lowlevel.checkpoint()
        while True:
            # The wait of `receive_some`, which does without a call for it: each coroutine on the way costs a request.
            if not self._has_input:
                if self._reading is not None:
                    raise trio.BusyResourceError("another task reads this stream")
                self._reading = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._cancel_reading)
            try:
                # Less than asked for does not tell that there is no more: the pipe may be full.
                moved = pipe.fill(self.socket.fileno(), max_bytes)
            except BlockingIOError:
                self._has_input = False
                continue
            except (OSError, ValueError) as exc:
                raise self._translate(exc) from exc
            if not moved and self._failure is not None:
                raise self._translate(self._failure) from self._failure
            return moved

    async def send_from(self, pipe: Pipe, on_progress: Callable[[], object]) -> None:
        """Move all that a pipe holds to the peer; otherwise as `send_all`.

        Args:
            pipe: empty when this returns.
            on_progress: called when some of it has left and more is to.
        """
        self.flush()
        while self._unsent:
            await self._wait_for_room()
        while pipe.held:
            is_full = False
            try:
                pipe.drain(self.socket.fileno())
            except BlockingIOError:
                is_full = True
            except (OSError, ValueError) as exc:
                self._failure = exc
                raise self._translate(exc) from exc
            if is_full:
                await self._wait_for_room()
                continue
            self.has_sent = True
            if pipe.held:
                on_progress()

    def send_later(self, data: Buffer) -> bool:
        """Take a small message, to be written when what has been found to do is done, or at once.

        False: it is too long, may change or is no bytes at all, or another one waits already; send it otherwise. Where the connection fails by it, the
        next read or write says so.
        """
        if type(data) is not bytes or self._unsent or len(data) > _LATER_BYTES or self._failure is not None:
            return False
        self._unsent = data
        self._poller.flush_later(self)
        return True

    @property
    def is_flushed(self) -> bool:
        """Whether the socket has taken all that `send_later` took."""
        return not self._unsent

    def send_now(self, data: Buffer) -> int:
        """Write what fits into the socket's buffer, and return how many bytes that were; raises what `send_all` does."""
        if self._unsent:
            self.flush()
            if self._unsent:
                return 0
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._failure = exc
            raise self._translate(exc) from exc
        self.has_sent = True
        return sent

    async def send_all(self, data: Buffer) -> None:
        """Write all; yields to other tasks only if the socket's buffer is full.

        Raises:
            trio.BrokenResourceError: the connection failed.
            trio.ClosedResourceError: `abort` or `aclose` was called, before or meanwhile.
        """
        sent = self.send_now(data)
        if sent == len(data):
            return
        with memoryview(data) as view:
            while sent < view.nbytes:
                await self._wait_for_room()
                sent += self.send_now(view[sent:])

    async def _wait_for_room(self) -> None:
        await fibers.attach()
        if self._writing is not None:
            raise trio.BusyResourceError("another task writes to this stream")
        self._writing = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._cancel_writing)

    def _cancel_writing(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._writing = None
        return trio.lowlevel.Abort.SUCCEEDED

    def notice_output(self) -> None:
        """Let who writes go on; called by the poller."""
        if self._unsent:
            self.flush()
        task = self._writing
        if task is not None:
            self._writing = None
            trio.lowlevel.reschedule(task)

    def flush(self) -> None:
        """Write what `send_later` took, as far as the socket takes it; called by the poller at the end of a round."""
        data = self._unsent
        if not data:
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            return
        except OSError as exc:
            self._unsent = b""
            self._failure = exc
            with suppress(OSError):  # whatever the failure is, who reads shall wake up
                self.socket.shutdown(socket.SHUT_RDWR)
            return
        self.has_sent = True
        self._unsent = data[sent:]

    async def wait_send_all_might_not_block(self) -> None:
        await fibers.attach()
        try:
            await trio.lowlevel.wait_writable(self.socket)
        except (OSError, ValueError) as exc:
            raise self._translate(exc) from exc

    async def send_eof(self) -> None:
        """End this direction behind all that has been written; waits, if it must, until the socket has taken it."""
        await fibers.attach()
        self.flush()
        while self._unsent:
            await self._wait_for_room()
        if self._failure is not None:
            raise self._translate(self._failure) from self._failure
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise self._translate(exc) from exc
        await trio.lowlevel.checkpoint()

    def stop_reading(self) -> None:
        """Let a reader, now or later, see the end of the stream behind what has arrived; writing goes on."""
        with suppress(OSError):  # not connected any more: the reader learns that by itself
            self.socket.shutdown(socket.SHUT_RD)
            self._end_input()

    def has_input(self) -> bool:
        """Tell whether a read would not wait: bytes are there, the end, or an error."""
        if not self._has_input and not self._watch.events:
            return False
        self._has_input = True
        # What looked like more may have been the end of a read that just fitted, or only room to write.
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self._has_input = False
        except OSError:
            pass
        return self._has_input

    def abort(self, *, reset: bool = False) -> None:
        """Close now; whoever waits on the stream gets trio.ClosedResourceError.

        What was to leave later leaves first, as far as the socket takes it.

        Args:
            reset: let the peer see a failure instead of an end, for data whose end only the close marks.
        """
        if self.socket.fileno() < 0:
            return
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.flush()
        self._unsent = b""
        self._poller.remove(self.socket)
        trio.lowlevel.notify_closing(self.socket)  # for `wait_send_all_might_not_block`
        self.socket.close()
        self._end_input()
        self.notice_output()

    async def aclose(self) -> None:
        self.abort()
        await fibers.attach()
        await trio.lowlevel.checkpoint()

    def _translate(self, exc: BaseException) -> trio.ClosedResourceError | trio.BrokenResourceError:
        if self.socket.fileno() < 0:
            return trio.ClosedResourceError("this stream was closed")
        return trio.BrokenResourceError(str(exc))

"""A watch: one streamed answer, read as batches of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ._errors import EtcdError, MalformedAnswer, Unavailable
from ._stream import BatchBuilder
from ._types import WatchBatch
from ._wire import decode_watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._transport import Lines, Transport
    from ._types import Event, ResponseHeader
    from ._wire import Json, WatchMessage


class Watch:
    """A watch that etcd has confirmed: iterate over it, in one task at a time.

    The iteration ends only by an error:

    - `Compacted`: the start revision is gone. etcd says so after it has confirmed the watch.
    - `WatchCancelled`: etcd ended the watch for another reason.
    - `Unavailable`: the stream broke, or was silent for longer than the read timeout. Open another from `revision + 1`.
    - `MalformedAnswer`: what came is no watch stream.

    A task that is cancelled while it waits for a batch loses none, and the watch can be taken up again; over TLS it may
    have ended by that, and says so.
    """

    def __init__(
        self, lines: Lines, header: ResponseHeader, start_revision: int | None, on_lost: Callable[[], None]
    ) -> None:
        self._lines = lines
        self._on_lost = on_lost
        self._header = header
        self._builder = BatchBuilder(header.revision if start_revision is None else start_revision - 1)
        self._failure: EtcdError | None = None
        """What came behind a batch, and is raised in place of the next one."""

    @property
    def header(self) -> ResponseHeader:
        """How the store was when the watch was created.

        Another `cluster_id` than before, or a `revision` below the one already known, means that the store is another
        one or has lost its last changes: etcd takes a start revision that is yet to come, and is silent until then.
        """
        return self._header

    @property
    def member(self) -> str:
        """The URL of the member that sends the stream."""
        return self._lines.member

    @property
    def revision(self) -> int:
        """The newest revision up to which all changes have been delivered."""
        return self._builder.revision

    def __aiter__(self) -> Self:
        """Return the watch itself: it can be left and taken up again."""
        return self

    async def __anext__(self) -> WatchBatch:
        """Return all changes that have come, in one batch; see the class for the errors."""
        events: list[Event] = []
        has_batch = False
        try:
            if self._failure is not None:
                raise self._failure
            # What is behind the first batch is taken only if it is here: whoever has many to take has less to do for each.
            while not has_batch or self._lines.at_hand:
                batch = self._builder.add(await _receive(self._lines))
                if batch is not None:
                    has_batch = True
                    events += batch.events
        except EtcdError as exc:
            if not has_batch:
                if isinstance(exc, Unavailable):
                    self._on_lost()
                raise
            self._failure = exc
        return WatchBatch(self._builder.revision, tuple(events))

    async def aclose(self) -> None:
        """Close the stream, at once and also if cancelled; etcd then drops the watch."""
        await self._lines.aclose()


async def open_watch(
    transport: Transport,
    request: Json,
    token: str | None,
    *,
    start_revision: int | None,
    read_timeout_s: float | None,
    on_lost: Callable[[], None],
) -> Watch:
    """Return a watch, once etcd has confirmed it. Raises what `Watch` does, and what etcd has against it.

    `on_lost` is called when its stream breaks later.
    """
    body = {"create_request": request}
    lines = await transport.open_stream("/v3/watch", body, token, read_timeout_s=read_timeout_s)
    try:
        header = await _receive_created(lines)
    except BaseException:
        await lines.aclose()
        raise
    return Watch(lines, header, start_revision, on_lost)


async def _receive_created(lines: Lines) -> ResponseHeader:
    message = await _receive(lines)
    if not message.created:
        raise MalformedAnswer("a watch stream that does not begin with the watch's creation")
    return message.header


async def _receive(lines: Lines) -> WatchMessage:
    try:
        message = decode_watch(await lines.receive())
    except Unavailable:
        lines.pass_over_member()
        raise
    # etcd leaves the stream open after it has ended the only watch on it.
    if message.ended is not None:
        raise message.ended
    return message

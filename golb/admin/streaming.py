"""A response whose body is made while it is sent, at a pace, and given up once its client has gone."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from golb.admin import problems
from golb.admin.pace import Busy

if TYPE_CHECKING:
    from golb.admin.pace import Places
    from golb.asgi import Receive, Scope, Send

SendPiece = Callable[[bytes], Awaitable[None]]
Write = Callable[[SendPiece], Awaitable[None]]


class StreamedResponse:
    """An ASGI application, as Starlette takes one for a response.

    Args:
        write: makes the body and sends it piece by piece; cancelled where its client goes away.
        media_type: of the body.
        places: who may have it made at once.
        longest_s: how long it may take in all, the client's reading included; then it breaks off visibly.
    """

    def __init__(self, write: Write, media_type: str, places: Places, *, longest_s: float = math.inf) -> None:
        self._write = write
        self._media_type = media_type
        self._places = places
        self._longest_s = longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", self._media_type.encode("latin-1"))],
        }
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body"})
            return

        async def send_piece(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        try:
            self._places.admit()
        except Busy:
            answer = problems.busy("as many requests are being answered as may be; this one may be sent again")
            await answer(scope, receive, send)  # type: ignore[arg-type] # Starlette sends dicts, and takes any mapping
            return
        is_whole = False
        try:
            async with trio.open_nursery() as nursery:
                # Who waits for a place may go away as well.
                nursery.start_soon(_watch, receive, nursery.cancel_scope)
                async with self._places.one():
                    nursery.cancel_scope.deadline = trio.current_time() + self._longest_s
                    await send(start)
                    await self._write(send_piece)
                    is_whole = True
                nursery.cancel_scope.cancel()
        except* OSError:  # what `send` raises where nobody reads any more (ASGI 2.4)
            is_whole = False
        if is_whole:
            await send({"type": "http.response.body"})


async def _watch(receive: Receive, writing: trio.CancelScope) -> None:
    """Read and drop what the client sends; once it has gone, writing is in vain."""
    while (await receive())["type"] != "http.disconnect":
        pass
    writing.cancel()

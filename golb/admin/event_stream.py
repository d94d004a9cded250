"""Events as a browser takes them (server-sent events; HTML, 9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from golb.admin.json_text import to_json

if TYPE_CHECKING:
    from golb.admin.events import Event, EventFeed
    from golb.admin.streaming import SendPiece

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 10.0
"""A client hears something at least so often, so that both sides learn when the other one has gone."""

_EVENTS_AT_ONCE = 20
# Where weights change by the thousand, a client gets them bundled.
_PAUSE_S = 0.05


async def write_events(
    feed: EventFeed, number: int | None, send_piece: SendPiece, heartbeat_s: float = HEARTBEAT_S
) -> None:
    """Write what happens, until cancelled.

    Args:
        feed: tells it.
        number: of the last event that the client has; None: it has one of an earlier process, so all that is kept is new to it.
        send_piece: sends the text.
        heartbeat_s: as `HEARTBEAT_S`.
    """
    await send_piece(b"retry: 1000\n: golb\n\n")
    if number is None:
        number = 0
        await send_piece(_text("lost", feed.id_of(0), {"count": None}))
    while True:
        lost, events = feed.after(number, _EVENTS_AT_ONCE)
        if lost:
            await send_piece(_text("lost", feed.id_of(number + lost), {"count": lost}))
        number += lost + len(events)
        if events:
            await send_piece(b"".join(_event_text(feed, event) for event in events))
            await trio.sleep(_PAUSE_S)
            continue
        with trio.move_on_after(heartbeat_s) as in_time:
            await feed.wait_for_more(number)
        if in_time.cancelled_caught:
            await send_piece(b": alive\n\n")


def _event_text(feed: EventFeed, event: Event) -> bytes:
    return _text(event.kind, feed.id_of(event.number), {**event.data, "at_s": event.at_s})


def _text(kind: str, event_id: str, data: object) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), kind.encode(), to_json(data))

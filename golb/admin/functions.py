"""What the admin port tells of the functions: a page of them by name, and one with its weights of late."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from golb.admin.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golb.admin.pace import Pace, Slices
    from golb.admin.sources import Change, Sources
    from golb.admin.streaming import SendPiece

MAX_LIMIT = 1000
"""Functions of one page."""

# To look at so many names, and to keep the smallest, takes about half a millisecond.
_NAMES_AT_ONCE = 1000
# To write so many takes about as long.
_ENDPOINTS_AT_ONCE = 50
_PIECE_BYTES = 65536


async def write_functions(
    sources: Sources, pace: Pace, search: str, after: str, limit: int, send_piece: SendPiece
) -> None:
    """Write a page of functions, in the order of their names.

    Args:
        sources: knows them.
        pace: at which it is made.
        search: what a name has to contain, in any case of letters.
        after: the name behind which the page begins; empty for the first one.
        limit: the most functions on it, 1 to `MAX_LIMIT`.
        send_piece: sends the JSON.
    """
    async with pace.slices() as slices:
        names, matching = await _select(sources.handler.function_names(), search, after, limit + 1, slices)
        text = bytearray(b'{"matching":%d,"next":%b,"functions":[' % (matching, _next(names, limit)))
        separator = b""
        for name in names[:limit]:
            report = sources.handler.function_report(name)
            if report is not None:  # gone meanwhile
                text += separator
                separator = b","
                await _write_report(report, text, slices, send_piece)
                text += b"}"
            await _send_much(text, slices, send_piece)
    await send_piece(bytes(text + b"]}"))


async def write_function(sources: Sources, pace: Pace, report: Mapping[str, Any], send_piece: SendPiece) -> None:
    """Write one function, whose report this is, with its history."""
    async with pace.slices() as slices:
        text = bytearray()
        await _write_report(report, text, slices, send_piece)
        text += b',"history":['
        separator = b""
        for change in sources.updates(report["function"]):
            text += separator + _change(change)
            separator = b","
            await _send_much(text, slices, send_piece)
    await send_piece(bytes(text + b"]}"))


async def _write_report(report: Mapping[str, Any], text: bytearray, slices: Slices, send_piece: SendPiece) -> None:
    """Write all of a function that stands in a page: an object whose end is left open."""
    members = {member: value for member, value in report.items() if member not in {"endpoints", "history"}}
    text += to_json(members).removesuffix(b"}") + b',"endpoints":['
    endpoints = report["endpoints"]
    for begin in range(0, len(endpoints), _ENDPOINTS_AT_ONCE):
        if begin:
            text += b","
        text += to_json(endpoints[begin : begin + _ENDPOINTS_AT_ONCE])[1:-1]
        await _send_much(text, slices, send_piece)
    text += b"]"


async def _send_much(text: bytearray, slices: Slices, send_piece: SendPiece) -> None:
    """Send what has been made, and forget it, if it is worth a piece."""
    if len(text) >= _PIECE_BYTES:
        piece = bytes(text)
        text.clear()
        await slices.hand(piece, send_piece)
    await slices.keep()


async def _select(names: list[str], search: str, after: str, count: int, slices: Slices) -> tuple[list[str], int]:
    """Return the first names behind `after` that match, in order, and how many match in all."""
    sought = search.casefold()
    chosen: list[str] = []
    matching = 0
    for begin in range(0, len(names), _NAMES_AT_ONCE):
        some = names[begin : begin + _NAMES_AT_ONCE]
        if sought:
            some = [name for name in some if sought in name.casefold()]
        matching += len(some)
        # Sorting them all at once would take as long as all of this.
        chosen = nsmallest(count, chosen + [name for name in some if name > after])
        await slices.keep()
    return chosen, matching


def _next(names: list[str], limit: int) -> bytes:
    return to_json(names[limit - 1] if len(names) > limit else None)


def _change(change: Change) -> bytes:
    weights = {str(endpoint): weight for endpoint, weight in change.weights.by_endpoint.items()}
    return to_json({"at_s": change.at_s, "revision": change.revision, "weights": weights})

"""What the admin port tells of the functions: a page of them by name, and one with its weights of late."""

from __future__ import annotations

from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Any

from attrs import frozen

from golb.admin.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from golb.admin.pace import Pace, Slices
    from golb.admin.sources import Change, Sources
    from golb.admin.streaming import SendPiece

MAX_LIMIT = 1000
"""Functions of one page."""
FUNCTIONS_AT_ONCE = 50
"""So many are asked for with one `await`: each may be a message to another process."""

# To look at so many names, and to keep the smallest, takes about half a millisecond.
_NAMES_AT_ONCE = 1000
# To write so many endpoints, or so many of their weights, takes about as long.
_ENDPOINTS_AT_ONCE = 50
_WEIGHTS_AT_ONCE = 500
_PIECE_BYTES = 65536


@frozen
class Selection:
    """Which functions a page has."""

    search: str
    """What a name has to contain, in any case of letters."""
    after: str
    """The name behind which the page begins; empty for the first one."""
    limit: int
    """The most functions on it, 1 to `MAX_LIMIT`."""
    worker: int | None
    """The worker that tells of itself; None: all together."""


async def write_functions(sources: Sources, pace: Pace, selection: Selection, send_piece: SendPiece) -> None:
    """Write a page of functions, in the order of their names.

    Args:
        sources: knows them.
        pace: at which it is made.
        selection: which ones.
        send_piece: sends the JSON.
    """
    limit = selection.limit
    async with pace.slices() as slices:
        names, matching = await _select(sources.functions.names(), selection, slices)
        text = bytearray(b'{"matching":%d,"next":%b,"functions":[' % (matching, _next(names, limit)))
        separator = b""
        for begin in range(0, min(limit, len(names)), FUNCTIONS_AT_ONCE):
            some = names[begin : min(begin + FUNCTIONS_AT_ONCE, limit)]
            async with aclosing(sources.functions.reports(some, selection.worker)) as reports:
                async for report in reports:
                    text += separator
                    separator = b","
                    await _write_report(report, text, slices, send_piece)
                    text += b"}"
                    await _send_much(text, slices, send_piece)
    await send_piece(bytes(text + b"]}"))


async def write_function(
    pace: Pace, report: Mapping[str, Any], history: Iterable[Change], send_piece: SendPiece
) -> None:
    """Write one function, whose report this is, with its history."""
    async with pace.slices() as slices:
        text = bytearray()
        await _write_report(report, text, slices, send_piece)
        text += b',"history":['
        separator = b""
        for change in history:
            text += separator
            separator = b","
            await _write_change(change, text, slices, send_piece)
    await send_piece(bytes(text + b"]}"))


def since(changes: Sequence[Change], begin_s: float) -> Sequence[Change]:
    """Return the changes that tell which weights were in force from a moment (unix seconds) on: the last one before it, too."""
    earlier = (place for place in reversed(range(len(changes))) if changes[place].at_s <= begin_s)
    return changes[next(earlier, 0) :]


async def _write_report(report: Mapping[str, Any], text: bytearray, slices: Slices, send_piece: SendPiece) -> None:
    """Write all of a function that stands in a page: an object whose end is left open."""
    members = {member: value for member, value in report.items() if member not in {"endpoints", "history"}}
    text += to_json(members).removesuffix(b"}") + b',"endpoints":['
    await _write_parts(_endpoint_parts(report["endpoints"]), text, slices, send_piece)
    text += b"]"


async def _write_change(change: Change, text: bytearray, slices: Slices, send_piece: SendPiece) -> None:
    members = {"at_s": change.at_s, "revision": change.revision}
    text += to_json(members).removesuffix(b"}") + b',"weights":{'
    await _write_parts(_weight_parts(change.weights.by_endpoint), text, slices, send_piece)
    text += b"}}"


async def _write_parts(parts: Iterator[bytes], text: bytearray, slices: Slices, send_piece: SendPiece) -> None:
    """Write parts of a list or an object, which are made one by one, with commas in between."""
    separator = b""
    for part in parts:
        text += separator + part
        separator = b","
        await _send_much(text, slices, send_piece)


def _endpoint_parts(endpoints: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    left = iter(endpoints)
    while some := list(islice(left, _ENDPOINTS_AT_ONCE)):
        yield to_json(some)[1:-1]


def _weight_parts(by_endpoint: Mapping[Any, float]) -> Iterator[bytes]:
    left = iter(by_endpoint.items())
    while some := {str(endpoint): weight for endpoint, weight in islice(left, _WEIGHTS_AT_ONCE)}:
        yield to_json(some)[1:-1]


async def _send_much(text: bytearray, slices: Slices, send_piece: SendPiece) -> None:
    """Send what has been made, and forget it, if it is worth a piece."""
    if len(text) >= _PIECE_BYTES:
        piece = bytes(text)
        text.clear()
        await slices.hand(piece, send_piece)
    await slices.keep()


async def _select(names: list[str], selection: Selection, slices: Slices) -> tuple[list[str], int]:
    """Return the first names that the page has, and one more, in order; and how many match in all."""
    sought = selection.search.casefold()
    chosen: list[str] = []
    matching = 0
    for begin in range(0, len(names), _NAMES_AT_ONCE):
        some = names[begin : begin + _NAMES_AT_ONCE]
        if sought:
            some = [name for name in some if sought in name.casefold()]
        matching += len(some)
        # To sort them all at once would take as long as all of this.
        chosen = sorted(chosen + [name for name in some if name > selection.after])[: selection.limit + 1]
        await slices.keep()
    return chosen, matching


def _next(names: list[str], limit: int) -> bytes:
    return to_json(names[limit - 1] if len(names) > limit else None)

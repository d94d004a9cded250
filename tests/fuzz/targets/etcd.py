"""Target: whatever etcd, or what stands at its address, may send: a watch's stream in any cuts, and the answers to requests.

Choices: how the payload is cut and what is repeated. The payload is the stream, line by line; a line `+key=value` or
`-key` stands for the event that puts or deletes that key, since the fuzzer would not hit upon base64.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from fuzz import loop
from fuzz.inputs import Choices, cut, expand
from fuzz.stack import bounded_logs
from golb.errors import WeightsError
from golb.trio_etcd import EtcdError, EventType, MalformedAnswer, Watch, WatchBatch, _wire
from golb.trio_etcd._stream import LineSplitter
from golb.trio_etcd._transport import Lines
from golb.trio_etcd._watch import _receive_created
from golb.updaters.knowledge import Knowledge
from golb.updaters.zone import Zone
from golb.weights import parse_function_name, parse_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from golb.trio_etcd import Event
    from golb.weights import Weights, WeightUpdate

CHOICES = 2
ZONE = "z"
LIMIT_BYTES = 4096
_MAX_TEXT = 1000
_HTTP_STATUSES = (400, 401, 404, 500, 503)
_DECODERS: tuple[Callable[[_wire.Json], object], ...] = (
    _wire.decode_header,
    _wire.decode_range,
    _wire.decode_summary,
    _wire.decode_put,
    _wire.decode_delete,
    _wire.decode_txn,
    _wire.decode_lease,
    _wire.decode_keep_alive,
    _wire.decode_status,
    _wire.decode_token,
)


def fuzz_one(data: bytes) -> None:
    choices = Choices(data, CHOICES)
    rule, times = choices.number(), choices.number()
    payload = expand(choices.payload, times)
    check_splitter(payload, rule)
    lines = payload.split(b"\n")
    check_answers(lines[0])
    stream = b"\n".join(_written(line, revision) for revision, line in enumerate(lines[:200], 10))
    with bounded_logs():
        loop.run(check_watch, stream, rule)


def _written(line: bytes, revision: int) -> bytes:
    """Return the line as it is, or the message of the event that it stands for."""
    if line[:1] not in (b"+", b"-"):
        return line
    key, _, value = line[1:].partition(b"=")
    kv = {"key": _base64(b"golb/function/z/" + key), "mod_revision": str(revision)}
    event = {"kv": kv | {"value": _base64(value)}} if line[:1] == b"+" else {"type": "DELETE", "kv": kv}
    return json.dumps({"result": {"header": {"revision": str(revision)}, "events": [event]}}).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Lines.


def check_splitter(payload: bytes, rule: int) -> None:
    """Cut the stream into lines; the cuts do not show, and no more than one line is held."""
    try:
        found = _split(cut(payload, rule))
    except MalformedAnswer:
        assert max(map(len, payload.split(b"\n"))) > LIMIT_BYTES
        return
    *lines, rest = payload.split(b"\n")
    assert found == ([line for line in lines if line], rest)


def _split(pieces: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    splitter = LineSplitter(LIMIT_BYTES)
    found: list[bytes] = []
    for piece in pieces:
        found += splitter.feed(piece)
        assert len(splitter.rest) <= LIMIT_BYTES
    return found, splitter.rest


# Answers.


def check_answers(body: bytes) -> None:
    """Read a body as each kind of answer: a value or an error of the package comes out, whose text has a bound."""
    for status in _HTTP_STATUSES:
        _check_text(_wire.decode_error(status, body))
    try:
        answer = _wire.decode_answer(body)
    except EtcdError as exc:
        _check_text(exc)
        return
    for decode in _DECODERS:
        try:
            decode(answer)
        except EtcdError as exc:
            _check_text(exc)


def _check_text(error: EtcdError) -> None:
    assert len(str(error)) <= _MAX_TEXT, f"an error's text of {len(str(error))} characters"


# The stream.


class _Answer:
    """A streamed answer whose parts are there."""

    url = "http://etcd"

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)

    async def receive_some(self) -> bytes | None:
        return next(self._parts, None)


class _Endpoints:
    """The members of a cluster, of which there is one."""

    def skip(self, url: str) -> None:
        """Pass a member over."""


async def follow(pieces: Iterable[bytes]) -> tuple[list[WatchBatch], type[EtcdError]]:
    """Return the batches of a watch, and what has ended it."""
    batches: list[WatchBatch] = []
    lines = Lines(cast("Any", _Answer(pieces)), cast("Any", _Endpoints()))
    try:
        header = await _receive_created(lines)
        async for batch in Watch(lines, header, None, lambda: None):
            batches.append(batch)  # noqa: PERF401 - what came before the error counts
    except EtcdError as exc:
        _check_text(exc)
        return batches, type(exc)
    raise AssertionError("a watch ended without an error")


async def check_watch(stream: bytes, rule: int) -> None:
    """Follow a watch; its batches go up, what they tell does not depend on the cuts, and they keep a zone as it is in etcd."""
    batches, ended = await follow([stream])
    in_pieces, ended_in_pieces = await follow(cut(stream, rule))
    assert (_told(batches), ended) == (_told(in_pieces), ended_in_pieces)
    _check_complete(batches, stream)
    _check_complete(in_pieces, stream)
    revisions = [batch.revision for batch in batches]
    assert revisions == sorted(revisions)
    published: dict[str, WeightUpdate] = {}

    def publish(updates: Iterable[WeightUpdate]) -> None:
        for update in updates:
            published[update.function] = update

    zone = Zone(ZONE, Knowledge())
    for batch in batches:
        await zone.take_changes(batch, publish)
    _check_zone(zone, published, [event for batch in batches for event in batch.events])


def _told(batches: list[WatchBatch]) -> tuple[list[Event], int]:
    """Return all events, and how far they reach: what comes together is in one batch."""
    return [event for batch in batches for event in batch.events], batches[-1].revision if batches else 0


def _check_complete(batches: list[WatchBatch], stream: bytes) -> None:
    """See that no event is lost; those of a revision that is not known to be whole are held back."""
    messages = []
    with suppress(EtcdError):
        for line in filter(None, stream.split(b"\n")[:-1]):
            messages.append(_wire.decode_watch(line))
            if messages[-1].ended is not None:
                messages.pop()
                break
    if messages and not messages[0].created:
        messages = []
    sent = [event for message in messages[1:] for event in message.events]
    delivered = [event for batch in batches for event in batch.events]
    assert delivered == sent[: len(delivered)]
    if len(messages) > 1 and not messages[-1].fragment:
        assert delivered == sent
    if all(message.fragment for message in messages[1:-1]):
        for earlier, later in pairwise(batch.events for batch in batches if batch.events):
            assert earlier[-1].kv.mod_revision != later[0].kv.mod_revision, "a revision was delivered in parts"


def _check_zone(zone: Zone, published: dict[str, WeightUpdate], events: list[Event]) -> None:
    """Hold the table against what was published, and where the revisions grow as etcd's do, against the events."""
    table = {function: parse_weights(value) for function, value, _ in zone.table.rows()}
    assert table == {name: update.weights for name, update in published.items() if update.weights is not None}
    revisions = [event.kv.mod_revision for event in events]
    if any(later <= earlier for earlier, later in pairwise([0, *revisions])):
        return
    expected: dict[str, Weights] = {}
    for event in events:
        with suppress(WeightsError):  # what is refused changes nothing
            function = parse_function_name(event.kv.key, ZONE)
            if event.type is EventType.DELETE:
                expected.pop(function, None)
            else:
                expected[function] = parse_weights(event.kv.value)
    assert table == expected

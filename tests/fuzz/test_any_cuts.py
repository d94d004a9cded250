"""Well-formed traffic in any cuts: what comes out is what was meant, whichever way the bytes came. No sockets."""

from __future__ import annotations

import base64
import functools
import json
import operator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import loop
from fuzz.endpoints import Endpoint
from fuzz.peers import Asked, read_responses
from fuzz.stack import serve, serve_by_golb
from fuzz.streams import End, ScriptedStream
from fuzz.targets.etcd import follow
from fuzz.traffic import REPEATABLE, Message, answers, cuts, requests
from golb.server.requests import RequestReader
from golb.upstream.answer_reader import AnswerReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from golb.asgi import Event, Receive, Scope, Send

# What golb sets itself: it tells the time, the route or the framing.
_GOLBS_OWN = (b"x-f", b"host", b"content-length", b"transfer-encoding", b"te", b"connection")


@pytest.fixture(scope="module", autouse=True)
def one_loop() -> Iterator[None]:
    with loop.open_loop():
        yield


def _plain(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Leave out what is golb's, and the white space behind values, which means nothing (RFC 9110, 5.5)."""
    return [(name, value.rstrip(b" \t")) for name, value in headers if not name.startswith(_GOLBS_OWN)]


# The parsers.


@settings(REPEATABLE, max_examples=50)
@given(st.lists(requests(), min_size=1, max_size=4), st.data())
def test_the_request_reader_reads_what_was_meant(messages: list[Message], data: st.DataObject) -> None:
    reader = RequestReader()
    for piece in data.draw(cuts(b"".join(message.data for message in messages))):
        reader.feed(piece)
    assert len(reader.requests) == len(messages)
    for request, message in zip(reader.requests, messages, strict=True):
        assert (request.refusal, request.complete) == (None, True)
        assert (request.method, request.target) == (message.start, message.target)
        assert _plain(request.headers) == message.headers
        assert (b"".join(request.body), _plain(request.trailers)) == (message.body, message.trailers)


@settings(REPEATABLE, max_examples=50)
@given(st.lists(answers(), min_size=1, max_size=4), st.data())
def test_the_answer_reader_reads_what_was_meant(messages: list[Message], data: st.DataObject) -> None:
    reader = AnswerReader()
    for message in messages:
        answer = reader.begin(head_request=False)
        for piece in data.draw(cuts(message.data)):
            assert not answer.complete
            reader.feed(piece)
        assert (answer.complete, reader.reusable) == (True, True)
        assert answer.status == int(message.start)
        assert _plain(answer.headers) == message.headers
        assert (b"".join(answer.body), _plain(answer.trailers)) == (message.body, message.trailers)


# A connection, with an application that tells all that it was asked.


def _told(method: bytes, target: bytes, headers: object, body: bytes, trailers: object) -> bytes:
    return repr((method, target, headers, body, trailers)).encode()


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    body, event = b"", await receive()
    while event["more_body"]:
        body += event["body"]
        event = await receive()
    text = _told(
        scope["method"].encode(),
        scope["golb.target"],
        _plain(scope["headers"]),
        body + event["body"],
        _plain(event.get("trailers", [])),
    )
    start: Event = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]}
    await send(start)
    await send({"type": "http.response.body", "body": text})


@settings(REPEATABLE, max_examples=30)
@given(st.lists(requests(), min_size=1, max_size=4), st.data())
def test_a_connection_serves_what_was_meant(messages: list[Message], data: st.DataObject) -> None:
    whole = b"".join(message.data for message in messages)
    client = ScriptedStream(data.draw(cuts(whole)), End.SILENCE)
    loop.run(serve, client, tell)
    view = read_responses(bytes(client.sent), [Asked(message.start) for message in messages], ended=True)
    assert (view.fault, view.rest, len(view.answers)) == (None, b"", len(messages))
    for answer, message in zip(view.answers, messages, strict=True):
        text = _told(message.start, message.target, message.headers, message.body, message.trailers)
        assert answer.values(b"content-length") == [b"%d" % len(text)]
        assert answer.body == (b"" if message.start == b"HEAD" else text)


# A whole golb.


@settings(REPEATABLE, max_examples=30)
@given(st.lists(requests(with_head=False), min_size=1, max_size=3), answers(), st.data())
def test_endpoint_and_client_get_what_was_meant(messages: list[Message], said: Message, data: st.DataObject) -> None:
    whole = b"".join(message.data for message in messages)
    client = ScriptedStream(data.draw(cuts(whole)), End.SILENCE)
    endpoints: list[Endpoint] = []
    pieces = data.draw(cuts(said.data))

    def open_stream() -> ScriptedStream:
        endpoints.append(Endpoint(pieces))
        return endpoints[-1]

    loop.run(serve_by_golb, client, open_stream)
    got = [request for endpoint in endpoints for request in endpoint.check()]
    assert len(got) == len(messages)
    for request, message in zip(got, messages, strict=True):
        assert (request.start, request.target) == (message.start, message.target.removeprefix(b"/function/f"))
        assert (_plain(request.headers), request.body, request.complete) == (message.headers, message.body, True)
        assert request.trailers == message.trailers
    view = read_responses(bytes(client.sent), [Asked(message.start) for message in messages], ended=True)
    assert (view.fault, view.rest, len(view.answers)) == (None, b"", len(messages))
    for answer in view.answers:
        assert (answer.start, _plain(answer.headers)) == (said.start, said.headers)
        assert (answer.body, answer.complete, answer.trailers) == (said.body, True, said.trailers)


# etcd's stream.

_REVISIONS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


def _message(revision: int, revisions: list[int], *, fragment: bool) -> bytes:
    events = [
        {"kv": {"key": base64.b64encode(b"k%d" % index).decode(), "mod_revision": str(mod_revision)}}
        for index, mod_revision in enumerate(revisions)
    ]
    result = {"header": {"revision": str(revision)}, "events": events, "fragment": fragment}
    return json.dumps({"result": result}).encode() + b"\n"


@settings(REPEATABLE, max_examples=50)
@given(st.lists(_REVISIONS, max_size=5), st.data())
def test_a_watch_delivers_whole_revisions_in_order(steps: list[list[int]], data: st.DataObject) -> None:
    created = b'{"result": {"header": {"revision": "1"}, "created": true}}\n'
    revision, messages, sent = 1, [created], []
    for parts in steps:
        revisions: list[int] = []
        revision += 1
        for step in parts:
            revision += step
            revisions.append(revision)
        sent += revisions
        fragment = messages[1:] != [] and data.draw(st.booleans())
        if fragment and len(revisions) > 1:
            messages.append(_message(revision, revisions[:1], fragment=True))
            revisions = revisions[1:]
        messages.append(_message(revision, revisions, fragment=False))
    pieces = data.draw(cuts(b"".join(messages)))

    async def check() -> None:
        batches, _ = await follow(pieces)
        got = [[event.kv.mod_revision for event in batch.events] for batch in batches]
        assert functools.reduce(operator.iadd, got, []) == sent
        for earlier, later in pairwise(got):
            assert earlier[-1] < later[0]
        assert [batch.revision for batch in batches] == [revisions[-1] for revisions in got]

    loop.run(check)

"""Target: whatever a client may send, to the parser, to a connection with an application of any manners, and to a whole golb.

Choices: how the payload is cut, what is repeated, what comes behind it, how much the client reads, who answers, and how
often the applications change their manners.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from fuzz import loop
from fuzz.applications import MANNERS, ManneredApplication
from fuzz.endpoints import EchoEndpoint
from fuzz.inputs import Choices, cut, expand
from fuzz.peers import Asked, RequestView, ResponseView, read_responses, stops_at_zeros
from fuzz.stack import bounded_logs, serve, serve_by_golb
from fuzz.streams import End, ScriptedStream
from golb.routes import split_target
from golb.server.requests import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, Request, RequestReader
from golb.server.writer import SWITCHING_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from golb.headers import Headers

CHOICES = 6
_ROOMS = (1 << 30, 1 << 30, 1 << 30, 0, 20, 300)
_REFUSALS = {400, 414, 417, 431, 501, 505}


def fuzz_one(data: bytes) -> None:
    choices = Choices(data, CHOICES)
    rule, times = choices.number(), choices.number()
    end, room = choices.one_of(list(End)), choices.one_of(_ROOMS)
    who, manner = choices.number(), choices.number()
    payload = expand(choices.payload, times)
    requests = check_reader(payload, rule)
    client = ScriptedStream(cut(payload, rule), end, room)
    with bounded_logs():
        if who % 2:
            check_application(client, requests, manner)
        else:
            is_patient = end is End.SILENCE and room == _ROOMS[0]
            check_golb(client, requests, payload, is_draining=who % 4 == 2, is_patient=is_patient)


# The parser.


@frozen
class Seen:
    """All that a request says, however its bytes came."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    trailers: Headers
    complete: bool
    keep_alive: bool
    upgrade: bool
    expects_continue: bool
    refused: bool

    @classmethod
    def of(cls, request: Request) -> Seen:
        if request.refusal is not None:  # what golb has read of it by then may depend on the cuts
            return cls(b"", b"", [], b"", [], True, False, False, False, True)
        return cls(
            request.method,
            request.target,
            request.headers,
            b"".join(request.body),
            request.trailers,
            request.complete,
            request.keep_alive,
            request.upgrade,
            request.expects_continue,
            False,
        )


def read(pieces: Iterable[bytes]) -> list[Request]:
    """Read as a connection does that grants no upgrade, and check what the reader holds."""
    reader = RequestReader()
    requests: list[Request] = []
    bodies: dict[int, list[bytes]] = {}
    for piece in pieces:
        reader.feed(piece)
        while reader.requests:
            request = reader.requests.popleft()
            requests.append(request)
            bodies[id(request)] = []
            if request.upgrade and request.refusal is None and not reader.requests:
                reader.resume()
        if requests:
            last = requests[-1]
            bodies[id(last)] += last.body
            last.body = []
        if requests and requests[-1].refusal is not None:
            break  # as a connection does, which ends
        assert len(reader.leftover) <= len(piece)
    for request in requests:
        request.body = bodies[id(request)] + request.body
        _check_request(request)
    return requests


def _check_request(request: Request) -> None:
    """Hold what the reader lets through against what it says of it."""
    if request.refusal is not None:
        assert request.refusal.status in _REFUSALS
        return
    size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
    assert size <= 2 * MAX_HEAD_BYTES  # a head that comes in one read is checked with that read's size
    assert len(request.target) <= MAX_TARGET_BYTES
    assert len(request.headers) <= MAX_HEADERS
    assert request.target == b"*" or request.target.startswith(b"/")
    assert request.target.isascii()
    assert not set(request.target) & set(b" \r\n\0#\t")
    hosts = [value for name, value in request.headers if name == b"host"]
    assert len(hosts) == 1 or (request.http_1_0 and not hosts)
    for name, value in [*request.headers, *request.trailers]:
        assert name == name.lower()
        assert not set(value) & set(b"\r\n\0")
    assert not (request.chunked and request.body_length is not None)
    if request.body_length is not None:
        assert sum(map(len, request.body)) <= request.body_length
    if request.complete and request.body_length is not None:
        assert sum(map(len, request.body)) == request.body_length


def _written(request: Request) -> bytes:
    """Write a request anew, in the plainest form."""
    version = b"HTTP/1.0" if request.http_1_0 else b"HTTP/1.1"
    head = b"\r\n".join([b" ".join([request.method, request.target, version]), *map(b": ".join, request.headers)])
    body = b"".join(request.body)
    if not request.chunked:
        return head + b"\r\n\r\n" + body
    trailers = b"".join(b"%b: %b\r\n" % trailer for trailer in request.trailers)
    return head + b"\r\n\r\n" + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n" + trailers + b"\r\n"


def check_reader(payload: bytes, rule: int) -> list[Request]:
    """Read the payload; the cuts, and writing and reading it once more, change nothing."""
    requests = read(cut(payload, rule))
    # Limits are held by what is read at once, so only what is within them in any cuts can be compared.
    if len(payload) < MAX_HEAD_BYTES:
        assert [Seen.of(request) for request in requests] == [Seen.of(request) for request in read(cut(payload, 0))]
    for request in requests:
        if request.refusal is None and request.complete:
            (again,) = read([_written(request)])
            assert Seen.of(again) == Seen.of(request)
    return requests


# A connection.


def check_responses(client: ScriptedStream, requests: list[Request]) -> ResponseView:
    """Read what the client got: one answer to each request at most, and perhaps 408 to a head that has only begun."""
    asked = [Asked(request.method or b"GET", request.upgrade) for request in requests]
    view = read_responses(bytes(client.sent), [*asked, Asked(b"GET")], ended=not client.was_reset)
    assert view.fault is None, view.fault
    assert not view.rest
    assert len(view.answers) <= len(asked) or view.answers[-1].start == b"408"
    return view


def check_application(client: ScriptedStream, requests: list[Request], manner: int) -> None:
    """Let an application answer; what it has brought to an end has arrived whole, and is all that has."""
    application = ManneredApplication(
        [MANNERS[(manner + number * (manner // 16)) % len(MANNERS)] for number in range(50)]
    )
    loop.run(serve, client, application)
    assert application.failures == [], application.failures
    view = check_responses(client, requests)
    for answer, sent in zip(view.answers, application.sent, strict=False):
        if not sent.status:
            return  # the application has sent nothing, and golb has answered and closed
        assert int(answer.start) == sent.status
        if client.full or sent.is_bodiless or sent.status == SWITCHING_PROTOCOLS:
            continue
        assert answer.complete == sent.is_whole, "the client takes a response that broke off for a whole one, or not"
        assert not answer.complete or answer.body == sent.body


def check_golb(
    client: ScriptedStream, requests: list[Request], payload: bytes, *, is_draining: bool, is_patient: bool
) -> None:
    """Let golb forward to an endpoint that keeps what it gets; it gets what the client meant, and nothing else."""
    endpoints: list[EchoEndpoint] = []

    def open_stream() -> ScriptedStream:
        endpoints.append(EchoEndpoint())
        return endpoints[-1]

    loop.run(partial(serve_by_golb, client, open_stream, is_draining=is_draining))
    forwarded = [request for endpoint in endpoints for request in endpoint.check()]
    # The last one may be refused for its body, when its head has gone on; but it is never made whole.
    calls = [request for request in requests if _calls_function(request.target)]
    assert len(forwarded) <= len(calls)
    for got, meant in zip(forwarded, calls, strict=False):
        split = split_target(meant.target)
        assert split is not None
        assert (got.start, got.target) == (meant.method, split[1])
        # The endpoint answers nothing but whole requests, and a client that waits for its answer does not go away.
        assert got.complete or not (meant.complete and is_patient)
        if got.complete:
            assert meant.refusal is None
            assert meant.complete
            assert got.body == b"".join(meant.body)
    _check_by_other_parser(payload, requests)
    check_responses(client, requests)


def _calls_function(target: bytes) -> bool:
    split = split_target(target)
    return split is not None and split[0] == b"f"


def _check_by_other_parser(payload: bytes, requests: list[Request]) -> None:
    """See that what golb takes for requests is what another parser takes for them."""
    view = RequestView()
    view.feed(payload.lstrip(b"\r\n"))  # RFC 9112, 2.2: a server ignores blank lines in front; h11 does not
    for ours, theirs in zip(requests, view.requests, strict=False):
        if ours.refusal is not None or ours.upgrade:
            return
        assert ours.method == theirs.start
        assert [_as_other_parser_has_it(*header) for header in ours.headers] == theirs.headers
        if theirs is view.requests[-1] and stops_at_zeros(view.fault, payload):
            return
        assert ours.complete == theirs.complete
        assert b"".join(ours.body) == theirs.body


def _as_other_parser_has_it(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Write a header as h11 tells of it: without space behind its value, codings in lower case."""
    return name, value.rstrip(b" \t").lower() if name == b"transfer-encoding" else value.rstrip(b" \t")

"""Target: whatever an endpoint may answer, to the parser and to a whole golb between a well-behaved client and that endpoint.

Choices: how the payload is cut, what is repeated, what comes behind it, what the client asks, and when the endpoint answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from fuzz import loop
from fuzz.endpoints import Endpoint
from fuzz.inputs import Choices, cut, expand
from fuzz.peers import Asked, ResponseView, read_responses, stops_at_zeros
from fuzz.stack import bounded_logs, serve_by_golb
from fuzz.streams import End, ScriptedStream
from golb.errors import UpstreamError
from golb.upstream.answer_reader import AnswerReader
from golb.upstream.answers import MAX_HEAD_BYTES, MAX_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fuzz.peers import Message
    from golb.headers import Headers
    from golb.upstream.answers import Answer

CHOICES = 5


@frozen
class Question:
    """What the client asks, twice on one connection."""

    asked: Asked
    pieces: tuple[bytes, ...]


def _question(method: bytes, *lines: bytes, body: tuple[bytes, ...] = (), version: bytes = b"HTTP/1.1") -> Question:
    head = b"\r\n".join([method + b" /function/f " + version, b"Host: golb", *lines, b"", b""])
    upgrade = any(line.startswith(b"Upgrade") for line in lines)
    return Question(Asked(method, upgrade), (head, *body))


QUESTIONS = (
    _question(b"GET"),
    _question(b"HEAD"),
    _question(b"POST", b"Content-Length: 3", body=(b"abc",)),
    _question(b"POST", b"Transfer-Encoding: chunked", b"TE: trailers", body=(b"3\r\nabc\r\n", b"0\r\n\r\n")),
    _question(b"GET", b"Connection: upgrade", b"Upgrade: x"),
    _question(b"PUT", b"Content-Length: 1", b"Expect: 100-continue", body=(b"a",)),
    _question(b"GET", b"Connection: keep-alive", version=b"HTTP/1.0"),
    _question(b"OPTIONS", b"Content-Length: 0"),
)


def fuzz_one(data: bytes) -> None:
    choices = Choices(data, CHOICES)
    rule, times = choices.number(), choices.number()
    end, question = choices.one_of(list(End)), choices.one_of(QUESTIONS)
    early = bool(choices.number() % 2)
    payload = expand(choices.payload, times)
    check_reader(payload, rule, head_request=question.asked.method == b"HEAD")
    with bounded_logs():
        check_golb(question, cut(payload, rule), end, early=early)


# The parser.


@frozen
class Seen:
    """All that an answer says, however its bytes came."""

    status: int
    interim: list[tuple[int, Headers]]
    headers: Headers
    body: bytes
    trailers: Headers
    complete: bool
    until_close: bool
    upgraded: bool
    leftover: bytes
    reusable: bool


def read(reader: AnswerReader, pieces: Iterable[bytes], *, head_request: bool) -> Seen | None:
    """Read as a connection does; None if the answer is refused. Checks what the reader holds and lets through."""
    answer = reader.begin(head_request=head_request)
    body = b""
    for piece in pieces:
        if answer.upgraded:
            answer.leftover += piece
            continue
        body_bytes = len(piece) if answer.until_close else min(answer.bytes_left or 0, len(piece))
        try:
            # What needs no parsing passes the parser by, and no more than that is read at once.
            if body_bytes:
                reader.take_body(piece[:body_bytes])
            rest = piece[body_bytes:]
            if answer.complete and answer.bytes_left is not None:
                # A connection leaves this unread. The parser passes over blank lines behind a body that it has seen end, but
                # would take them for more of one that has passed it by.
                rest = rest.lstrip(b"\r\n")
            if rest:
                reader.feed(rest)
        except UpstreamError:
            return None
        body += b"".join(answer.body)
        answer.body = []
        assert _held_bytes(answer) <= 2 * (MAX_HEAD_BYTES + len(piece))
    _check_answer(answer, body)
    return Seen(
        answer.status,
        answer.interim or [],
        answer.headers,
        body,
        answer.trailers,
        answer.complete,
        answer.until_close,
        answer.upgraded,
        answer.leftover,
        reader.reusable,
    )


def _held_bytes(answer: Answer) -> int:
    headers = [*answer.headers, *answer.special, *answer.trailers]
    for _, more in answer.interim or ():
        headers += more
    return sum(len(name) + len(value) for name, value in headers)


def _check_answer(answer: Answer, body: bytes) -> None:
    assert answer.status == 0 or 101 <= answer.status <= 999
    # A head that has not ended has not been judged: until then its size is what bounds it.
    assert not answer.status or len(answer.headers) <= MAX_HEADERS
    assert all(len(headers) <= MAX_HEADERS for _, headers in answer.interim or ())
    for name, value in [*answer.headers, *answer.trailers]:
        assert name == name.lower()
        assert not set(value) & set(b"\r\n\0")
    lengths = [value for name, value in answer.headers if name == b"content-length"]
    assert len(lengths) <= 1
    assert not (lengths and answer.chunked)
    if answer.head_request or answer.status in (0, 101, 204, 304):
        assert not body
    elif lengths and answer.complete and answer.status != 101:
        assert len(body) == int(lengths[0])


def check_reader(payload: bytes, rule: int, *, head_request: bool) -> None:
    """Read the payload; neither the cuts nor another answer before it change anything."""
    seen = read(AnswerReader(), cut(payload, 0), head_request=head_request)
    # Limits are held by what is read at once, so only what is within them in any cuts can be compared.
    if len(payload) < MAX_HEAD_BYTES:
        reader = AnswerReader()
        assert read(reader, cut(payload, rule), head_request=head_request) == seen
        if seen is not None and seen.complete and seen.reusable:
            assert read(reader, cut(payload, 0), head_request=head_request) == seen


# golb.


def check_golb(question: Question, answer: list[bytes], end: End, *, early: bool) -> None:
    """Ask twice. The client gets what the endpoint said or golb's word that it cannot, and can tell a cut answer."""
    endpoints: list[Endpoint] = []

    def open_stream() -> ScriptedStream:
        endpoints.append(Endpoint(answer, end, early=early))
        return endpoints[-1]

    client = ScriptedStream(question.pieces * 2, End.SILENCE)
    loop.run(serve_by_golb, client, open_stream)
    got = read_responses(bytes(client.sent), [question.asked] * 2, ended=not client.was_reset)
    assert got.fault is None, got.fault
    assert not got.rest
    assert got.answers or got.tunnelled is not None or client.was_reset
    if got.tunnelled is not None:
        return
    payload = b"".join(answer)
    said = _read_by_other_parser(payload, question.asked, ended=end is End.EOF)
    passed_on = [answer for answer in got.answers if not _is_golbs_own(answer, question)]
    for answered in passed_on:
        _check_passed_on(answered, said, payload)
    if passed_on and passed_on[0].complete:
        first, second = _without_mark(passed_on[0]), _without_mark(got.answers[-1])
        assert first == second, "what the endpoint says to two requests alike is passed on differently"
    for endpoint in endpoints:
        endpoint.check()


def _read_by_other_parser(payload: bytes, asked: Asked, *, ended: bool) -> ResponseView:
    """Read what the endpoint says, and on where h11 stops at what changes nothing in the final answer.

    That is a blank line in front of an answer, and the framing of an interim one (RFC 9112, 6.3: it ends with its head).
    """
    said = read_responses(payload, [asked], ended=ended)
    while said.rest and _is_passed_over(said.fault, payload.removesuffix(said.rest)):
        payload = said.rest.lstrip(b"\r\n")
        said = read_responses(payload, [asked], ended=ended)
    return said


def _is_passed_over(fault: str | None, read: bytes) -> bool:
    """Tell whether the last thing in `read`, at which h11 has stopped, may be ignored."""
    last = read.rstrip(b"\r\n").rpartition(b"\r\n\r\n")[2].lstrip(b"\r\n")
    is_interim = last.startswith(b"HTTP/1.1 1")
    is_framing = any(name in (fault or "") for name in ("Transfer-Encoding", "Content-Length"))
    return fault == "no response line received" or (is_interim and is_framing)


def _is_golbs_own(answer: Message, question: Question) -> bool:
    has_text = answer.body.startswith(b"golb: ") or question.asked.method == b"HEAD"
    return answer.start in (b"502", b"504") and has_text


def _without_mark(answer: Message) -> Message:
    """Leave out what tells the time."""
    return evolve(answer, headers=[(name, value) for name, value in answer.headers if name != b"x-forwarded-host-eb-a"])


def _check_passed_on(got: Message, said: ResponseView, payload: bytes) -> None:
    """See that another parser reads the endpoint's answer as golb has passed it on."""
    if not said.answers and (said.fault or "").startswith("illegal status line"):
        return  # llhttp takes any reason phrase; golb passes none on
    assert said.answers, f"the client has got an answer that another parser does not see: {said.fault}"
    (meant,) = said.answers
    assert got.start == meant.start
    if stops_at_zeros(said.fault, payload):
        return
    assert meant.body.startswith(got.body)
    if got.complete:
        # Among trailers a coding says nothing of the body, which has ended. h11 stops at it; golb passes none on.
        is_whole = meant.complete or "Transfer-Encoding" in (said.fault or "")
        assert is_whole, "the endpoint's answer was cut, and the client cannot tell"
        assert got.body == meant.body

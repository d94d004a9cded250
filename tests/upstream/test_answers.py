"""What an endpoint may send, by `AnswerReader` alone: no sockets, no tasks. What golb makes of it is in test_exchange.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from golb.errors import UpstreamError
from golb.upstream.answer_reader import AnswerReader
from golb.upstream.answers import MAX_HEAD_BYTES, MAX_HEADERS, NO_ANSWER, Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from golb.headers import Headers


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
    failed: bool


def answer(*lines: bytes, status: bytes = b"200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines]) + b"\r\n\r\n" + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def read(pieces: Iterable[bytes], reader: AnswerReader | None = None, *, head_request: bool = False) -> Seen:
    """Feed an answer as a connection does, but for the bytes that pass the parser by there."""
    reader = reader or AnswerReader()
    found = reader.begin(head_request=head_request)
    failed = False
    for piece in pieces:
        if found.upgraded:
            found.leftover += piece
            continue
        try:
            reader.feed(piece)
        except UpstreamError:
            failed = True
            break
    return Seen(
        found.status,
        found.interim or [],
        found.headers,
        b"".join(found.body),
        found.trailers,
        found.complete,
        found.until_close,
        found.upgraded,
        found.leftover,
        reader.reusable,
        failed,
    )


def test_a_reader_reads_one_answer_after_the_other() -> None:
    reader = AnswerReader()
    for method_is_head in (False, True, False, False):
        body = b"" if method_is_head else b"ok"
        seen = read([answer(b"Content-Length: 2", body=body)], reader, head_request=method_is_head)
        assert (seen.status, seen.body, seen.complete, seen.reusable) == (200, body, True, True)
    seen = read([answer(b"Transfer-Encoding: chunked", body=chunked(b"ok"))], reader)
    assert (seen.body, seen.complete, seen.reusable) == (b"ok", True, True)


def test_a_body_of_known_length_may_pass_the_parser_by() -> None:
    reader = AnswerReader()
    found = reader.begin(head_request=False)
    reader.feed(answer(b"Content-Length: 8", body=b"abc"))
    assert found.bytes_left == 5
    reader.take_body(b"defgh")
    assert (found.take_body(), found.complete) == (b"abcdefgh", True)
    assert read([answer(b"Content-Length: 2", body=b"ok")], reader).body == b"ok"


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    seen = read([answer(body=b"abc"), b"def"])
    assert (seen.body, seen.until_close, seen.complete, seen.reusable) == (b"abcdef", True, False, False)


def test_interim_answers_come_first() -> None:
    seen = read(
        [answer(status=b"100 Continue") + answer(b"Link: a", status=b"103 Early Hints") + answer(b"Content-Length: 0")]
    )
    assert (seen.interim, seen.status) == ([(100, []), (103, [(b"link", b"a")])], 200)


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Transfer-Encoding: chunked", chunked(b"leaked", trailers=b"X-Leaked: 1\r\n")),
        (b"Transfer-Encoding: gzip", b"leaked"),
        (b"Content-Length: 4", b"\r\n\r\n"),
        (b"Content-Length: 13", b"HTTP/1.1 \r\n\r\n"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_nothing_behind_an_interim_answer_is_read_as_its_body(framing: bytes, body: bytes, piece_bytes: int) -> None:
    good = answer(b"Content-Length: 2", body=b"ok")
    for status in (b"100 Continue", b"102 Processing", b"103 Early Hints", b"104 Odd", b"199 Odd"):
        hint = answer(framing, status=status)
        for data in (hint + good, hint + body + good):
            seen = read([data[i : i + piece_bytes] for i in range(0, len(data), piece_bytes)])
            assert seen.failed or (seen.body, seen.headers) == (b"ok", [(b"content-length", b"2")])


def test_an_interim_answer_without_end_is_refused() -> None:
    hint = answer(b"Transfer-Encoding: chunked", status=b"199 Odd")
    assert read([hint, *[b"ea60\r\n" + b"b" * 60000 + b"\r\n"] * 3]).failed


def test_an_interim_answer_has_as_few_headers_as_another() -> None:
    lines = [b"X-%d: 1" % number for number in range(MAX_HEADERS)]
    assert not read([answer(*lines, status=b"103 Early Hints") + answer(b"Content-Length: 0")]).failed
    assert read([answer(*lines, b"One-More: 1", status=b"103 Early Hints") + answer(b"Content-Length: 0")]).failed


@pytest.mark.parametrize("protocol", [b"RTSP", b"ICE"])
@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_an_answer_of_another_protocol_is_refused_however_it_is_cut(protocol: bytes, piece_bytes: int) -> None:
    good = answer(b"Content-Length: 0")
    hint = answer(status=b"103 Early Hints")

    def fails(data: bytes) -> bool:
        return read([data[i : i + piece_bytes] for i in range(0, len(data), piece_bytes)]).failed

    assert not fails(b"\r\n" + hint * 2 + b"\r\n" + good)
    other, other_hint = (data.replace(b"HTTP/1.1", protocol + b"/1.0") for data in (good, hint))
    for data in (other, hint + other, hint * 2 + other, other_hint + good, hint + other_hint + good):
        assert fails(data)


def test_a_head_in_pieces_leaves_nothing_for_the_answer_behind_it() -> None:
    reader = AnswerReader()
    assert read([b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.", b"1 200 OK\r\nContent-Length: 0\r\n\r\n"], reader).complete
    assert read([b"RTSP/1.1 ", b"200 OK\r\nContent-Length: 0\r\n\r\n"], reader).failed


@pytest.mark.parametrize(
    ("line", "reusable"),
    [
        (b"Connection: close", False),
        (b"connection: x, CLOSE", False),
        (b"Proxy-Connection: close", False),
        (b"Connection: X-A", True),
        (b"X-Connection: close", True),
    ],
)
def test_a_connection_is_used_again_only_if_its_parser_reads_on(line: bytes, *, reusable: bool) -> None:
    reader = AnswerReader()
    data = answer(b"Transfer-Encoding: chunked", body=chunked(b"a", trailers=line + b"\r\nX-A: 1\r\n"))
    assert read([data], reader).reusable is reusable
    assert read([answer(b"Content-Length: 0")], reader).failed is not reusable


def test_of_trailers_only_those_go_on_that_may() -> None:
    trailers = b"X-Sum: 1\r\nSet-Cookie: a=b\r\nX_Final_Host: b\r\nServer-Timing: c\r\n"
    seen = read([answer(b"Transfer-Encoding: chunked", body=chunked(b"a", trailers=trailers))])
    assert seen.trailers == [(b"x-sum", b"1"), (b"server-timing", b"c")]


def test_trailer_count_is_bounded() -> None:
    lines = [b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS + 1)]
    head = answer(b"Transfer-Encoding: chunked", body=b"0\r\n")
    assert not read([head, b"".join(lines[1:]) + b"\r\n"]).failed
    assert read([head, b"".join(lines) + b"\r\n"]).failed
    assert read([head, *lines, b"\r\n"]).failed


def test_chunked_is_said_once() -> None:
    assert read([answer(*[b"Transfer-Encoding: chunked"] * 2, body=chunked(b"a"))]).failed


def test_the_protocol_that_426_requires_goes_on() -> None:
    lines = (b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 0")
    assert (b"upgrade", b"websocket") in read([answer(*lines, status=b"426 Upgrade Required")]).headers
    assert (b"upgrade", b"websocket") not in read([answer(*lines)]).headers


def test_a_length_has_as_few_digits_as_that_of_a_request() -> None:
    assert read([answer(b"Content-Length: " + b"2".zfill(20), body=b"ok")]).complete
    assert read([answer(b"Content-Length: " + b"2".zfill(21), body=b"ok")]).failed


def test_header_count_is_bounded() -> None:
    lines = [b"X-%d: 1" % number for number in range(MAX_HEADERS - 1)]
    assert not read([answer(*lines, b"Content-Length: 0")]).failed
    assert read([answer(*lines, b"Content-Length: 0", b"One-More: 1")]).failed


@pytest.mark.parametrize("piece_bytes", [1000, 40000, 65536])
def test_head_length_is_bounded_however_it_is_cut(piece_bytes: int) -> None:
    def head(size: int) -> list[bytes]:
        whole = answer(b"Content-Length: 0", *[b"X-%02d: " % number + b"a" * (size // 50 - 8) for number in range(50)])
        return [whole[start : start + piece_bytes] for start in range(0, len(whole), piece_bytes)]

    assert not read(head(MAX_HEAD_BYTES - 1000)).failed
    assert read(head(MAX_HEAD_BYTES + 1000)).failed


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: " + b"a" * 4000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 4000),
        (answer(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n"), b"X: " + b"a" * 4000 + b"\r\n"),
        (answer(b"Transfer-Encoding: chunked", body=b"1;"), b"a" * 4000),
        (b"", answer(b"Link: a", status=b"103 Early Hints")),
    ],
    ids=["head", "header", "trailers", "chunk extension", "interim answers"],
)
def test_what_comes_without_end_is_refused(begin: bytes, endless: bytes) -> None:
    pieces = [begin, *[endless] * (2 * MAX_HEAD_BYTES // len(endless))] if begin else [endless] * 2000
    assert read(pieces).failed


def test_a_long_chunked_body_with_trailers_is_not_taken_for_a_long_head() -> None:
    chunk = b"ea60\r\n" + b"b" * 60000 + b"\r\n"
    pieces = [answer(b"Transfer-Encoding: chunked"), *[chunk] * 3, b"0\r\n", b"X: " + b"a" * 30000 + b"\r\n\r\n"]
    seen = read(pieces)
    assert (seen.failed, len(seen.body), len(seen.trailers), seen.complete) == (False, 180000, 1, True)


# The same bytes in any cuts give the same answer.

lines = st.lists(
    st.sampled_from(
        [
            b"X: y",
            b"x-start: 1",
            b"X: z",
            b"Empty:",
            b"Connection: close",
            b"Connection: X-Start",
            b"Connection: keep-alive",
            b"Keep-Alive: 5",
            b"X-Final-Host: a:1",
            b"X-Forwarded-For: b",
            b"Upgrade: h2c",
        ]
    ),
    max_size=5,
)
bodies = st.binary(max_size=30)
interim = st.lists(
    st.sampled_from([answer(status=b"100 Continue"), answer(b"Link: a", status=b"103 Early Hints")]), max_size=2
)
finals = st.one_of(
    st.builds(lambda more, body: answer(b"Content-Length: %d" % len(body), *more, body=body), lines, bodies),
    st.builds(
        lambda more, pieces, trailers: answer(
            b"Transfer-Encoding: chunked",
            *more,
            body=chunked(
                *[piece for piece in pieces if piece], trailers=b"".join(b"%b\r\n" % line for line in trailers)
            ),
        ),
        lines,
        st.lists(bodies, max_size=3),
        st.lists(st.sampled_from([b"X-Sum: 1", b"Y:", b"X-Final-Host: a"]), max_size=2),
    ),
    st.builds(lambda more, body: answer(*more, body=body), lines, bodies),
    st.builds(lambda more: answer(*more, status=b"204 No Content"), lines),
    st.builds(lambda more: answer(*more, b"Content-Length: 9", status=b"304 Not Modified"), lines),
    st.builds(
        lambda body: answer(b"Connection: upgrade", b"Upgrade: x", status=b"101 Switching Protocols", body=body), bodies
    ),
    st.sampled_from(
        [
            answer(b"X : y"),
            answer(b"Transfer-Encoding: gzip"),
            answer(status=b"099 Low"),
            answer(b"Content-Length: 1", b"Content-Length: 1", body=b"a"),
            answer(b"Transfer-Encoding: chunked", body=b"1\r\nab\r\n"),
            b"nonsense",
        ]
    ),
)
behind = st.sampled_from([b"", b"", b"junk", answer(b"Content-Length: 1", body=b"a")])


@given(before=interim, final=finals, rest=behind, data=st.data(), head_request=st.booleans())
def test_the_same_bytes_in_any_cuts_are_the_same_answer(
    *, before: list[bytes], final: bytes, rest: bytes, data: st.DataObject, head_request: bool
) -> None:
    if head_request:  # bytes behind an answer to HEAD are looked for by the pool, not by the parser
        final, rest = final.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", b""
    stream = b"".join(before) + final + rest
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = read([stream], head_request=head_request)
    assert read(pieces, head_request=head_request) == whole
    assert read((stream[index : index + 1] for index in range(len(stream))), head_request=head_request) == whole


USUAL = answer(b"Server: a/1.0 (b)", b"x-a:b", b"Connection: keep-alive", b"Content-Length: 2", body=b"ok")


def test_a_usual_answer_passes_the_parser_by_and_one_with_an_empty_header_does_not() -> None:
    for stream, is_usual in ((USUAL, True), (USUAL.replace(b"x-a:b", b"x-a:"), False)):
        reader = AnswerReader()
        assert read([stream], reader).complete
        assert reader._is_parsing is not is_usual  # noqa: SLF001 - it shows in nothing but the time that it takes
        assert (reader._parser is None) is is_usual  # noqa: SLF001 - nor does this, but in memory


def test_a_parser_lasts_as_long_as_its_connection_and_holds_no_answer_between_two() -> None:
    reader = AnswerReader()
    chunked = answer(b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n")
    assert read([chunked], reader).complete
    parser = reader._parser  # noqa: SLF001 - as above
    assert parser is not None
    reader.end()
    assert parser._answer is NO_ANSWER  # noqa: SLF001 - as above
    assert read([chunked], reader).complete
    assert reader._parser is parser  # noqa: SLF001 - as above


@pytest.mark.parametrize("position", range(len(USUAL)))
def test_an_answer_with_one_byte_changed_is_read_whole_as_it_is_read_in_two(position: int) -> None:
    for byte in range(256):
        stream = USUAL[:position] + bytes([byte]) + USUAL[position + 1 :]
        # A head that comes in two pieces goes by the parser.
        assert read([stream]) == read([stream[:3], stream[3:]]), stream


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 2", b"Content-Length: 2"),
        (b"Content-Length: 2", b"content-length: 3"),
        (b"Content-Length: +2",),
        (b"Content-Length: 2, 2",),
        (b"Content-Length: 2 ",),
        (b"Content-Length: 002",),
        (b"Content-Length: 1000000000000000000002",),
        (b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 2", b"Connection: x-a", b"X-A: 1"),
        (b"Content-Length: 2", b"Connection: Close"),
        (b"Content-Length: 2", b"Connection: keep-alive", b"Connection: close"),
        (b"Content-Length: 2", b"Connection: close", b"Connection: keep-alive"),
        (b"Content-Length: 2", b"Connection: close, keep-alive"),
        (b"Content-Length: 2", b"X-Final-Host: a", b"X-Forwarded-For: b", b"X-Final-Host: c"),
        (b"Content-Length: 2", b"Upgrade: h2c", b"Keep-Alive: timeout=5"),
        (b"Content-Length: 2", b" folded"),
        (b"Content-Length: 2", b"X-A: \xff\x80"),
        (b"Content-Length: 2", b"X-A:\t tabs \t"),
        (b"Content-Length: 2", *(b"X-A: 1" for _ in range(MAX_HEADERS - 1))),
        (b"Content-Length: 2", *(b"X-A: 1" for _ in range(MAX_HEADERS))),
        (b"Content-Length: 2", b""),
    ],
)
@pytest.mark.parametrize("status", [b"200 OK", b"200", b"200 ", b"404 \xe4", b"204 No Content", b"999 X", b"600 X"])
def test_a_head_that_comes_whole_says_what_it_says_in_two_pieces(lines: tuple[bytes, ...], status: bytes) -> None:
    for body in (b"ok", b"", b"o", b"ok" + answer(b"Content-Length: 0")):
        stream = answer(*lines, status=status, body=body)
        assert read([stream]) == read([stream[:3], stream[3:]])


@pytest.mark.parametrize("cut", [len(USUAL) - 2, len(USUAL) - 1, len(USUAL)])
@pytest.mark.parametrize("surplus", [b"\0", b"junk", answer(b"Content-Length: 0")])
def test_bytes_behind_a_usual_answer_belong_to_no_answer_and_end_its_connection(cut: int, surplus: bytes) -> None:
    stream = USUAL + surplus
    seen = read([stream[:cut], stream[cut:]])
    assert (seen.status, seen.body, seen.complete, seen.reusable) == (200, b"ok", True, False)


def test_usual_answers_and_others_follow_each_other_on_one_connection() -> None:
    reader = AnswerReader()
    kinds = [
        (USUAL, b"ok"),
        (answer(b"Transfer-Encoding: chunked", body=chunked(b"abc")), b"abc"),
        (answer(status=b"204 No Content"), b""),
        (answer(b"Content-Length: 0"), b""),
        (answer(status=b"100 Continue") + USUAL, b"ok"),
    ]
    for stream, body in [*kinds, *kinds[::-1], *kinds[::2], *kinds[1::2]]:
        seen = read([stream], reader)
        assert (seen.body, seen.complete, seen.reusable) == (body, True, True)
        seen = read([stream[:-1], stream[-1:]], reader)
        assert (seen.body, seen.complete, seen.reusable) == (body, True, True)


@given(stream=st.binary(max_size=200), prefix=st.sampled_from([b"", b"HTTP/1.1 ", answer()[:-2], answer()]))
def test_no_bytes_make_it_raise_anything_else(stream: bytes, prefix: bytes) -> None:
    read([prefix + stream, stream])


def test_what_ended_with_the_answer_before_does_not_lengthen_a_head() -> None:
    reader = AnswerReader()
    assert read([answer(b"Content-Length: 2", body=b"ok")], reader).complete
    lines = b"X: " + b"x" * 1000 + b"\r\n"
    begin = b"HTTP/1.1 200 OK\r\n" + lines * 60
    assert read([begin, lines * 60 + b"\r\n"], reader).failed


def test_a_line_in_the_middle_of_a_head_is_not_its_version() -> None:
    reader = AnswerReader()
    assert read([answer(b"Content-Length: 2", body=b"ok")], reader).complete
    pieces = [b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nX: ", b"HTTP/1.1 \r\n\r\n0\r\n\r\n"]
    assert read(pieces, reader).failed


@pytest.mark.parametrize(
    "message",
    [
        answer(b"Content-Length: 2", b"X-A: b", body=b"ok"),
        answer(b"Transfer-Encoding: chunked", b"X-A: b", body=chunked(b"ok", trailers=b"X-B: c\r\n")),
    ],
)
def test_an_answer_that_has_been_used_is_let_go_of_and_leaves_nothing_behind(message: bytes) -> None:
    reader = AnswerReader()
    first = reader.begin(head_request=False)
    reader.feed(message)
    assert first.complete
    reader.end()
    assert reader.answer is NO_ANSWER
    assert reader.begin(head_request=False) is not first
    untouched = Answer()
    for name in (
        "lines",
        "parsed",
        "special",
        "final_hosts",
        "forwarded_for",
        "trailers",
        "body",
        "status",
        "complete",
    ):
        assert getattr(NO_ANSWER, name) == getattr(reader.answer, name) == getattr(untouched, name)

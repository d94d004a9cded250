"""Response heads, byte for byte: no sockets, no tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from golb.server import responses
from golb.server.responses import Framing, interim_head, response_head, written_head
from golb.upstream.answer_reader import AnswerReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def head_of(
    status: int = 200,
    headers: Iterable[object] = (),
    *,
    head_request: bool = False,
    http_1_0: bool = False,
    keep_alive: bool = True,
) -> tuple[bytes, Framing, int]:
    return response_head(status, headers, head_request=head_request, http_1_0=http_1_0, keep_alive=keep_alive)


def test_names_leave_in_canonical_case_and_in_their_order() -> None:
    headers = [(b"x-start", b"1"), (b"ETAG", b"2"), (b"x-start", b"3"), (b"content-length", b"0")]
    head, framing, length = head_of(headers=headers)
    assert head == b"HTTP/1.1 200 OK\r\nX-Start: 1\r\nEtag: 2\r\nX-Start: 3\r\nContent-Length: 0\r\n\r\n"
    assert (framing, length) == (Framing.LENGTH, 0)


@pytest.mark.parametrize(
    ("status", "line"),
    [(404, b"HTTP/1.1 404 Not Found"), (299, b"HTTP/1.1 299 "), (999, b"HTTP/1.1 999 ")],
)
def test_every_status_has_its_line(status: int, line: bytes) -> None:
    assert head_of(status)[0].startswith(line + b"\r\n")


@pytest.mark.parametrize("status", [0, 99, 1000, -200])
def test_what_is_no_status_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="three digits"):
        head_of(status)


@pytest.mark.parametrize(
    "name",
    [b"connection", b"Keep-Alive", b"proxy-authenticate", b"te", b"transfer-encoding", b"upgrade", b"Proxy-Connection"],
)
def test_what_belongs_to_one_hop_stays_on_it(name: bytes) -> None:
    assert head_of(headers=[(name, b"x"), (b"content-length", b"0")])[0] == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("http_1_0", "keep_alive", "length", "lines", "framing"),
    [
        (False, True, True, b"", Framing.LENGTH),
        (False, False, True, b"Connection: close\r\n", Framing.LENGTH),
        (False, True, False, b"Transfer-Encoding: chunked\r\n", Framing.CHUNKED),
        (False, False, False, b"Transfer-Encoding: chunked\r\nConnection: close\r\n", Framing.CHUNKED),
        (True, True, True, b"Connection: keep-alive\r\n", Framing.LENGTH),
        (True, False, True, b"Connection: close\r\n", Framing.LENGTH),
        (True, True, False, b"Connection: close\r\n", Framing.CLOSE),
        (True, False, False, b"Connection: close\r\n", Framing.CLOSE),
    ],
)
def test_the_framing_follows_from_version_and_length(
    *, http_1_0: bool, keep_alive: bool, length: bool, lines: bytes, framing: Framing
) -> None:
    headers = [(b"content-length", b"7")] if length else []
    head, found, bytes_left = head_of(headers=headers, http_1_0=http_1_0, keep_alive=keep_alive)
    assert head.removeprefix(b"HTTP/1.1 200 OK\r\n") == (b"Content-Length: 7\r\n" if length else b"") + lines + b"\r\n"
    assert (found, bytes_left) == (framing, 7 if length else -1)


@pytest.mark.parametrize(("status", "head_request"), [(200, True), (204, False), (304, False)])
def test_some_responses_have_no_body(*, status: int, head_request: bool) -> None:
    head, framing, _ = head_of(status, head_request=head_request)
    assert framing is Framing.NONE
    assert b"Transfer-Encoding" not in head


def test_a_length_is_kept_where_it_tells_something() -> None:
    headers = [(b"content-length", b"7")]
    assert b"Content-Length: 7" in head_of(304, headers)[0]
    assert b"Content-Length: 7" in head_of(200, headers, head_request=True)[0]
    assert b"Content-Length" not in head_of(204, headers)[0]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("pair", [tuple, list])
def test_a_value_is_whatever_holds_bytes(
    kind: Callable[[bytes], object], pair: Callable[[tuple[object, object]], object]
) -> None:
    names = (b"x-a", b"content-length", b"connection", b"x-forwarded-host-eb-a")
    headers = [pair((name, kind(b"7"))) for name in names]
    for _ in range(2):
        head, _, length = head_of(headers=headers)
        assert head == b"HTTP/1.1 200 OK\r\nX-A: 7\r\nContent-Length: 7\r\nX-Forwarded-Host-Eb-A: 7\r\n\r\n"
        assert length == 7


@pytest.mark.parametrize("name", [b"x-a", b"content-length", b"connection", b"x-forwarded-host-eb-a"])
@pytest.mark.parametrize(("value", "error"), [(("7",), TypeError), ((7,), TypeError), ((b"7", b"8"), ValueError)])
def test_what_is_no_header_is_refused(name: bytes, value: tuple[object, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        head_of(headers=[(name, *value)])


def test_a_length_said_twice_counts_once_and_two_lengths_are_refused() -> None:
    head, _, length = head_of(headers=[(b"content-length", b"7"), (b"Content-Length", b"07")])
    assert (head, length) == (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 7)
    with pytest.raises(ValueError, match="two lengths"):
        head_of(headers=[(b"content-length", b"7"), (b"content-length", b"8")])
    with pytest.raises(ValueError, match="-7 is no length"):
        head_of(headers=[(b"content-length", b"-7")])


def test_a_length_is_written_as_a_number_however_it_was_said() -> None:
    for value in (b" 7\t", b"007", b"7\n"):
        head, _, length = head_of(headers=[(b"Content-Length", value)])
        assert (head, length) == (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 7)


def test_lengths_take_no_room_in_the_memory_of_lines() -> None:
    head_of(headers=[(b"content-length", b"70"), (b"x-remembered", b"70")])
    assert [name for name, value in responses._LINES if value == b"70"] == [b"x-remembered"]  # noqa: SLF001 - it shows in memory alone


def test_a_mark_is_written_each_time_and_never_remembered() -> None:
    for now in (b"1.5", b"2.5"):
        head, _, _ = head_of(204, [(b"x-forwarded-host-eb-a", now)])
        assert head == b"HTTP/1.1 204 No Content\r\nX-Forwarded-Host-Eb-A: %b\r\n\r\n" % now
    with pytest.raises(ValueError, match="line break"):
        head_of(204, [(b"x-forwarded-host-eb-a", b"1\r\nX: 2")])
    assert not any(b"forwarded-host" in name for name, _ in responses._LINES)  # noqa: SLF001 - it shows in memory alone


def test_a_switch_of_protocols_names_the_new_one() -> None:
    head = interim_head(101, [(b"upgrade", b"websocket"), (b"connection", b"x"), (b"sec-websocket-accept", b"y")])
    assert head == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Accept: y\r\n\r\n"
    )


@pytest.mark.parametrize("keep_alive", [True, False])
def test_426_names_the_protocol_that_it_requires(*, keep_alive: bool) -> None:
    headers = [(b"Upgrade", b"websocket"), (b"connection", b"x"), (b"content-length", b"0")]
    close = b"" if keep_alive else b"Connection: close\r\n"
    assert head_of(426, headers, keep_alive=keep_alive)[0] == (
        b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n"
        + close
        + b"\r\n"
    )


def test_an_informational_response_has_no_framing() -> None:
    head = interim_head(103, [(b"link", b"</a>"), (b"content-length", b"7"), (b"upgrade", b"x")])
    assert head == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\nb", b"a\rb"])
def test_no_value_adds_a_line(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        head_of(headers=[(b"x", value)])
    with pytest.raises(ValueError, match="line break"):
        interim_head(103, [(b"x", value)])


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"\xc3\xa9"])
def test_what_is_no_name_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="no header name"):
        head_of(headers=[(name, b"x")])


@pytest.mark.parametrize("head_request", [False, True])
@pytest.mark.parametrize("http_1_0", [False, True])
@pytest.mark.parametrize("keep_alive", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 0002",
        b"SERVER:a\r\nX-a: b: c\r\nx-A: d\r\nContent-Length: 2\r\nETag: \xff",
        b"Set-Cookie: a=b\r\nContent-Length: 2\r\nconnection: Keep-Alive\r\nX-Forwarded-Host-Other: 1.5\r\nX!: 0",
    ],
)
def test_lines_of_an_answer_make_the_head_that_its_headers_make(
    lines: bytes, *, head_request: bool, http_1_0: bool, keep_alive: bool
) -> None:
    reader = AnswerReader()
    answer = reader.begin(head_request=False)
    reader.feed(b"HTTP/1.1 404 Nobody\r\n" + lines + b"\r\n\r\nok")
    assert answer.lines
    assert written_head(
        answer.status,
        [line.written for line in answer.lines],
        answer.lines[-1].length,
        head_request=head_request,
        http_1_0=http_1_0,
        keep_alive=keep_alive,
    ) == head_of(404, answer.headers, head_request=head_request, http_1_0=http_1_0, keep_alive=keep_alive)

"""What a client may send, by `RequestReader` alone: no sockets, no tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from golb.server import requests
from golb.server.requests import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, RequestReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from golb.headers import Headers
    from golb.server.requests import Request


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
    refusal: int | None

    @classmethod
    def of(cls, request: Request) -> Seen:
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
            request.refusal.status if request.refusal is not None else None,
        )


def read(*pieces: bytes) -> RequestReader:
    reader = RequestReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def read_one(*pieces: bytes) -> Seen:
    (request,) = read(*pieces).requests
    return Seen.of(request)


def refusals(*pieces: bytes) -> list[int | None]:
    return [Seen.of(request).refusal for request in read(*pieces).requests]


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"HTTP/1.1", host: bytes = b"a") -> bytes:
    return request(b"GET", *lines, target=target, version=version, host=host)


def request(
    method: bytes,
    *lines: bytes,
    target: bytes = b"/",
    version: bytes = b"HTTP/1.1",
    host: bytes = b"a",
    body: bytes = b"",
) -> bytes:
    head = b"\r\n".join([b" ".join([method, target, version]), b"Host: " + host, *lines])
    return head + b"\r\n\r\n" + body


def test_a_request_is_taken_apart() -> None:
    seen = read_one(get(b"X-Twice: 1", b"x-twice:2", b"Empty:", target=b"/a%20b?c=%C3%A9&d"))
    assert seen == Seen(
        method=b"GET",
        target=b"/a%20b?c=%C3%A9&d",
        headers=[(b"host", b"a"), (b"x-twice", b"1"), (b"x-twice", b"2"), (b"empty", b"")],
        body=b"",
        trailers=[],
        complete=True,
        keep_alive=True,
        upgrade=False,
        expects_continue=False,
        refusal=None,
    )


@pytest.mark.parametrize(
    "data",
    [
        *(request(method) for method in (b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT")),
        *(get(target=target) for target in (b"/", b"/a?b=/%C3&!~", b"//a/../?", b'/"<>\\^`{|}[]', b"*", b"http://a/b")),
        *(get(target=target) for target in (b"/a#b", b"/\xc3\xa4", b"/\x01", b"/\x7f", b"/a b", b"", b"a")),
        *(get(host=host) for host in (b"a:80", b"[::1]:80", b"", b"a b", b"a@b", b"a/b")),
        *(get(version=version) for version in (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"RTSP/1.0")),
        *(request(method) for method in (b"CONNECT", b"TRACE", b"")),
        *(
            get(b"Connection: " + option)
            for option in (b"keep-alive", b"Keep-Alive", b"close", b"x, close", b"Upgrade")
        ),
        get(b"Connection: keep-alive", b"Connection: close"),
        get(b"Proxy-Connection: close"),
        get(b"Connection: upgrade", b"Upgrade: websocket"),
        get(b"Upgrade: websocket"),
        get(b"TE: trailers", b"Keep-Alive: 1", b"Trailer: x", b"Cookie: a=b", b"Authorization: Basic x"),
        get(b"X:a", b"x: b\tc\xff", b"X: d "),
        get(b"X:"),
        get(b"X : a"),
        get(b"X: a", b" b"),
        get(b"X: a\nY: b"),
        get(b"X: a\rY: b"),
        get(b"X: a\0"),
        get(b"Content-Length: 0"),
        request(b"POST", b"Content-Length: 2", body=b"ab"),
        request(b"POST", b"Content-Length: 4", body=b"\r\n\r\n"),
        request(b"POST", b"Expect: 100-continue", b"Content-Length: 0"),
        request(b"POST", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        get(b"Host: a"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"\r\n" + get(),
        b"\n" + get(),
        b"\nHost: a\r\n\r\n",
        b"\r\nHost: a\r\n\r\n",
        get(*[b"X: a"] * (MAX_HEADERS - 1)),
        get(*[b"X: a"] * MAX_HEADERS),
    ],
    ids=repr,
)
def test_a_request_that_comes_at_once_is_read_as_one_that_comes_byte_by_byte(data: bytes) -> None:
    for before in (b"", get(), request(b"PUT", target=b"/a?b")):
        at_once, in_pieces = (
            [Seen.of(request) for request in read(*pieces).requests]
            for pieces in ((before, data), (before, *(bytes([byte]) for byte in data)))
        )
        assert at_once == in_pieces


def test_any_byte_in_a_target_is_judged_alike_however_the_request_comes() -> None:
    for byte in range(256):
        data = get(target=b"/a%cb" % byte)
        assert [Seen.of(one) for one in read(data).requests] == [
            Seen.of(one) for one in read(*data.partition(b"/")).requests
        ]


def test_nothing_is_read_behind_the_last_request_of_a_connection() -> None:
    assert len(read(get(b"Connection: close"), get()).requests) == 1
    assert len(read(get(version=b"HTTP/1.0"), get()).requests) == 1
    assert len(read(get(b"Connection: keep-alive", version=b"HTTP/1.0"), get()).requests) == 2


def test_a_usual_request_is_read_by_its_lines_and_one_with_an_empty_header_is_not() -> None:
    read(get(b"X-Usual: 1"), get(b"X-Unusual: 1", b"X:"), request(b"POST", b"X-Long: 1", body=b"x"))
    # That shows in nothing but the time that it takes.
    assert [line for line in requests._LINES if b"usual" in line.lower() or b"Long" in line] == [  # noqa: SLF001 - as above
        b"X-Usual: 1\r",
        b"X-Unusual: 1\r",
    ]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\nHost: a\r\n\r\n", id="bare LF behind the request line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\r\n", id="bare LF behind a header"),
        pytest.param(get(b"X: a\rb"), id="bare CR in a value"),
        pytest.param(get(b"X: a", b" b"), id="obs-fold"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", id="space in front of the first header"),
        pytest.param(get(b"X : a"), id="space before the colon"),
        pytest.param(get(b"X\x00: a"), id="NUL in a name"),
        pytest.param(get(b"X: a\x00b"), id="NUL in a value"),
        pytest.param(get(b"X: a\x01b"), id="control byte in a value"),
        pytest.param(get(b"X(: a"), id="a name that is no token"),
        pytest.param(get(b": a"), id="no name"),
        pytest.param(get(b"X"), id="no colon"),
        pytest.param(get(b"Content-Length: 1", b"Content-Length: 1"), id="two lengths"),
        pytest.param(get(b"Content-Length: 1, 1"), id="a list of lengths"),
        pytest.param(get(b"Content-Length: +1"), id="sign in a length"),
        pytest.param(get(b"Content-Length: -1"), id="negative length"),
        pytest.param(get(b"Content-Length: 0x1"), id="hex length"),
        pytest.param(get(b"Content-Length: "), id="empty length"),
        pytest.param(get(b"Content-Length: 99999999999999999999"), id="length overflows"),
        pytest.param(get(b"Content-Length: 1", b"Transfer-Encoding: chunked"), id="length, then coding"),
        pytest.param(get(b"Transfer-Encoding: chunked", b"Content-Length: 1"), id="coding, then length"),
        pytest.param(get(b"Transfer-Encoding: chunked, gzip"), id="chunked is not last"),
        pytest.param(get(b"Transfer-Encoding: chunked, chunked"), id="chunked twice"),
        pytest.param(get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), id="chunked on two lines"),
        pytest.param(get(b"Transfer-Encoding:"), id="empty coding"),
        pytest.param(get(b"Transfer-Encoding: chunked", version=b"HTTP/1.0"), id="coding in HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(get(b"Host: a"), id="two Hosts"),
        pytest.param(get(b"Host: a", version=b"HTTP/1.0"), id="two Hosts in HTTP/1.0"),
        pytest.param(get(host=b"a b"), id="space in Host"),
        pytest.param(get(host=b"a/b"), id="path in Host"),
        pytest.param(get(host=b"user@a"), id="user in Host"),
        pytest.param(get(host=b"a, b"), id="list in Host"),
        pytest.param(get(host=b"a:b"), id="port that is none"),
        pytest.param(get(host=b"[::1"), id="open bracket in Host"),
        pytest.param(get(target=b"/a#b"), id="fragment"),
        pytest.param(get(target=b"http://h/a#b"), id="fragment in absolute form"),
        pytest.param(get(target=b"http://user@h/a"), id="user in absolute form"),
        pytest.param(get(target=b"http:///a"), id="absolute form without a host"),
        pytest.param(get(target=b"ftp://h/a"), id="another scheme"),
        pytest.param(get(target=b"a"), id="relative path"),
        pytest.param(get(target=b"*"), id="asterisk without OPTIONS"),
        pytest.param(get(target=b"/\xc3\xa9"), id="target beyond ASCII"),
        pytest.param(get(target=b"/a\x01"), id="control byte in a target"),
        pytest.param(get(target=b"/a b"), id="space in a target"),
        pytest.param(get(version=b"HTTP/1.x"), id="version that is no number"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS on a plain port"),
    ],
)
def test_what_is_malformed_gets_400(data: bytes) -> None:
    assert refusals(data) == [400]


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/3.0", b"HTTP/0.9"])
def test_other_versions_get_505(version: bytes) -> None:
    assert refusals(get(version=version)) == [505]


def test_http_2_by_prior_knowledge_gets_505() -> None:
    assert refusals(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == [505]


def test_a_request_of_http_0_9_gets_505() -> None:
    assert refusals(b"GET /\r\n\r\n") == [505]


@pytest.mark.parametrize("method", [b"FOO", b"get", b"BREW", b"CONNECT"])
def test_methods_that_are_not_served_get_501(method: bytes) -> None:
    assert refusals(request(method, target=b"a:80" if method == b"CONNECT" else b"/")) == [501]


@pytest.mark.parametrize("method", [b"DESCRIBE", b"PLAY", b"SET_PARAMETER", b"FLUSH"])
@pytest.mark.parametrize("version", [b"RTSP/1.0", b"RTSP/1.1"])
def test_the_methods_of_rtsp_get_501_in_rtsp_too(method: bytes, version: bytes) -> None:
    assert refusals(request(method, version=version)) == [501]


def test_a_transfer_coding_that_is_not_understood_gets_501() -> None:
    assert refusals(request(b"POST", b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")) == [501]
    assert refusals(request(b"POST", b"Transfer-Encoding: gzip", body=b"0\r\n\r\n")) == [501]


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND", b"PURGE"])
def test_other_methods_are_served(method: bytes) -> None:
    assert read_one(request(method)).refusal is None


@pytest.mark.parametrize(
    "host", [b"", b"a", b"a:80", b"a:", b"10.0.0.1:8080", b"[::1]", b"[fe80::1]:80", b"a_b.%C3%A9"]
)
def test_hosts_that_can_be_are_taken(host: bytes) -> None:
    assert read_one(get(host=host)).refusal is None


def test_http_1_0_needs_no_host() -> None:
    seen = read_one(b"GET / HTTP/1.0\r\n\r\n")
    assert (seen.refusal, seen.keep_alive) == (None, False)


@pytest.mark.parametrize(
    ("target", "origin"),
    [(b"http://h/a?b", b"/a?b"), (b"HTTP://h:80", b"/"), (b"https://[::1]:1?b", b"/?b"), (b"http://h//a", b"//a")],
)
def test_the_absolute_form_becomes_the_origin_form(target: bytes, origin: bytes) -> None:
    seen = read_one(get(target=target))
    assert (seen.refusal, seen.target) == (None, origin)


@pytest.mark.parametrize("target", [b"*", b"http://golb", b"http://golb:8080"])
def test_a_request_about_the_server_as_a_whole_is_taken(target: bytes) -> None:
    seen = read_one(request(b"OPTIONS", target=target))
    assert (seen.refusal, seen.target) == (None, b"*")


def test_header_count_is_bounded() -> None:
    lines = [b"X-%d: 1" % number for number in range(MAX_HEADERS - 1)]
    assert refusals(get(*lines)) == [None]
    assert refusals(get(*lines, b"One-More: 1")) == [431]


def test_target_length_is_bounded() -> None:
    target = b"/" + b"a" * (MAX_TARGET_BYTES - 1)
    assert refusals(get(target=target)) == [None]
    assert refusals(get(target=target + b"a")) == [414]


def test_a_target_that_never_ends_gets_414() -> None:
    pieces = [b"GET /", *[b"a" * 16384] * 5]
    assert refusals(*pieces) == [414]


@pytest.mark.parametrize("piece_bytes", [1000, 40000, 65536])
def test_head_length_is_bounded_however_it_is_cut(piece_bytes: int) -> None:
    def head(size: int) -> list[bytes]:
        whole = get(*[b"X-%02d: " % number + b"a" * (size // 50 - 8) for number in range(50)])
        return [whole[start : start + piece_bytes] for start in range(0, len(whole), piece_bytes)]

    assert refusals(*head(MAX_HEAD_BYTES - 1000)) == [None]
    assert refusals(*head(MAX_HEAD_BYTES + 1000)) == [431]


def test_a_header_that_never_ends_gets_431() -> None:
    reader = read(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    fed = 0
    while not reader.requests:
        reader.feed(b"a" * 4096)
        fed += 4096
        assert fed <= 2 * MAX_HEAD_BYTES
    assert Seen.of(reader.requests[0]).refusal == 431


def test_what_came_before_a_head_does_not_count_for_it() -> None:
    before = request(b"POST", b"Content-Length: 60000", body=b"b" * 60000)
    half = get(b"X: " + b"a" * 20000)
    assert refusals(before + half[:100], half[100:10000], half[10000:]) == [None, None]
    cut = request(b"POST", b"Content-Length: 0")
    assert refusals(cut[:10], cut[10:] + half[:15000], half[15000:]) == [None, None]


@pytest.mark.parametrize("endless", [b"X: " + b"a" * 4000 + b"\r\n", b"a" * 4000], ids=["lines", "one line"])
def test_trailers_are_bounded(endless: bytes) -> None:
    reader = read(request(b"POST", b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\nY: "))
    (found,) = reader.requests
    fed = 0
    while found.refusal is None:
        reader.feed(endless)
        fed += len(endless)
        assert fed <= 2 * MAX_HEAD_BYTES
    assert found.refusal.status == 431


def test_trailer_count_is_bounded() -> None:
    lines = [b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS + 1)]
    head = request(b"POST", b"Transfer-Encoding: chunked", body=b"0\r\n")
    assert refusals(head + b"".join(lines[1:]) + b"\r\n") == [None]
    assert refusals(head + b"".join(lines) + b"\r\n") == [431]
    assert refusals(head, *lines, b"\r\n") == [431]


@pytest.mark.parametrize("line", [b"Connection: close", b"connection: X-A", b"Proxy-Connection: close"])
def test_connection_in_trailers_gets_400_and_nothing_behind_it_is_read(line: bytes) -> None:
    body = b"1\r\na\r\n0\r\nX-A: 1\r\n" + line + b"\r\n\r\n"
    data = request(b"POST", b"Transfer-Encoding: chunked", body=body)
    assert refusals(data + get()) == refusals(data, get()) == [400]
    assert not read_one(data).complete


def test_chunk_extensions_are_bounded() -> None:
    reader = read(request(b"POST", b"Transfer-Encoding: chunked", body=b"1;"))
    (found,) = reader.requests
    fed = 0
    while found.refusal is None:
        reader.feed(b"x" * 4000)
        fed += 4000
        assert fed <= 2 * MAX_HEAD_BYTES
    assert found.refusal.status == 431


def test_a_long_chunked_body_with_trailers_is_not_taken_for_a_long_head() -> None:
    chunk = b"ea60\r\n" + b"b" * 60000 + b"\r\n"
    pieces = [
        request(b"POST", b"Transfer-Encoding: chunked"),
        *[chunk] * 3,
        b"0\r\n",
        b"X: " + b"a" * 30000 + b"\r\n\r\n",
    ]
    seen = read_one(*pieces)
    assert (seen.refusal, len(seen.body), len(seen.trailers)) == (None, 180000, 1)


def test_a_body_of_known_length_may_pass_the_parser_by() -> None:
    reader = read(request(b"POST", b"Content-Length: 8", body=b"abc"))
    (found,) = reader.requests
    assert reader.body_bytes_left == 5
    reader.take_body(b"defgh")
    assert (found.complete, b"".join(found.body)) == (True, b"abcdefgh")
    reader.feed(get())
    assert Seen.of(reader.requests[1]).refusal is None


def test_chunks_and_trailers_are_taken_apart() -> None:
    seen = read_one(
        request(
            b"POST",
            b"Transfer-Encoding: Chunked",
            body=b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n000\r\nX-T: 1\r\nE:\r\n\r\n",
        )
    )
    assert (seen.body, seen.trailers, seen.complete) == (b"abc0123456789", [(b"x-t", b"1"), (b"e", b"")], True)


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"\r\n",
        b"fffffffffffffffff\r\n",
    ],
)
def test_a_malformed_chunk_gets_400(body: bytes) -> None:
    seen = read_one(request(b"POST", b"Transfer-Encoding: chunked", body=body))
    assert (seen.refusal, seen.complete) == (400, False)


def test_expect_is_for_http_1_1() -> None:
    line = b"Expect: 100-Continue"
    body = b"Content-Length: 1"
    assert read_one(request(b"POST", line, body)).expects_continue
    assert not read_one(request(b"POST", line, body, version=b"HTTP/1.0")).expects_continue


UPGRADE = (b"Connection: keep-alive, Upgrade", b"Upgrade: proto")


def test_what_follows_an_upgrade_is_kept_for_the_other_protocol() -> None:
    reader = read(get() + get(*UPGRADE) + b"\x00\x01", b"\x02", b"\x03")
    assert [found.upgrade for found in reader.requests] == [False, True]
    assert reader.leftover == b"\x00\x01\x02\x03"


def test_what_follows_an_upgrade_that_is_not_granted_is_the_next_request() -> None:
    reader = read(get(*UPGRADE) + get(target=b"/b")[:10], get(target=b"/b")[10:])
    assert len(reader.requests) == 1
    reader.resume()
    assert [found.target for found in reader.requests] == [b"/", b"/b"]
    reader.feed(get(target=b"/c"))
    assert [found.target for found in reader.requests] == [b"/", b"/b", b"/c"]


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 3", b"abc"), (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nX: y\r\n\r\n")],
)
def test_a_request_with_a_body_does_not_switch_protocols(framing: bytes, body: bytes) -> None:
    first, second = map(Seen.of, read(request(b"POST", framing, *UPGRADE, body=body) + get(target=b"/b")).requests)
    assert (first.upgrade, first.body, first.complete) == (False, b"abc", True)
    assert second.target == b"/b"


@pytest.mark.parametrize("lines", [[b"Upgrade: proto"], [b"Connection: upgrade"]])
def test_half_an_upgrade_is_none(lines: list[bytes]) -> None:
    assert not read_one(get(*lines)).upgrade


def test_an_upgrade_to_h2c_alone_is_none() -> None:
    connection = b"Connection: Upgrade, HTTP2-Settings"
    first, second = map(Seen.of, read(get(connection, b"Upgrade: H2c", b"Upgrade:") + get(target=b"/b")).requests)
    assert (first.upgrade, first.complete, second.target) == (False, True, b"/b")
    assert read_one(get(connection, b"Upgrade: h2c", b"Upgrade: websocket")).upgrade


def test_http_1_0_cannot_switch_protocols() -> None:
    assert not read_one(get(*UPGRADE, version=b"HTTP/1.0")).upgrade


def test_an_empty_body_does_not_stand_in_the_way_of_an_upgrade() -> None:
    assert read_one(get(b"Content-Length: 0", *UPGRADE)).upgrade


def test_a_request_behind_a_refused_one_is_not_read() -> None:
    assert refusals(get(target=b"/#"), get()) == [400]
    assert refusals(get(b"X : y") + get(), get()) == [400]


def test_what_follows_the_last_request_of_a_connection_is_ignored() -> None:
    assert refusals(get(b"Connection: close") + get(), get()) == [None]


def test_empty_lines_between_requests_are_ignored() -> None:
    assert refusals(b"\r\n\r\n" + get() + b"\r\n" + get()) == [None, None]


# The same bytes in any cuts give the same requests.

tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).map(str.encode)
values = st.text("abc \t,;=\"'é", max_size=12).map(lambda text: text.strip(" \t").encode())
header_lines = st.lists(
    st.tuples(tokens.filter(lambda name: name not in (b"te", b"host", b"expect", b"upgrade")), values).map(
        b": X-".join
    ),
    max_size=4,
)
bodies = st.binary(max_size=40)
trailer_lines = st.lists(st.tuples(tokens, values).map(b": ".join), max_size=3)


def _chunked(pieces: Iterable[bytes], trailers: list[bytes]) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return chunks + b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


with_length = st.builds(
    lambda lines, body: request(b"POST", *lines, b"Content-Length: %d" % len(body), body=body), header_lines, bodies
)
with_chunks = st.builds(
    lambda lines, pieces, trailers: request(
        b"PUT", b"Transfer-Encoding: chunked", *lines, body=_chunked(pieces, trailers)
    ),
    header_lines,
    st.lists(bodies, max_size=3),
    trailer_lines,
)
without_body = st.builds(lambda lines, target: get(*lines, target=b"/" + target), header_lines, tokens)
upgrades = st.builds(lambda lines: get(*lines, *UPGRADE), header_lines)
upgrades_with_body = st.builds(
    lambda body: request(b"POST", b"Content-Length: %d" % len(body), *UPGRADE, body=body), bodies
)
faults = st.sampled_from(
    [
        get(b"X : y"),
        get(target=b"/#a"),
        get(host=b"a b"),
        b"GET / HTTP/1.1\r\n\r\n",
        get(version=b"HTTP/2.0"),
        get(b"Connection: close"),
        request(b"POST", b"Transfer-Encoding: chunked", body=b"1\r\nab\r\n"),
        request(b"POST", b"Transfer-Encoding: gzip", body=b"abc"),
        request(b"CONNECT", target=b"a:80"),
    ]
)
streams = st.lists(
    st.one_of(without_body, with_length, with_chunks, upgrades, upgrades_with_body, st.just(b"\r\n"), faults),
    max_size=5,
).map(b"".join)


def read_all(pieces: Iterable[bytes]) -> list[Seen]:
    """Read as a connection does that grants no upgrade."""
    reader = RequestReader()
    resumed = 0
    for piece in pieces:
        reader.feed(piece)
        while len(reader.requests) > resumed:
            resumed = len(reader.requests)
            last = reader.requests[-1]
            if last.upgrade and last.refusal is None:
                reader.resume()
    return [Seen.of(found) for found in reader.requests]


@given(stream=streams, data=st.data())
def test_the_same_bytes_in_any_cuts_are_the_same_requests(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = read_all([stream])
    assert read_all(pieces) == whole
    assert read_all(stream[index : index + 1] for index in range(len(stream))) == whole


@given(stream=st.binary(max_size=200), data=st.data())
def test_no_bytes_make_it_raise(stream: bytes, data: st.DataObject) -> None:
    prefix = data.draw(
        st.sampled_from([b"", b"GET / HTTP/1.1\r\n", get()[:-2], request(b"POST", b"Transfer-Encoding: chunked")])
    )
    reader = read(prefix + stream)
    reader.feed(stream)
    for found in reader.requests:
        assert found.refusal is None or found.refusal.status in (400, 414, 431, 501, 505)


@pytest.mark.parametrize(("version", "status"), [(b"HTTP/1.0", 400), (b"HTTP/2.0", 505)])
def test_proxy_connection_does_not_make_another_version_look_like_1_1(version: bytes, status: int) -> None:
    # llhttp keeps the connection for it, as it does for Connection.
    data = get(b"Proxy-Connection: keep-alive", b"Transfer-Encoding: chunked", version=version)
    assert refusals(data) == [status]


@pytest.mark.parametrize(
    "lines",
    [
        [b"Expect: 100-continue", b"Expect: x"],
        [b"Expect: x", b"Expect: 100-Continue"],
        [b"Expect: x, 100-continue"],
        [b"Expect: 100-continue; a=b"],
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_100_continue_among_other_expectations_gets_417(lines: list[bytes], version: bytes) -> None:
    assert refusals(request(b"POST", b"Content-Length: 1", *lines, version=version)) == [417]


def test_100_continue_may_be_said_twice_and_other_expectations_are_for_the_endpoint() -> None:
    twice = read_one(request(b"POST", b"Content-Length: 1", *[b"Expect: 100-continue"] * 2))
    assert (twice.refusal, twice.expects_continue) == (None, True)
    other = read_one(request(b"POST", b"Content-Length: 1", b"Expect: x", b"Expect: y"))
    assert (other.refusal, other.expects_continue) == (None, False)


def test_a_length_of_thousands_of_digits_is_refused() -> None:
    assert refusals(request(b"POST", b"Content-Length: " + b"0" * 5000 + b"1")) == [400]


@pytest.mark.parametrize("lines", [UPGRADE, (*UPGRADE, b"Content-Length: 0")])
def test_any_number_of_upgrades_may_come_together(lines: tuple[bytes, ...]) -> None:
    first = get(*lines, target=b"/first", version=b"HTTP/1.0")
    seen = [Seen.of(request) for request in read(first + get(*lines, version=b"HTTP/1.0") * 2000).requests]
    assert (seen[0].target, seen[0].refusal, seen[0].complete) == (b"/first", None, True)


def test_upgrades_with_bodies_that_come_together_are_read_one_after_the_other() -> None:
    one = request(b"POST", *UPGRADE, b"Content-Length: 1", body=b"x")
    reader = read(one * 1000)
    assert len(reader.requests) == 1000
    assert all(request.complete and request.body == [b"x"] for request in reader.requests)

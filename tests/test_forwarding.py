"""What a request becomes on its way to an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.errors import ClientGone
from golb.forwarding import Call, RequestHeaders
from golb.headers import HOP_BY_HOP

if TYPE_CHECKING:
    from golb.asgi import Event

REPEATABLE = settings(derandomize=True, deadline=None)
OWN_MARK = b"x-forwarded-host-eb-a"
FIRST = b"GET / HTTP/1.1\r\nHost: 10.42.0.5:8080"


def read(*headers: tuple[bytes, bytes]) -> RequestHeaders:
    return RequestHeaders([(b"host", b"golb"), *headers], OWN_MARK)


def head(*headers: tuple[bytes, bytes], upgrade: bool = False, expects_continue: bool = False) -> list[bytes]:
    """Return the lines of the head behind those that golb sets itself."""
    written = read(*headers).head([FIRST], upgrade=upgrade, expects_continue=expects_continue)
    assert written.startswith(FIRST)
    assert written.endswith(b"\r\n\r\n")
    return written[len(FIRST) : -4].split(b"\r\n")[1:]


def test_a_header_goes_on_in_canonical_case_and_repeated_ones_in_order() -> None:
    assert head(
        (b"accept", b"text/html"), (b"cookie", b"a=1"), (b"x-a", b""), (b"cookie", b"b=2"), (b"x-b", b"\xe4 \t x")
    ) == [b"Accept: text/html", b"Cookie: a=1", b"X-A: ", b"Cookie: b=2", b"X-B: \xe4 \t x"]


def test_headers_may_be_lists_as_some_servers_have_them() -> None:
    as_lists: Any = [[b"accept", b"text/html"], [b"content-length", b"2"]]
    by_middleware: Any = [(b"accept", b"text/html"), [b"content-length", b"2"]]
    for mixed in (as_lists, by_middleware):
        headers = RequestHeaders(mixed, OWN_MARK)
        assert headers.lines == [b"\r\nAccept: text/html"]
        assert headers.length == 2


def test_what_connection_names_in_lists_ends_here_too() -> None:
    as_lists: Any = [[b"accept", b"text/html"], [b"connection", b"x-a"], [b"x-a", b"1"]]
    assert RequestHeaders(as_lists, OWN_MARK).lines == [b"\r\nAccept: text/html"]


def test_the_hosts_of_the_client_end_here() -> None:
    assert head((b"x-final-host", b"10.9.9.9:1"), (b"host", b"other")) == []


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {b"transfer-encoding"}))
def test_a_hop_by_hop_header_ends_here(name: bytes) -> None:
    assert head((name, b"x"), (b"a", b"1")) == [b"A: 1"]


@pytest.mark.parametrize(
    "name",
    [
        b"content_length",
        b"transfer.encoding",
        b"x_forwarded_for",
        b"x-forwarded~for",
        b"x_final-host",
        b"x_forwarded_host_eb_b",
        b"x-forwarded-host!",
        b"proxy_authorization",
        b"http2_settings",
    ],
)
def test_what_an_endpoint_could_take_for_a_field_of_golbs_ends_here(name: bytes) -> None:
    headers = read((name, b"1"), (b"x_a", b"1"), (b"x.forwarded", b"1"))
    assert headers.lines == [b"\r\nX_a: 1", b"\r\nX.forwarded: 1"]
    assert not headers.forwarded
    assert headers.is_plain


def test_what_connection_names_ends_here_too() -> None:
    assert head(
        (b"x-private", b"1"),
        (b"connection", b"keep-alive, X-Private"),
        (b"cookie", b"2"),
        (b"x-secret", b"3"),
        (b"connection", b"close,x-secret"),
        (b"x-private", b"4"),
    ) == [b"Cookie: 2"]


def test_connection_cannot_name_away_the_framing_the_chain_or_a_mark() -> None:
    headers = read(
        (b"connection", b"content-length, x-forwarded-for, x-forwarded-host-eb-a, x-forwarded-host-eb-b, host, expect"),
        (b"content-length", b"3"),
        (b"x-forwarded-for", b"eb-b"),
        (b"x-forwarded-host-eb-b", b"1.0"),
        (OWN_MARK, b"2.0"),
    )
    assert headers.length == 3
    assert headers.forwarded_for == b"eb-b"
    assert headers.has_own_mark
    assert headers.head([FIRST], upgrade=False, expects_continue=False) == (
        FIRST + b"\r\nX-Forwarded-Host-Eb-B: 1.0\r\nX-Forwarded-Host-Eb-A: 2.0\r\nContent-Length: 3\r\n\r\n"
    )


def test_te_goes_on_as_trailers_and_nothing_else() -> None:
    assert head((b"te", b"gzip, Trailers"), (b"connection", b"TE")) == [b"TE: trailers", b"Connection: TE"]
    assert head((b"te", b"gzip")) == []


def test_the_length_of_the_body_goes_on() -> None:
    assert head((b"content-length", b"0012"), (b"a", b"1")) == [b"A: 1", b"Content-Length: 12"]
    assert head((b"content-length", b"0")) == [b"Content-Length: 0"]


def test_a_body_in_chunks_goes_on_in_chunks() -> None:
    headers = read((b"transfer-encoding", b"chunked"), (b"trailer", b"x-sum"))
    assert headers.chunked
    assert headers.length is None
    assert headers.head([FIRST], upgrade=False, expects_continue=False) == (
        FIRST + b"\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


def test_an_upgrade_goes_on_if_it_is_asked_for() -> None:
    wish = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-key", b"x"))
    assert head(*wish, upgrade=True) == [b"Sec-Websocket-Key: x", b"Upgrade: websocket", b"Connection: Upgrade"]
    assert head(*wish) == [b"Sec-Websocket-Key: x"]
    assert read(*wish).upgrade == b"websocket"
    assert read((b"upgrade", b"websocket"), (b"connection", b"close")).upgrade == b""


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ([b"h2c"], b""),
        ([b"H2C", b" , h2C"], b""),
        ([b"h2c,websocket"], b"websocket"),
        ([b"WebSocket", b"h2c", b"h2, IRC/6.9"], b"WebSocket, h2, IRC/6.9"),
    ],
)
def test_no_endpoint_is_asked_for_h2c(values: list[bytes], asked: bytes) -> None:
    wish = [*((b"upgrade", value) for value in values), (b"http2-settings", b"AAMAAABk")]
    for options in (b"Upgrade, HTTP2-Settings", b"Upgrade"):
        assert read(*wish, (b"connection", options)).upgrade == asked
        assert head(*wish, (b"connection", options)) == []


def test_the_upgrade_and_the_trailers_share_the_line_of_connection() -> None:
    wish = ((b"te", b"trailers"), (b"upgrade", b"a"), (b"upgrade", b"b"), (b"connection", b"upgrade, te"))
    assert head(*wish, upgrade=True) == [b"TE: trailers", b"Upgrade: a, b", b"Connection: TE, Upgrade"]


def test_100_continue_is_passed_on_by_the_one_who_waits_for_it() -> None:
    wish = ((b"expect", b"100-Continue"), (b"content-length", b"1"))
    assert read(*wish).expects_continue
    assert head(*wish, expects_continue=True) == [b"Expect: 100-continue", b"Content-Length: 1"]
    assert head(*wish) == [b"Content-Length: 1"]


def test_another_expectation_goes_on_for_the_endpoint_to_answer() -> None:
    assert not read((b"expect", b"fish")).expects_continue
    assert head((b"expect", b"fish")) == [b"Expect: fish"]


@pytest.mark.parametrize("value", [b"fish, 100-continue", b"100-Continue;a=b"])
def test_no_expectation_goes_on_in_which_an_endpoint_could_find_100_continue(value: bytes) -> None:
    assert read((b"expect", value)).expects_continue
    assert head((b"expect", value)) == []


@pytest.mark.parametrize(
    ("headers", "forwarded"),
    [
        ([], False),
        ([(b"x-forwarded-for", b"10.0.0.9")], False),
        ([(b"x-forwarded-for", b"10.0.0.9, eb-b")], False),
        ([(b"x-forwarded-for", b"10.0.0.9"), (b"x-forwarded-for", b"eb-b")], False),
        ([(b"x-forwarded-for", b"2001:db8::1")], False),
        ([(b"x-forwarded-for", b"unknown")], False),
        ([(b"x-forwarded-host", b"example.org")], False),
        ([(b"x-forwarded-for", b"eb-b")], True),
        ([(b"x-forwarded-for", b"eb-b"), (b"x-forwarded-for", b"10.0.0.9")], True),
        ([(b"x-forwarded-host-eb-b", b"1.0")], True),
        ([(b"x-forwarded-host-eb-b", b"1.0"), (b"x-forwarded-for", b"10.0.0.9")], True),
        ([(OWN_MARK, b"1.0")], True),
    ],
)
def test_a_request_is_forwarded_if_it_has_a_mark_or_its_chain_begins_with_a_name(
    headers: list[tuple[bytes, bytes]], *, forwarded: bool
) -> None:
    assert read(*headers).forwarded is forwarded


def test_only_this_nodes_own_mark_is_a_loop() -> None:
    assert read((OWN_MARK, b"1.0")).has_own_mark
    assert read((OWN_MARK, b"1.0"), (b"x-forwarded-host-eb-b", b"1.0")).has_own_mark
    assert not read((b"x-forwarded-host-eb-ab", b"1.0"), (b"x-forwarded-host-eb", b"1.0")).has_own_mark
    assert not read((b"x-forwarded-for", b"eb-a")).has_own_mark


def test_the_marks_of_others_go_on() -> None:
    assert head((b"x-forwarded-host-eb-b", b"1.0000000"), (b"a", b"1"), (b"x-forwarded-host-eb-c", b"2.0")) == [
        b"A: 1",
        b"X-Forwarded-Host-Eb-B: 1.0000000",
        b"X-Forwarded-Host-Eb-C: 2.0",
    ]


@pytest.mark.parametrize(
    ("lines", "peer", "chain"),
    [
        ([], ("10.0.0.9", 1), b"eb-a, 10.0.0.9"),
        ([], ("::1", 1), b"eb-a, ::1"),
        ([], None, b"eb-a"),
        ([b"eb-b, 10.0.0.8"], ("10.0.0.9", 1), b"eb-b, 10.0.0.8, eb-a, 10.0.0.9"),
        ([b"10.0.0.7", b"10.0.0.8"], ("10.0.0.9", 1), b"10.0.0.7, 10.0.0.8, eb-a, 10.0.0.9"),
        ([b"10.0.0.7"], None, b"10.0.0.7, eb-a"),
    ],
)
def test_the_chain_grows_by_this_node_and_its_peer(
    lines: list[bytes], peer: tuple[str, int] | None, chain: bytes
) -> None:
    headers = read(*((b"x-forwarded-for", line) for line in lines))
    assert headers.chain(b"eb-a", peer) == chain
    assert headers.head([FIRST], upgrade=False, expects_continue=False) == FIRST + b"\r\n\r\n"


@pytest.mark.parametrize("name", [b"x-a", b"x-forwarded-host-eb-b", b"expect"])
def test_a_value_with_a_line_break_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        read((name, b"1\r\nX-Smuggled: 1"))


@pytest.mark.parametrize("prefix", [b"x-a", b"x-forwarded-host-eb-b", b"x_final_host"])
@pytest.mark.parametrize("rest", [b"\r\nx-smuggled", b"\n", b"\r", b": 1", b" b", b"\0", b"\xff"])
def test_a_name_that_is_none_is_refused(prefix: bytes, rest: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="is no header name"):
            read((prefix + rest, b"1"))


DOUBTFUL = (
    (b"x-forwarded-for", b"eb-b, 10.0.0.8"),
    (b"x-forwarded-for", b"eb-c"),
    (b"x-forwarded-host-eb-b", b"1.0"),
    (b"accept", b"text/html"),
    (b"x-forwarded-hosts", b"not a mark"),
    (b"expect", b"fish"),
    (b"x-forwarded-host-", b""),
    (b"x-final-host", b"10.9.9.9:1"),
)


def test_what_a_peer_that_is_not_trusted_says_of_the_way_is_not_believed_and_reaches_no_endpoint() -> None:
    assert read(*DOUBTFUL).forwarded
    headers = read(*DOUBTFUL)
    headers.distrust()
    assert not headers.forwarded
    assert headers.chain(b"eb-a", ("10.0.0.9", 1)) == b"eb-a, 10.0.0.9"
    written = headers.head([FIRST], upgrade=False, expects_continue=False)
    assert written == FIRST + b"\r\nAccept: text/html\r\nX-Forwarded-Hosts: not a mark\r\nExpect: fish\r\n\r\n"


def test_a_gateway_gets_doubtful_marks_too_by_which_it_finds_its_own() -> None:
    headers = read(*DOUBTFUL)
    headers.distrust()
    written = headers.head([FIRST], upgrade=False, expects_continue=False, to_gateway=True)
    assert written.endswith(b"\r\nX-Forwarded-Host-Eb-B: 1.0\r\nX-Forwarded-Host-: \r\n\r\n")
    again = headers.head([FIRST], upgrade=False, expects_continue=False)
    assert b"X-Forwarded-Host-" not in again  # another try, at an endpoint


def test_this_nodes_own_mark_is_believed_from_everyone() -> None:
    headers = read((OWN_MARK, b"1.0"))
    headers.distrust()
    assert headers.has_own_mark


NAMES = st.sampled_from(
    [*sorted(HOP_BY_HOP - {b"transfer-encoding"}), b"cookie", b"x-a", b"x-b", b"x-forwarded-for", OWN_MARK, b"expect"]
)
VALUES = st.sampled_from([b"x-a", b"close, X-A", b"upgrade", b"trailers", b"100-continue", b"", b"x-b, cookie"])


@REPEATABLE
@given(st.lists(st.tuples(NAMES, VALUES)))
def test_whatever_the_headers_are_no_name_goes_on_that_must_not(headers: list[tuple[bytes, bytes]]) -> None:
    options = {
        option.strip().lower() for name, value in headers if name == b"connection" for option in value.split(b",")
    }
    sent = [line.partition(b": ") for line in head(*headers)]
    named = [name.lower() for name, _, _ in sent]
    assert not (HOP_BY_HOP - {b"te", b"connection"}) & set(named)
    assert not options & {b"x-a", b"x-b", b"cookie"} & set(named)
    for name in (b"x-a", b"x-b", b"cookie"):
        expected = [] if name in options else [value for found, value in headers if found == name]
        assert [value for found, _, value in sent if found.lower() == name] == expected


def a_call(*, bytes_left: int | None) -> Call:
    async def receive() -> Event:
        raise AssertionError

    async def send(event: Event) -> None:
        raise AssertionError

    call = Call("POST", [], receive, send, {})
    call.more_body, call.bytes_left = True, bytes_left
    return call


def body(content: bytes, *, more: bool) -> Event:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_body_of_known_length_goes_out_as_it_is() -> None:
    posted = a_call(bytes_left=5)
    assert posted.frame(body(b"abc", more=True)) == b"abc"
    assert posted.more_body
    assert posted.frame(body(b"de", more=False)) == b"de"
    assert not posted.more_body


def test_a_body_of_unknown_length_goes_out_in_chunks_with_its_trailers() -> None:
    posted = a_call(bytes_left=None)
    assert posted.frame(body(b"abc", more=True)) == b"3\r\nabc\r\n"
    assert posted.frame(body(b"", more=True)) == b""
    last = {"type": "http.request", "body": b"", "more_body": False, "trailers": [(b"x-sum", b"1")]}
    assert posted.frame(last) == b"0\r\nX-Sum: 1\r\n\r\n"
    assert not posted.more_body


@pytest.mark.parametrize("event", [body(b"abcdef", more=True), body(b"abc", more=False), {"type": "http.disconnect"}])
def test_a_body_that_breaks_off_or_is_too_long_is_not_passed_off_as_whole(event: Event) -> None:
    with pytest.raises(ClientGone):
        a_call(bytes_left=5).frame(event)

"""Header rules: canonical names, what stays on its hop, and how load balancers are recognised."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.headers import (
    HOP_BY_HOP,
    LINE_STARTS,
    TOKEN,
    canonical,
    connection_options,
    droppable,
    frame_chunk,
    join_lines,
    mark_name,
    names_a_node,
    proper_trailers,
    trailer_section,
    with_lead,
    without_hop_by_hop,
)

REPEATABLE = settings(derandomize=True, deadline=None)
TOKENS = st.from_regex(TOKEN, fullmatch=True)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (b"x-start", b"X-Start"),
        (b"X-END", b"X-End"),
        (b"x-forwarded-host-eb-c-vm-0", b"X-Forwarded-Host-Eb-C-Vm-0"),
        (b"etag", b"Etag"),
        (b"www-authenticate", b"Www-Authenticate"),
        (b"content-md5", b"Content-Md5"),
        (b"x--y-", b"X--Y-"),
        (b"x_under_score", b"X_under_score"),
        (b"a", b"A"),
        (b"9to5", b"9to5"),
    ],
)
def test_a_name_is_written_in_canonical_mime_case(name: bytes, written: bytes) -> None:
    assert canonical(name) == written
    assert LINE_STARTS[name] == b"\r\n" + written + b": "


@REPEATABLE
@given(TOKENS)
def test_the_canonical_name_is_the_same_for_every_case_and_differs_in_nothing_else(name: bytes) -> None:
    written = canonical(name)
    assert written == canonical(name.upper()) == canonical(name.lower()) == canonical(written)
    assert written.lower() == name.lower()


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_a_hop_by_hop_header_has_no_line_on_the_next_hop(name: bytes) -> None:
    assert LINE_STARTS[name] is None
    assert LINE_STARTS[name.upper()] is None


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\n", b"a\n", b"\xe4", b"a\0", b"(a)"])
def test_what_is_no_header_name_gets_no_line(name: bytes) -> None:
    for _ in range(2):  # and is not remembered as good
        with pytest.raises(ValueError, match="is no header name"):
            LINE_STARTS[name]


def test_lines_are_joined_if_no_value_adds_one() -> None:
    assert join_lines([b"GET / HTTP/1.1", b"\r\nA: ", b"1"], 2) == b"GET / HTTP/1.1\r\nA: 1"
    assert join_lines([b"x\r\ny"], 2) == b"x\r\ny"


@pytest.mark.parametrize("value", [b"1\r\nB: 2", b"1\n", b"1\r", b"\r\n"])
def test_a_value_that_would_add_a_line_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        join_lines([b"GET / HTTP/1.1", b"\r\nA: ", value], 2)
    with pytest.raises(ValueError, match="line break"):
        trailer_section([(b"a", value)])


def test_a_chunk_is_framed_and_an_empty_one_is_not_the_end() -> None:
    assert frame_chunk(b"x" * 26, None) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert frame_chunk(b"", None) == b""
    assert frame_chunk(b"", []) == b"0\r\n\r\n"
    assert frame_chunk(b"ab", [(b"x-sum", b"1"), (b"connection", b"x")]) == b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([], set()),
        ([b"close"], {b"close"}),
        ([b"Keep-Alive, X-Private"], {b"keep-alive", b"x-private"}),
        ([b"a", b" B ,\tc"], {b"a", b"b", b"c"}),
        ([b"", b",, ,"], set()),
    ],
)
def test_the_options_of_connection_are_read_over_all_its_lines(values: list[bytes], options: set[bytes]) -> None:
    assert connection_options(values) == options


def test_the_fields_that_connection_names_are_dropped() -> None:
    assert droppable({b"x-private", b"cookie", b"close", b"keep-alive", b"upgrade", b"te"}) == {b"x-private", b"cookie"}


def test_a_client_cannot_strip_what_the_framing_and_the_loop_guard_need() -> None:
    assert not droppable(
        {
            b"host",
            b"content-length",
            b"transfer-encoding",
            b"x-final-host",
            b"x-forwarded-for",
            b"x-forwarded-host-eb-a",
            b"x-forwarded-host-",
        }
    )


def test_trailers_cannot_smuggle_what_the_head_has_decided() -> None:
    kept = [(b"x-sum", b"1"), (b"Server-Timing", b"2"), (b"x-sum", b"3")]
    smuggled = [b"Content-Length", b"Host", b"Transfer-Encoding", b"Connection", b"Trailer", b"X-Final-Host"]
    smuggled += [b"X-Forwarded-For", b"X-Forwarded-Host-Eb-A", b"TE", b"Upgrade"]
    smuggled += [b"Authorization", b"set-cookie", b"Content-Type", b"Cache-Control", b"Expect", b"If-None-Match"]
    smuggled += [b"X_Forwarded_For", b"content.length", b"x-forwarded_host_eb_a", b"Set_Cookie", b"IF_MATCH"]
    for _ in range(2):  # what is remembered of a name, too
        assert proper_trailers([*kept[:1], *((name, b"x") for name in smuggled), *kept[1:]]) == kept


def test_interim_headers_keep_what_is_for_the_client() -> None:
    kept = [(b"link", b"</a>; rel=preload"), (b"Content-Type", b"text/html")]
    one_hop = [b"Connection", b"Upgrade", b"Content-Length", b"X-Final-Host", b"X-Forwarded-Host-Eb-A"]
    assert without_hop_by_hop([*kept[:1], *((name, b"x") for name in one_hop), *kept[1:]]) == kept


LEAD = [(b"x-final-host", b"10.0.3.1:8081"), (b"x-forwarded-for", b"eb-a"), (b"x-forwarded-host-eb-a", b"1.0000000")]


def test_golbs_own_headers_go_in_front_of_an_endpoints() -> None:
    assert with_lead(LEAD, [(b"x-start", b"1")], [], []) == [*LEAD, (b"x-start", b"1")]


def test_lines_of_one_name_stand_side_by_side_the_outer_load_balancers_first() -> None:
    headers = [(b"x-forwarded-host-eb-b", b"2.0000000"), (b"x-start", b"1")]
    final_hosts = [(b"x-final-host", b"10.42.0.8:9080")]
    forwarded_for = [(b"x-forwarded-for", b"eb-b")]
    assert with_lead(LEAD, headers, final_hosts, forwarded_for) == [
        LEAD[0],
        *final_hosts,
        LEAD[1],
        *forwarded_for,
        LEAD[2],
        *headers,
    ]


def test_the_mark_of_a_node_carries_its_name() -> None:
    assert mark_name("eb-c-vm-0") == b"x-forwarded-host-eb-c-vm-0"
    assert canonical(mark_name("EB-C-VM-0")) == b"X-Forwarded-Host-Eb-C-Vm-0"


@pytest.mark.parametrize(
    "value",
    [
        b"eb-a-controller",
        b"eb-a-controller, 10.0.0.9",
        b"eb-a-controller,eb-b-controller",
        b"  node  , 10.0.0.9",
        b"node.example.org",
        b"10.0.0",
        b"300.1.1.1",
        b"n\xe4me",
    ],
)
def test_a_chain_that_begins_with_a_name_comes_from_a_load_balancer_of_this_family(value: bytes) -> None:
    assert names_a_node(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"  ",
        b", eb-a-controller",
        b"10.0.0.9",
        b"10.0.0.9, eb-a-controller",
        b" 10.0.0.9 ",
        b"10.0.0.9:51234",
        b"2001:db8::1",
        b"2001:db8::1, 10.0.0.9",
        b"[2001:db8::1]",
        b"[2001:db8::1]:51234",
        b"::ffff:10.0.0.9",
        b"fe80::1%eth0",
        b"unknown",
        b"Unknown, 10.0.0.9",
        b"_hidden",
    ],
)
def test_a_chain_that_begins_with_an_address_or_nothing_known_comes_from_any_proxy(value: bytes) -> None:
    assert not names_a_node(value)


@REPEATABLE
@given(st.binary())
def test_any_chain_is_told_to_be_one_or_the_other(value: bytes) -> None:
    assert names_a_node(value) in (True, False)

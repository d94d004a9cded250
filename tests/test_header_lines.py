"""Header lines out of bytes and into bytes."""

from __future__ import annotations

import pytest

from golb.header_lines import UnusualError, read_lines, written_lines
from golb.headers import LINE_STARTS

SECRETS = [
    b"Authorization",
    b"proxy-authorization",
    b"Cookie",
    b"Set-Cookie",
    b"X-Api-Key",
    b"X_API_KEY",
    b"apikey",
    b"X-Amz-Security-Token",
    b"Private-Token",
    b"X-Hub-Signature-256",
    b"X-Client-Secret",
    b"X-Session-Id",
    b"X-Password",
]


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"Host: a", (b"host", b"a")),
        (b"HOST:a", (b"host", b"a")),
        (b"x-a: b c\t\xff", (b"x-a", b"b c\t\xff")),
        (b"X!: :", (b"x!", b":")),
        (b"Connection: Keep-Alive", (b"connection", b"Keep-Alive")),
        (b"content-length: 0042", (b"content-length", b"0042")),
    ],
)
def test_a_line_is_a_name_in_lower_case_and_a_value(line: bytes, header: tuple[bytes, bytes]) -> None:
    lines = read_lines({b"host"}, unusual={b"upgrade"})
    for _ in range(2):
        read = lines[line + b"\r"]
        assert read.header == header
        assert read.value == (b"keep-alive" if header[0] == b"connection" else header[1])
        assert read.length == (42 if header[0] == b"content-length" else 0)
        assert read.name == (b"host" if header[0] == b"host" else b"")
        assert read.written == b""


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (b"x-a: b c\t\xff", b"\r\nX-A: b c\t\xff"),
        (b"AUTHORIZATION:a", b"\r\nAuthorization: a"),
        (b"content-length: 0042", b"\r\nContent-Length: 42"),
        (b"Connection: close", b""),
    ],
)
def test_a_line_may_tell_how_it_goes_on(line: bytes, written: bytes) -> None:
    lines = read_lines(set(), unusual=set(), start_of=LINE_STARTS.__getitem__)
    for _ in range(2):
        assert lines[line + b"\r"].written == written


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b": a",
        b"x : a",
        b" x: a",
        b"x:",
        b"x: ",
        b"x:  a",
        b"x:\ta",
        b"x: a ",
        b"x: a\t",
        b"x: a\n",
        b"x: a\rb",
        b"x: a\nb: c",
        b"x: a\0",
        b"x: \x7f",
        b"x\xe4: a",
        b"(x): a",
        b"Connection: x-a",
        b"Connection: keep-alive, close",
        b"Content-Length: 1a",
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Content-Length: 1000000000000000000",
        b"UPGRADE: h2c",
    ],
)
def test_a_line_that_a_parser_has_to_look_at_is_unusual_each_time(line: bytes) -> None:
    lines = read_lines({b"x"}, unusual={b"upgrade"})
    for end in (b"\r", b"\r", b"", b"\r\n"):
        with pytest.raises(UnusualError):
            lines[line + end]


def test_neither_secrets_nor_long_lines_nor_marks_are_remembered() -> None:
    lines = read_lines((), unusual=())
    lines[b"Accept: */*\r"]
    for line in (
        b"X-Forwarded-Host-Eb-A: 1.0",
        b"x-long: " + b"a" * 256,
        *(name + b": abc" for name in SECRETS),
    ):
        assert lines[line + b"\r"].value == line.partition(b": ")[2]
    assert list(lines) == [b"Accept: */*\r"]

    written = written_lines(lambda name: b"\r\n%b: " % name)
    written[b"accept", b"*/*"]
    for header in ((b"x-forwarded-host-eb-a", b"1.0"), *((name, b"abc") for name in SECRETS)):
        assert written[header] == b"\r\n%b: %b" % header
    assert list(written) == [(b"accept", b"*/*")]


def test_a_line_is_written_behind_the_end_of_the_one_before() -> None:
    starts = {b"a": b"\r\nA: ", b"dropped": b"", b"special": None}
    written = written_lines(starts.__getitem__)
    for _ in range(2):
        assert written[b"a", b"1"] == b"\r\nA: 1"
        assert written[b"a", b""] == b"\r\nA: "
        assert written[b"dropped", b"1"] == b""
        assert written[b"special", b"1"] is None


@pytest.mark.parametrize("value", [b"1\r\nB: 2", b"1\n", b"1\r", b"\r\n"])
def test_a_value_that_would_add_a_line_is_refused_each_time(value: bytes) -> None:
    written = written_lines(LINE_STARTS.__getitem__)
    for _ in range(2):
        with pytest.raises(ValueError, match="line break"):
            written[b"a", value]

"""What a line of the access log says, and who may write in it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.call_records import FIELDS, TEXTS, record

from golb.access_log.lines import LINE_BYTES, common_line, json_line


def test_a_line_of_json_has_all_that_is_known_of_a_call() -> None:
    line = json.loads(json_line(record()))
    assert line.pop("timestamp") == "2026-11-24T07:44:00.204787Z"
    assert line.pop("message") == "access"
    assert line.pop("http_version") == "1.1"
    expected = FIELDS | {"duration_s": 0.012346, "own_s": 0.000045}
    del expected["began_s"]
    assert line == expected


def test_what_there_was_not_is_null() -> None:
    line = json.loads(json_line(record(status=0, first_byte_s=None, own_s=None, traceparent=None, error="gone")))
    names = ("status", "first_byte_s", "own_s", "traceparent")
    assert [line[name] for name in names] == [None] * 4
    assert line["error"] == "gone"


def test_a_common_line_is_that_of_the_common_log_format_and_golbs_fields_behind_it() -> None:
    assert common_line(record()) == (
        b'10.0.0.7 - - [24/Nov/2026:07:44:00 +0000] "GET /function/hello/classify?top=5 HTTP/1.1" 200 1024 '
        b'"hello" 10.42.0.5:8080 0.012346 1 "8a1f-17"\n'
    )
    assert common_line(record(status=0, bytes_out=0, endpoint="", http_version="2")) == (
        b'10.0.0.7 - - [24/Nov/2026:07:44:00 +0000] "GET /function/hello/classify?top=5 HTTP/2" - - '
        b'"hello" - 0.012346 1 "8a1f-17"\n'
    )


@settings(derandomize=True, deadline=None)
@given(st.fixed_dictionaries({name: st.text(max_size=60) for name in TEXTS}))
def test_whatever_a_call_brings_it_is_one_line_and_the_same_text_again(texts: dict[str, str]) -> None:
    call = record(**texts)
    for line in (json_line(call), common_line(call)):
        assert re.fullmatch(rb"[ -~]+\n", line)
        assert len(line) < LINE_BYTES
    parsed = json.loads(json_line(call))
    for name in ("target", "function", "path"):  # wide enough even for 60 characters of 12 each once they are escaped
        if len(json.dumps(texts[name])) <= 250:
            assert parsed[name] == texts[name]


def test_a_client_cannot_forge_a_line_nor_end_a_field() -> None:
    forged = '/function/f"}\r\n{"message":"access","status":200}\x1b[2J\x7f\\'
    line = json_line(record(target=forged, request_id=forged))
    assert line.count(b"\n") == 1
    assert json.loads(line)["target"] == forged
    assert json.loads(line)["status"] == 200
    common = common_line(record(target=forged, client='10.0.0.7 - - "', endpoint='a" b'))
    assert common.count(b"\n") == 1
    assert common.startswith(b"10.0.0.7?-?-?? - - [")
    fields = re.findall(rb'"((?:[^"\\]|\\.)*)"', common)
    assert json.loads(b'"%b"' % fields[0]) == f"GET {forged} HTTP/1.1"
    assert fields[1:] == [b"hello", b"8a1f-17"]


@pytest.mark.parametrize("character", ["a", '"', "\x00", "ÿ", "\U0001f600", "\udcff"])
def test_what_is_too_long_is_cut_and_says_so(character: str) -> None:
    call = record(**dict.fromkeys([*TEXTS, "http_version"], character * 40_000))
    line = json_line(call)
    assert len(line) < LINE_BYTES
    assert len(common_line(call)) < LINE_BYTES
    for name, text in json.loads(line).items():
        if name in TEXTS and name != "method":
            assert text.endswith("...")
            assert text.startswith(character)

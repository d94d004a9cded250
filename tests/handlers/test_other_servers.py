"""Calls from an ASGI server that is not golb's own, which may have looked at them less closely."""

from __future__ import annotations

from typing import Any

import pytest
from support.other_server import ask
from support.pods import run_pods
from support.stack import running_golb


async def test_a_call_is_forwarded() -> None:
    async with run_pods(1) as pods, running_golb(pods[0].ip) as golb:
        sent = await ask(golb.handler, raw_path=b"/function/f/a%20b", query_string=b"c=d", headers=[[b"x-a", b"1"]])
        assert sent[0]["status"] == 200
        seen = pods[0].requests[0]
        assert seen.target == b"/a%20b?c=d"
        assert (b"x-a", b"1") in seen.headers


@pytest.mark.parametrize("http_version", ["2", "3"])
async def test_a_body_without_a_length_is_forwarded_where_its_protocol_needs_none(http_version: str) -> None:
    async with run_pods(1) as pods, running_golb(pods[0].ip) as golb:
        sent = await ask(golb.handler, b"body", method="POST", http_version=http_version)
        assert sent[0]["status"] == 200
        assert sent[1]["body"].endswith(b" / 4")  # so many bytes the pod has got


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"4")]], ids=["without a length", "of known length"])
async def test_a_body_may_be_whatever_holds_bytes(kind: type, headers: list[tuple[bytes, bytes]]) -> None:
    async with run_pods(1) as pods, running_golb(pods[0].ip) as golb:
        sent = await ask(golb.handler, kind(b"body"), method="POST", http_version="2", headers=headers)
        assert sent[1]["body"].endswith(b" / 4")


async def test_middleware_may_add_headers_as_lists_and_tuples() -> None:
    async with run_pods(1) as pods, running_golb(pods[0].ip) as golb:
        sent = await ask(golb.handler, headers=[(b"host", b"golb"), [b"x-a", b"1"]])
        assert sent[0]["status"] == 200
        assert (b"x-a", b"1") in pods[0].requests[0].headers


@pytest.mark.parametrize(
    "parts",
    [
        {"raw_path": b"/function/f/a b"},
        {"raw_path": b"/function/f/\r\nX-Smuggled: 1"},
        {"raw_path": b"/function/f", "query_string": b"a=\n"},
        {"raw_path": b"/function/f/\x7f"},
        {"method": "GET / HTTP/1.1\r\nX-Smuggled: 1\r\n\r\nGET"},
        {"method": ""},
    ],
)
async def test_what_could_not_stand_in_a_request_line_is_refused(parts: dict[str, Any]) -> None:
    async with run_pods(1) as pods, running_golb(pods[0].ip) as golb:
        sent = await ask(golb.handler, **parts)
        assert sent[0]["status"] == 400
        assert b"could not stand in a request line" in sent[1]["body"]
        assert not pods[0].requests


@pytest.mark.parametrize("name", [b"x-a", b"x-forwarded-for", b"upgrade"])
async def test_a_header_that_would_add_a_line_reaches_no_endpoint(name: bytes) -> None:
    async with run_pods(1) as pods, running_golb(pods[0].ip) as golb:
        with pytest.raises(ValueError, match="line break"):
            await ask(golb.handler, headers=[(name, b"1\r\nX-Smuggled: 1")])
        assert not pods[0].requests

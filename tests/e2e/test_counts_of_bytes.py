"""The bytes that a running golb counts: those of bodies, both ways, and nothing of what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from e2e.counted import at, call, golb_before, http2_client, report
from handlers.around import HEAVY, OK, around_golb, get, post
from support.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from support.stack import RunningGolb

# From here on a body goes by a pipe.
PIPED = 65536
SIZES = [1, 5000, PIPED, 3 * PIPED + 77]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


def chunked(body: bytes, piece: int = 3000) -> bytes:
    """Write a body in chunks, and a trailer behind it."""
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces) + b"0\r\nX-Trailer: yes\r\n\r\n"


async def bytes_counted(golb: RunningGolb) -> tuple[int, int]:
    (endpoint,) = (await report(golb))["endpoints"]
    return endpoint["bytes_in"], endpoint["bytes_out"]


@pytest.mark.parametrize("size", SIZES)
async def test_the_bytes_of_bodies_with_a_length_count_both_ways(size: int) -> None:
    body = bytes(size)
    async with golb_before(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body) as golb:
        assert await call(golb, post(body=body)) == body
        assert await bytes_counted(golb) == (size, size)


@pytest.mark.parametrize("size", SIZES)
async def test_the_bytes_of_a_body_that_comes_behind_its_head_count(size: int) -> None:
    async with golb_before(OK) as golb, await golb.connect() as client:
        request = post(body=bytes(size))
        await client.send(request[:-size])
        await trio.testing.wait_all_tasks_blocked()
        await client.send(request[-size:])
        await client.read_response()
        assert await bytes_counted(golb) == (size, 2)


@pytest.mark.parametrize("size", [0, *SIZES])
async def test_chunks_and_trailers_around_a_body_do_not_count(size: int) -> None:
    body = bytes(size)
    async with golb_before(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body)) as golb:
        head = b"POST /function/f HTTP/1.1\r\nHost: golb\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert await call(golb, head + chunked(body)) == body
        assert await bytes_counted(golb) == (size, size)


@pytest.mark.parametrize("size", SIZES)
async def test_the_bytes_of_an_answer_that_ends_with_its_connection_count(size: int) -> None:
    async with golb_before(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size), ends=True) as golb:
        assert await call(golb, get()) == bytes(size)
        assert await bytes_counted(golb) == (0, size)


async def test_an_answer_to_head_has_no_bytes() -> None:
    async with golb_before(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") as golb:
        await call(golb, get().replace(b"GET", b"HEAD"), b"HEAD")
        assert await bytes_counted(golb) == (0, 0)


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("size", SIZES)
async def test_the_bytes_of_bodies_in_http_2_count_both_ways(size: int, tls: TlsFiles, *, has_length: bool) -> None:
    body = bytes(size)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body
    async with golb_before(answer, tls.variables) as golb, http2_client(golb, tls) as client:
        lines = [(b"content-length", b"%d" % size)] if has_length else []
        stream = await client.request(b"/function/f", *lines, method=b"POST", end=False)
        await client.upload(stream, body)
        assert (await client.answer(stream)).body == body
        assert await bytes_counted(golb) == (size, size)


async def test_a_request_without_a_body_in_http_2_has_no_bytes(tls: TlsFiles) -> None:
    async with golb_before(OK, tls.variables) as golb, http2_client(golb, tls) as client:
        await client.answer(await client.request(b"/function/f"))
        assert await bytes_counted(golb) == (0, 2)


async def test_a_body_that_was_sent_to_two_endpoints_counts_at_both() -> None:
    async with around_golb(2, rest_after="1000") as around:
        failing, good = around.endpoints
        around.put({failing: HEAVY, good: 1})
        failing.does = "reset"
        assert (await around.call(post(body=b"x" * 500).replace(b"POST", b"PUT"))).status == 200
        told = await report(around.golb)
    assert [at(told, one.authority)["bytes_in"] for one in around.endpoints] == [500, 500]

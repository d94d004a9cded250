"""Large bodies, which the kernel moves from socket to socket: byte for byte both ways, and visibly broken where they break."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing
from support.endpoint import scripted_endpoint
from support.golb_process import GolbProcess
from support.stack import running_golb
from support.tls import make_tls_files
from support.wire import connect

from golb import pipes
from golb.errors import ClientGone
from golb.forwarding import Call
from golb.weights import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.wire import Wire

    from golb.asgi import Event
    from golb.upstream.connection import EndpointStream
    from golb.weights import Endpoint

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PIPED = 65536
MIB = 1 << 20
SIZES = [PIPED - 1, PIPED, PIPED + 1, MIB, 5 * MIB + 12_345]


def body_of(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def post(length: int, *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    first_line = b"POST /function/f " + version
    return b"\r\n".join([first_line, b"Host: golb", b"Content-Length: %d" % length, *lines]) + b"\r\n\r\n"


def get(method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return method + b" /function/f " + version + b"\r\nHost: golb\r\n\r\n"


def answer_head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


@asynccontextmanager
async def asked(data: bytes, **variables: str) -> AsyncIterator[tuple[Wire, Wire]]:
    """Send a request's first bytes, and yield the client's connection and the endpoint's."""
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority, **variables) as golb, await golb.connect() as client:
            await client.send(data)
            async with await pod.accept() as endpoint:
                yield client, endpoint


async def send_in_drops(wire: Wire, data: bytes) -> None:
    """Send pieces of many sizes, with a turn of everybody between them; a large rest goes at once."""
    sizes = random.Random(7)
    start = 0
    for _ in range(60):
        size = sizes.choice([1, 2, 100, 1448, 5000, 16_384])
        await wire.send(data[start : start + size])
        start += size
        await trio.testing.wait_all_tasks_blocked()
    await wire.send(data[start:])


async def read_in_drops(wire: Wire, count: int) -> bytes:
    """Read little at a time, and let everybody else have a turn before each read."""
    assert isinstance(wire.stream, trio.SocketStream)
    # Below two of loopback's packets, which are of 64 KiB, TCP itself pauses for 0.2 s now and then.
    wire.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
    data = b""
    while len(data) < count:
        await trio.lowlevel.checkpoint()
        piece = await wire.stream.receive_some(min(20_000, count - len(data)))
        assert piece, f"the end came {count - len(data)} bytes too early"
        data += piece
    return data


async def expect_goes_on(client: Wire, endpoint: Wire) -> None:
    """See both connections carry another request."""
    await client.send(get())
    assert (await endpoint.read_request()).head.first_line == b"GET / HTTP/1.1"
    await endpoint.send(OK)
    assert (await client.read_response()).body == b"ok"


async def rest_of(wire: Wire) -> int:
    """Read until the connection ends, in whatever way; return how many bytes came."""
    count = 0
    with suppress(trio.BrokenResourceError):
        while data := await wire.read_some():
            count += len(data)
    return count


def open_pipes() -> int:
    """Count the descriptors of pipes of this process, two for each."""
    return sum(path.is_fifo() for path in Path("/proc/self/fd").iterdir())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# Whole bodies.


@pytest.mark.parametrize("reader", ["at once", "in drops"])
@pytest.mark.parametrize("sender", ["at once", "in drops"])
@pytest.mark.parametrize("length", SIZES)
async def test_an_answer_arrives_byte_for_byte_and_both_connections_go_on(
    length: int, sender: str, reader: str
) -> None:
    body = body_of(length)
    async with asked(get()) as (client, endpoint), trio.open_nursery() as nursery:
        await endpoint.read_request()
        await endpoint.send(answer_head(length))
        send = endpoint.send if sender == "at once" else (lambda data: send_in_drops(endpoint, data))
        nursery.start_soon(send, body)
        assert (await client.read_head()).values(b"Content-Length") == [b"%d" % length]
        read = client.read_exactly(length) if reader == "at once" else read_in_drops(client, length)
        assert digest(await read) == digest(body)
        await expect_goes_on(client, endpoint)


@pytest.mark.parametrize("reader", ["at once", "in drops"])
@pytest.mark.parametrize("sender", ["at once", "in drops"])
@pytest.mark.parametrize("length", SIZES)
async def test_a_requests_body_arrives_byte_for_byte_and_both_connections_go_on(
    length: int, sender: str, reader: str
) -> None:
    body = body_of(length)
    async with asked(post(length)) as (client, endpoint), trio.open_nursery() as nursery:
        assert (await endpoint.read_head()).values(b"Content-Length") == [b"%d" % length]
        send = client.send if sender == "at once" else (lambda data: send_in_drops(client, data))
        nursery.start_soon(send, body)
        read = endpoint.read_exactly(length) if reader == "at once" else read_in_drops(endpoint, length)
        assert digest(await read) == digest(body)
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


async def test_a_body_goes_by_a_pipe_if_enough_of_it_is_to_come() -> None:
    async with asked(get()) as (client, endpoint):
        before = open_pipes()
        for to_come, kept in ((PIPED - 1, 0), (PIPED, 2), (MIB, 2)):
            body = body_of(1 + to_come)
            await endpoint.read_request()
            await endpoint.send(answer_head(len(body)) + body[:1])
            await client.read_head()
            assert await client.read_exactly(1) == body[:1]
            await endpoint.send(body[1:])
            assert await client.read_exactly(to_come) == body[1:]
            assert open_pipes() - before == kept
            await client.send(get())


async def test_bodies_pass_both_ways_at_once() -> None:
    length = 3 * MIB + 77
    up, down = body_of(length), body_of(length + 1)
    async with asked(post(length)) as (client, endpoint):
        await endpoint.read_head()
        await endpoint.send(answer_head(length + 1))
        await client.read_head()

        async def take() -> None:
            assert digest(await endpoint.read_exactly(length)) == digest(up)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, up)
            nursery.start_soon(endpoint.send, down[:-1])
            nursery.start_soon(take)
            assert digest(await client.read_exactly(length)) == digest(down[:-1])
        await endpoint.send(down[-1:])  # an answer that ends before would end the upload
        assert await client.read_exactly(1) == down[-1:]
        await expect_goes_on(client, endpoint)


async def test_pipes_that_hold_less_pass_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PIPE_BYTES", 4096)  # as a system does that grants no more
    body = body_of(MIB)
    async with asked(post(MIB)) as (client, endpoint), trio.open_nursery() as nursery:
        await endpoint.read_head()
        nursery.start_soon(client.send, body)
        assert await endpoint.read_exactly(MIB) == body
        nursery.start_soon(endpoint.send, answer_head(MIB) + body)
        assert (await client.read_response()).body == body
        await expect_goes_on(client, endpoint)


async def test_a_body_whose_client_waits_to_be_told_passes_as_well() -> None:
    body = body_of(MIB)
    async with asked(post(MIB, b"Expect: 100-continue")) as (client, endpoint), trio.open_nursery() as nursery:
        assert (await endpoint.read_head()).values(b"Expect") == [b"100-continue"]
        await endpoint.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await client.read_head()).status == 100
        nursery.start_soon(client.send, body)
        assert digest(await endpoint.read_exactly(MIB)) == digest(body)
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


async def test_a_request_pipelined_behind_a_large_body_is_not_taken_for_it() -> None:
    body = body_of(MIB)
    async with asked(post(MIB)) as (client, endpoint), trio.open_nursery() as nursery:
        await endpoint.read_head()
        nursery.start_soon(client.send, body + get())
        assert await endpoint.read_exactly(MIB) == body
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"
        assert (await endpoint.read_request()).head.first_line == b"GET / HTTP/1.1"
        await endpoint.send(OK)
        assert (await client.read_response()).body == b"ok"


async def test_an_http_1_0_client_gets_the_same_bytes() -> None:
    body = body_of(MIB + 1)
    async with asked(post(len(body), version=b"HTTP/1.0")) as (client, endpoint), trio.open_nursery() as nursery:
        await endpoint.read_head()
        nursery.start_soon(client.send, body)
        assert await endpoint.read_exactly(len(body)) == body
        nursery.start_soon(endpoint.send, answer_head(len(body)) + body)
        assert (await client.read_head()).values(b"Connection") == [b"close"]
        assert digest(await client.read_to_end()) == digest(body)


async def test_a_client_of_tls_gets_the_same_bytes(tmp_path: Path) -> None:
    files = make_tls_files(tmp_path)
    body = body_of(MIB + 1)
    with scripted_endpoint() as pod:
        async with (
            running_golb(pod.authority, **files.variables) as golb,
            await golb.connect(files.client_context("http/1.1")) as client,
            trio.open_nursery() as nursery,
        ):
            await client.send(post(len(body)))
            async with await pod.accept() as endpoint:
                await endpoint.read_head()
                nursery.start_soon(client.send, body)
                assert digest(await endpoint.read_exactly(len(body))) == digest(body)
                nursery.start_soon(endpoint.send, answer_head(len(body)) + body)
                assert digest((await client.read_response()).body) == digest(body)
                await expect_goes_on(client, endpoint)


async def test_an_answer_to_head_with_a_large_length_has_no_body() -> None:
    async with asked(get(b"HEAD")) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer_head(5 * MIB))
        response = await client.read_response(to=b"HEAD")
        assert response.head.values(b"Content-Length") == [b"%d" % (5 * MIB)]
        await expect_goes_on(client, endpoint)


async def test_bytes_behind_a_large_answer_reach_nobody() -> None:
    body = body_of(MIB)
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(get())
            async with await pod.accept() as endpoint, trio.open_nursery() as nursery:
                await endpoint.read_request()
                nursery.start_soon(endpoint.send, answer_head(MIB) + body + b"evil")
                assert digest((await client.read_response()).body) == digest(body)
            await client.send(get())
            async with await pod.accept() as endpoint:
                await expect_answered(client, endpoint)


async def expect_answered(client: Wire, endpoint: Wire) -> None:
    await endpoint.read_request()
    await endpoint.send(OK)
    assert (await client.read_response()).body == b"ok"


# Bodies that break off.


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_an_answer_that_breaks_off_is_never_whole(way: str) -> None:
    async with asked(get()) as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer_head(MIB) + bytes(200_000))
        await client.read_head()
        assert await client.read_exactly(150_000) == bytes(150_000)
        await getattr(endpoint, way)()
        assert await rest_of(client) <= 50_000


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_goes_away_in_its_body_cancels_its_call(way: str) -> None:
    async with asked(post(MIB)) as (client, endpoint):
        await endpoint.read_head()
        await client.send(bytes(200_000))
        assert await endpoint.read_exactly(150_000) == bytes(150_000)
        await getattr(client, way)()
        assert await rest_of(endpoint) <= 50_000


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_goes_away_in_an_answer_cancels_its_call(way: str) -> None:
    async with asked(get()) as (client, endpoint), trio.open_nursery() as nursery:
        await endpoint.read_request()
        nursery.start_soon(endpoint.send_until_broken, answer_head(1 << 40) + bytes(MIB))
        await client.read_head()
        await client.read_exactly(PIPED)
        await getattr(client, way)()


async def test_calls_that_break_off_leave_no_descriptors_behind() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as steady:

            async def whole() -> None:
                """Let large bodies pass both ways, so that a pipe is kept."""
                async with await pod.accept() as endpoint, trio.open_nursery() as nursery:
                    await endpoint.read_head()
                    nursery.start_soon(steady.send, body_of(MIB))
                    assert await endpoint.read_exactly(MIB) == body_of(MIB)
                    nursery.start_soon(endpoint.send, answer_head(MIB) + body_of(MIB))
                    assert (await steady.read_response()).body == body_of(MIB)
                await trio.testing.wait_all_tasks_blocked()

            await steady.send(post(MIB))
            await whole()
            before = descriptors()
            for kind in ("upload", "download", "cut") * 4:
                async with await golb.connect() as client:
                    await client.send(post(MIB) if kind == "upload" else get())
                    async with await pod.accept() as endpoint:
                        await endpoint.read_head()
                        if kind == "upload":
                            await client.send(bytes(300_000))
                            await endpoint.read_exactly(100_000)
                        else:
                            await endpoint.send(answer_head(MIB) + bytes(300_000))
                            await client.read_head()
                            await client.read_exactly(100_000)
                        if kind == "cut":
                            await endpoint.reset()
                            assert await rest_of(client) <= 200_000
                        else:
                            await client.reset()
                            await rest_of(endpoint)
            await steady.send(post(MIB))
            await whole()
            assert descriptors() == before


# Early answers.


@pytest.mark.parametrize("length", [600_000, 40 * MIB])
async def test_an_answer_that_comes_early_is_passed_on_and_ends_the_endpoints_connection(length: int) -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(post(length))
            async with await pod.accept() as endpoint, trio.open_nursery() as nursery:
                await endpoint.read_head()
                await client.send(bytes(200_000))
                await endpoint.read_exactly(200_000)
                await endpoint.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
                response = await client.read_response()
                assert (response.status, response.body) == (413, b"no")
                await rest_of(endpoint)
                if length > MIB:  # so much is not read for the sake of the connection
                    nursery.start_soon(client.send_until_broken, bytes(PIPED))
                    await rest_of(client)
                    return
                await client.send(bytes(length - 200_000))
            await client.send(get())
            async with await pod.accept() as endpoint:
                await expect_answered(client, endpoint)


# Who stalls.


async def test_an_answer_that_is_cut_off_while_the_body_is_sent_does_not_look_whole() -> None:
    # The upload may meet the reset first, and the kernel tells of it once.
    for _ in range(10):
        async with asked(post(1 << 30)) as (client, endpoint):
            await endpoint.read_head()
            await endpoint.send(b"HTTP/1.1 200 OK\r\n\r\npart")
            await client.read_head()
            assert await client.read_chunk() == b"part"
            chunks: list[bytes] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_until_broken, bytes(MIB))
                await trio.testing.wait_all_tasks_blocked()
                await endpoint.reset()
                with suppress(EOFError, trio.BrokenResourceError):
                    chunks.append(await client.read_chunk())
                nursery.cancel_scope.cancel()
            assert chunks == []


async def test_a_client_that_stalls_in_its_body_is_given_up() -> None:
    async with asked(post(MIB), client_idle_timeout="200ms") as (client, endpoint):
        await endpoint.read_head()
        await client.send(bytes(200_000))
        assert await endpoint.read_exactly(200_000) == bytes(200_000)
        assert await rest_of(endpoint) == 0
        assert (await client.read_response()).status == 408
        assert await rest_of(client) == 0


async def test_a_client_that_does_not_read_an_answer_is_given_up() -> None:
    async with asked(get(), client_idle_timeout="200ms") as (_, endpoint):
        await endpoint.read_request()
        await endpoint.send_until_broken(answer_head(1 << 40) + bytes(MIB))


async def test_an_endpoint_that_stalls_in_its_answer_is_given_up() -> None:
    async with asked(get(), response_timeout="200ms") as (client, endpoint):
        await endpoint.read_request()
        await endpoint.send(answer_head(MIB) + bytes(200_000))
        await client.read_head()
        assert await rest_of(client) == 200_000
        assert await rest_of(endpoint) == 0


async def test_an_endpoint_that_does_not_read_a_body_gets_504() -> None:
    async with asked(post(1 << 40), response_timeout="200ms") as (client, endpoint), trio.open_nursery() as nursery:
        await endpoint.read_head()
        nursery.start_soon(client.send_until_broken, bytes(MIB))
        assert (await client.read_head()).status == 504
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_body_may_take_long_if_it_never_stalls(way: str) -> None:
    pieces = [bytes([index]) * 30_000 for index in range(6)]
    length = 30_000 * len(pieces)
    timeouts = {"client_idle_timeout": "250ms", "response_timeout": "250ms"}
    async with asked(post(length) if way == "up" else get(), **timeouts) as (client, endpoint):
        await endpoint.read_head()
        if way == "down":
            await endpoint.send(answer_head(length))
            await client.read_head()
        source, target = (client, endpoint) if way == "up" else (endpoint, client)
        for piece in pieces:
            await trio.sleep(0.1)  # the timeout is what is tested
            await source.send(piece)
            assert await target.read_exactly(len(piece)) == piece
        if way == "up":
            await endpoint.send(OK)
            assert (await client.read_response()).body == b"ok"
        await expect_goes_on(client, endpoint)


# No pipe to have.


async def test_without_descriptors_for_a_pipe_bodies_are_copied(tmp_path: Path) -> None:
    body = body_of(2 * MIB + 5)
    weights = tmp_path / "weights.json"
    with scripted_endpoint() as pod:
        weights.write_text(json.dumps({"f": {"ips": [pod.authority], "weights": [1]}}))
        with GolbProcess(weight_updater="file", weights_file=str(weights)) as golb, trio.fail_after(20):
            async with await connect(golb.port) as client:
                await client.send(get())
                async with await pod.accept() as endpoint:
                    await expect_answered(client, endpoint)
                    folder = Path(f"/proc/{golb.pid}/fd")
                    before = _fifos(folder)
                    soft, hard = resource.prlimit(golb.pid, resource.RLIMIT_NOFILE)
                    # The lowest number that is free: from there on a pipe, which needs two, cannot be had.
                    limit = _lowest_free(folder) + 1
                    for allowed, opened in ((limit, 0), (soft, 2)):
                        resource.prlimit(golb.pid, resource.RLIMIT_NOFILE, (allowed, hard))
                        await _pass_both_ways(client, endpoint, body)
                        assert _fifos(folder) - before == opened
            assert not any("exception" in line for line in golb.log())


async def _pass_both_ways(client: Wire, endpoint: Wire, body: bytes) -> None:
    async with trio.open_nursery() as nursery:
        await client.send(post(len(body)))
        await endpoint.read_head()
        nursery.start_soon(client.send, body)
        assert digest(await endpoint.read_exactly(len(body))) == digest(body)
        nursery.start_soon(endpoint.send, answer_head(len(body)) + body)
        assert digest((await client.read_response()).body) == digest(body)


def _lowest_free(folder: Path) -> int:
    used = {int(path.name) for path in folder.iterdir()}
    return next(number for number in range(len(used) + 1) if number not in used)


def _fifos(folder: Path) -> int:
    return sum(path.is_fifo() for path in folder.iterdir())


# The connections themselves.


@contextmanager
def socket_to(peer: tuple[str, int]) -> Iterator[socket.socket]:
    """Find this process's own socket that is connected to an address."""
    for path in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if path.is_socket():
                sock = socket.socket(fileno=os.dup(int(path.name)))
                with sock:
                    if sock.family == socket.AF_INET and sock.getpeername() == peer:
                        yield sock
                        return
    raise AssertionError(f"no socket is connected to {peer}")


async def test_both_connections_find_out_a_peer_that_has_lost_its_power() -> None:
    async with asked(get()) as (client, endpoint):
        await endpoint.read_request()  # the kernel had completed the connection before golb looked at it
        for wire in (client, endpoint):
            assert isinstance(wire.stream, trio.SocketStream)
            with socket_to(wire.stream.socket.getsockname()) as sock:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 15, 4]


class FailingStream:
    """A stream that fails, once it is kept, between being taken and being written to; by the last of the endpoint's sockets."""

    def __init__(self, stream: EndpointStream, endpoint_sides: list[socket.socket]) -> None:
        self._stream = stream
        self._endpoint_sides = endpoint_sides

    def has_input(self) -> bool:
        has_input = self._stream.has_input()
        reset(self._endpoint_sides.pop())
        return has_input

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()


async def test_a_post_of_which_nothing_has_left_is_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with running_golb() as golb, trio.open_nursery() as nursery:
            connect = golb.upstream.open_stream
            endpoint_sides: list[socket.socket] = []

            async def connect_to_fail(endpoint: Endpoint) -> EndpointStream:
                return cast("EndpointStream", FailingStream(await connect(endpoint), endpoint_sides))

            golb.upstream.open_stream = connect_to_fail
            pool = golb.upstream.open(parse_endpoint(f"127.0.0.1:{listener.getsockname()[1]}"))
            listener.setblocking(False)
            accepting = trio.socket.from_stdlib_socket(listener)
            answered: list[Event] = []
            nursery.start_soon(golb.upstream.forward, pool, a_call(answered, b"first"))
            for expected in (b"first", b"second"):
                if expected == b"second":
                    nursery.start_soon(golb.upstream.forward, pool, a_call(answered, b"second"))
                peer, _ = await accepting.accept()
                endpoint_sides.append(socket.socket(fileno=os.dup(peer.fileno())))
                assert (await peer.recv(1000)).endswith(b"\r\n\r\n" + expected)
                await peer.send(OK)
                peer.close()
                while len(answered) < 2:
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                assert [event.get("body") for event in answered] == [None, b"ok"]
                answered.clear()
            endpoint_sides.pop().close()
            pool.close()


def a_call(answered: list[Event], body: bytes) -> Call:
    async def receive() -> Event:
        return await trio.sleep_forever()

    async def send(event: Event) -> None:
        answered.append(event)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    call = Call("POST", [], receive, send, {})
    call.head, call.body = head, body
    return call


async def test_a_client_that_cannot_be_watched_costs_its_own_call_only() -> None:
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            pool = golb.upstream.open(parse_endpoint(pod.authority))
            answered: list[Event] = []

            async def receive() -> Event:
                await trio.lowlevel.checkpoint()
                raise LookupError("a server's own failure")

            call = a_call(answered, b"")
            call.receive = receive
            with pytest.raises(ClientGone, match="could not be watched"):
                await golb.upstream.forward(pool, call)
            async with await pod.accept() as given_up:
                await given_up.read_request()
                assert await rest_of(given_up) == 0
            assert (answered, len(pool)) == ([], 0)
            await client.send(get())
            async with await pod.accept() as endpoint:
                await expect_answered(client, endpoint)

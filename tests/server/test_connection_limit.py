"""More clients than golb has places or descriptors for: who waits, who gives way, and that all are served."""

from __future__ import annotations

import errno
import json
import resource
import time
from typing import TYPE_CHECKING

import pytest
import trio
from support.client import Client
from support.endpoint import scripted_endpoint
from support.golb_process import GolbProcess
from support.http2 import connect_http2
from support.pods import run_pods
from support.stack import make_config, running_server, settle
from support.tls import make_tls_files

from golb.deadlines import Deadlines
from golb.pipes import _DESCRIPTORS_FOR_EACH, _MAX_PIPES
from golb.poller import Poller
from golb.server import Server
from golb.server.admission import MOST_BY_DEFAULT, connection_limit

if TYPE_CHECKING:
    from pathlib import Path

    from support.wire import Wire

    from golb.asgi import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = [(b"content-length", b"2")]


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": OK})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(client: Wire) -> list[bytes]:
    """Make a request, and return what its answer says of the connection."""
    await client.send(GET)
    response = await client.read_response()
    assert (response.status, response.body) == (200, b"ok")
    return response.head.values(b"Connection")


def weights_file(folder: Path, *ips: str) -> str:
    path = folder / "weights.json"
    path.write_text(json.dumps({"f": {"ips": ips, "weights": [1] * len(ips)}}))
    return str(path)


# How many there may be.


@pytest.mark.parametrize(
    ("wanted", "descriptors", "limit"),
    [
        (0, 256, 96),
        (0, 1024, 432),
        (0, 20_000, 9784),
        (0, 1 << 20, MOST_BY_DEFAULT),
        (50, 256, 50),
        (700, 1024, 700),
        (5000, 1024, 864),
        (100_000, 1 << 20, 100_000),
        (0, 30, 1),
        (10, 30, 1),
    ],
)
def test_the_limit_follows_from_the_descriptors(wanted: int, descriptors: int, limit: int) -> None:
    assert connection_limit(wanted, descriptors) == limit


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 4096, 65536])
def test_each_client_has_a_descriptor_for_an_endpoint_and_pipes_have_theirs(descriptors: int) -> None:
    pipes = 2 * min(descriptors // _DESCRIPTORS_FOR_EACH, _MAX_PIPES)
    assert 2 * connection_limit(0, descriptors) + pipes <= descriptors - 32


# Who gives way.


async def test_the_connection_that_has_been_idle_for_longest_gives_way() -> None:
    async with (
        running_server(answer_ok, max_connections="2") as running,
        await running.connect() as first,
        await running.connect() as second,
    ):
        for client in (second, first, second):
            assert await ask(client) == []
        async with await running.connect() as third:
            assert await ask(third) == []
            assert await first.read_to_end() == b""
            assert await ask(second) == []
        admission = running.server.admission
        assert (admission.accepted, admission.delayed, admission.closed_for_room) == (3, 1, 1)


async def test_clients_that_say_nothing_or_go_on_for_ever_give_way_before_those_that_were_served() -> None:
    async with (
        running_server(answer_ok, max_connections="3") as running,
        await running.connect() as served,
        await running.connect() as silent,
        await running.connect() as trickling,
    ):
        assert await ask(served) == []
        await trickling.send(GET[:-2])
        await trio.sleep(1.1)  # by then they are not just slow
        async with await running.connect() as third:
            assert await ask(third) == []
            assert await silent.read_to_end() == b""
            async with await running.connect() as fourth:
                assert await ask(fourth) == []
                assert (await trickling.read_response()).status == 408
        assert await ask(served) == []
        assert running.server.admission.closed_for_room == 2


async def test_a_client_that_does_not_complete_its_handshake_gives_way(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with (
        running_server(answer_ok, max_connections="1", **tls.variables) as running,
        await running.connect() as silent,
    ):
        await silent.send(b"\x16")
        await trio.sleep(1.1)  # by then it is not just slow
        async with await running.connect(tls.client_context()) as second:
            assert await ask(second) == []
        assert await silent.read_to_end() == b""
        assert running.server.admission.closed_for_room == 1


async def test_an_idle_connection_of_http2_gives_way_and_is_told(tmp_path: Path) -> None:
    tls = make_tls_files(tmp_path)
    async with running_server(answer_ok, max_connections="1", **tls.variables) as running:
        first = await connect_http2(running.port, tls.client_context("h2"))
        assert (await first.answer(await first.request())).body == b"ok"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.read_to_end)
            async with await running.connect(tls.client_context()) as second:
                assert await ask(second) == []
        assert first.terminated
        assert running.server.admission.closed_for_room == 1
        await trio.aclose_forcefully(first.stream)


async def test_a_connection_with_a_request_does_not_give_way_but_its_answer_is_its_last() -> None:
    may_answer = trio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await may_answer.wait()
        await answer_ok(scope, receive, send)

    async with (
        running_server(application, max_connections="1") as running,
        await running.connect() as first,
        trio.open_nursery() as nursery,
    ):
        admission = running.server.admission
        answers: list[list[bytes]] = []

        async def ask_and_leave(client: Wire) -> None:
            answers.append(await ask(client))
            await client.close()

        nursery.start_soon(ask_and_leave, first)
        while not admission.open:
            await trio.lowlevel.checkpoint()
        second = await running.connect()
        nursery.start_soon(ask_and_leave, second)
        while not admission.delayed:
            await trio.lowlevel.checkpoint()
        assert (admission.open, answers) == (1, [])
        may_answer.set()
        while len(answers) < 2:
            await trio.lowlevel.checkpoint()
        assert answers == [[b"close"], []]  # nobody waited any more when the second one was answered
        assert admission.closed_for_room == 0


async def test_a_request_that_has_come_is_answered_by_a_connection_that_gives_way() -> None:
    async with running_server(answer_ok, max_connections="1") as running, await running.connect() as first:
        assert await ask(first) == []
        admission = running.server.admission
        async with await running.connect() as second:
            while not admission.delayed:
                await trio.lowlevel.checkpoint()
            assert await ask(first) == [b"close"]
            await first.close()
            assert await ask(second) == []


async def test_clients_are_served_in_turn_however_many_stay_connected() -> None:
    async with running_server(answer_ok, max_connections="4") as running:
        served: list[int] = []

        async def call_and_stay(number: int) -> None:
            async with await running.connect() as client:
                await ask(client)
                served.append(number)
                await client.read_to_end()

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(call_and_stay, number)
            while len(served) < 40:
                await settle()
                assert running.server.admission.open <= 4
            nursery.cancel_scope.cancel()


# Without a descriptor.


async def test_what_holds_a_descriptor_and_is_not_used_gives_way_when_none_is_left_to_accept_with() -> None:
    unused = ["one"]

    def make_room() -> bool:
        return bool(unused) and bool(unused.pop())

    deadlines = Deadlines()
    server = Server(make_config(), answer_ok, Poller(), deadlines, make_room=make_room)
    failure = OSError(errno.EMFILE, "Too many open files")
    with trio.fail_after(5):
        await server.admission.recover(failure, 60.0)
        assert unused == []
        with trio.move_on_after(0.05) as pause:
            await server.admission.recover(failure, 60.0)
        assert pause.cancelled_caught


def use_up_descriptors(golb: GolbProcess, left: int) -> None:
    """Let golb have no more descriptors than it has, and a few."""
    _, hard = resource.prlimit(golb.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(golb.pid, resource.RLIMIT_NOFILE, (golb.descriptors() + left, hard))


async def test_clients_are_served_in_turn_though_descriptors_run_out(tmp_path: Path) -> None:
    async with run_pods(1) as pods:
        golb = GolbProcess(weight_updater="file", weights_file=weights_file(tmp_path, pods[0].ip))
        with golb, trio.fail_after(20):
            use_up_descriptors(golb, left=8)
            clients = []
            for _ in range(20):
                clients.append(await Client.connect(golb.port))
                assert (await clients[-1].call("/function/f")).status == 200
            for client in clients:
                await client.aclose()
            warnings = [line for line in golb.log() if line["message"] == "cannot accept"]
            assert [line["cause"] for line in warnings] == ["Too many open files"]


# As a process.


async def test_a_thousand_clients_are_served_with_256_descriptors(tmp_path: Path) -> None:
    async with run_pods(1) as pods:
        variables = {"weight_updater": "file", "weights_file": weights_file(tmp_path, pods[0].ip)}
        with GolbProcess(256, **variables) as golb, trio.fail_after(60):
            began_cpu_s = golb.cpu_s()
            served = 0

            async def call_twice() -> None:
                nonlocal served
                client: Client | None = None
                left = 2
                while left:
                    client = client or await Client.connect(golb.port)
                    try:
                        response = await client.call("/function/f")
                    except (AssertionError, trio.BrokenResourceError):
                        # It was idle for too long, and its request crossed the end on the way: any client asks again.
                        await client.aclose()
                        client = None
                        continue
                    assert response.status == 200
                    served += 1
                    left -= 1
                    if response.values("Connection") == ["close"]:
                        await client.aclose()
                        client = None
                if client is not None:
                    await client.aclose()

            async with trio.open_nursery() as nursery:
                for _ in range(1000):
                    nursery.start_soon(call_twice)
            assert served == 2000
            assert golb.cpu_s() - began_cpu_s < 10  # some 1.2 s
            assert golb.descriptors() <= 256
            told = [line for line in golb.log() if line["level"] == "warning"]
            assert {line["message"] for line in told} == {"connection limit reached"}
            assert {(line["limit"], line["variable"]) for line in told} == {(96, "eb_go_lb_max_connections")}
            assert golb.stop() == 0


async def test_golb_rests_while_clients_wait_for_a_place(tmp_path: Path) -> None:
    with scripted_endpoint() as pod:
        variables = {"weight_updater": "file", "weights_file": weights_file(tmp_path, pod.authority)}
        with GolbProcess(max_connections=2, drain_timeout=0, **variables) as golb, trio.fail_after(20):
            clients = [await trio.open_tcp_stream("127.0.0.1", golb.port) for _ in range(20)]
            for client in clients:
                await client.send_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n")
            calls = [await pod.accept() for _ in range(2)]
            while not any(line["message"] == "connection limit reached" for line in golb.log()):  # noqa: ASYNC110 - of another process
                await trio.sleep(0.01)
            began_s, began_cpu_s = time.monotonic(), golb.cpu_s()
            await trio.sleep(0.5)
            assert golb.cpu_s() - began_cpu_s < 0.4 * (time.monotonic() - began_s)
            assert golb.stop() == 0
            for stream in (*clients, *(call.stream for call in calls)):
                await trio.aclose_forcefully(stream)


@pytest.fixture
def descriptors(request: pytest.FixtureRequest) -> int:
    """Return the hard limit, where it is enough and the test is asked for; a skip within an async test loses its reason."""
    if not request.config.option.markexpr:
        pytest.skip("takes a minute: for who asks for it by -m slow")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 10_500:
        pytest.skip(f"the hard limit for descriptors is {hard}; 10,500 are needed")
    return hard


@pytest.mark.slow
async def test_ten_thousand_idle_connections_are_held(tmp_path: Path, descriptors: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    async with run_pods(1) as pods:
        variables = {"weight_updater": "file", "weights_file": weights_file(tmp_path, pods[0].ip)}
        golb = GolbProcess(max_connections=10_000, keep_alive_timeout=0, request_header_timeout=0, **variables)
        with golb, trio.fail_after(300):
            bytes_before = golb.resident_bytes()
            clients: list[Client] = []

            async def connect_and_call() -> None:
                for _ in range(100):
                    client = await Client.connect(golb.port)
                    clients.append(client)
                    assert (await client.call("/function/f")).status == 200

            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(connect_and_call)
            each_bytes = (golb.resident_bytes() - bytes_before) / len(clients)
            assert each_bytes < 20_000, f"{each_bytes:.0f} bytes a connection"
            began_cpu_s = golb.cpu_s()
            await trio.sleep(2)
            assert golb.cpu_s() - began_cpu_s < 0.5
            for client in clients[::50]:
                assert (await client.call("/function/f")).status == 200
            assert golb.descriptors() > 10_000
            for client in clients:
                await client.aclose()

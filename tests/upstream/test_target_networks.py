"""golb connects where the table says, where it may, and nowhere else.

Each forbidden place has a trap: a listening socket that golb must have left alone. Connections to 127.0.0.2 need nothing
but Linux, whose loopback has all of 127.0.0.0/8; and 0.0.0.0 is this machine, as far as a connection goes.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import define, field
from support.endpoint import scripted_endpoint
from support.pods import run_pods
from support.stack import running_golb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import RunningGolb
    from support.wire import Message

GET = b"GET /function/f HTTP/1.1\r\nHost: golb\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ELSEWHERE = "127.0.0.2"


class Trap:
    """A place where nobody is to come. The kernel completes connections by itself, and keeps them until they are counted."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"

    def visitors(self) -> int:
        """Return how many connections have come since the last look."""
        count = 0
        while True:
            try:
                self._listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def trap(host: str = "127.0.0.1", port: int = 0) -> Iterator[Trap]:
    with socket.create_server((host, port)) as listener:
        listener.setblocking(False)
        yield Trap(listener)


@pytest.fixture(name="trap")
def _trap() -> Iterator[Trap]:
    with trap() as found:
        yield found


@define(eq=False)
class Resolver(trio.abc.HostnameResolver):
    """Resolves any name to what the test says, and something else each time if the test says so."""

    answers: list[list[str]]
    """The addresses for the first question, for the next, and so on."""
    questions: list[str] = field(factory=list)

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> list[Any]:
        assert not kwargs
        host, port, *_ = args
        self.questions.append(host if isinstance(host, str) else host.decode())
        addresses = self.answers[len(self.questions) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@contextmanager
def resolving(*answers: list[str]) -> Iterator[Resolver]:
    """Answer questions for the addresses of names in this run of Trio."""
    resolver = Resolver(list(answers))
    trio.socket.set_custom_hostname_resolver(resolver)
    try:
        yield resolver
    finally:
        trio.socket.set_custom_hostname_resolver(None)


async def call(golb: RunningGolb) -> Message:
    async with await golb.connect() as client:
        await client.send(GET)
        return await client.read_response()


# Where golb may connect to


async def test_an_address_that_came_past_all_checks_of_the_table_is_not_connected_to(trap: Trap) -> None:
    # As an updater of another package may publish it.
    async with running_golb(f"0.0.0.0:{trap.port}") as golb:
        response = await call(golb)
    assert response.status == 502
    assert response.body.endswith(
        b"cannot connect: 0.0.0.0 is unspecified, and eb_go_lb_target_networks does not list it\n"
    )
    assert trap.visitors() == 0


async def test_an_address_that_is_listed_is_connected_to_whatever_it_is() -> None:
    async with run_pods(1) as pods:
        async with running_golb(pods[0].ip.replace("127.0.0.1", "0.0.0.0"), target_networks="0.0.0.0") as golb:
            assert (await call(golb)).status == 200
        assert pods[0].calls == 1


@pytest.mark.parametrize("host", [ELSEWHERE, f"[::ffff:{ELSEWHERE}]", "0x7f000002", "0177.0.0.0x2"])
async def test_an_address_outside_the_networks_listed_is_not_connected_to_however_it_is_written(host: str) -> None:
    with trap(ELSEWHERE) as there:
        async with running_golb(f"{host}:{there.port}", target_networks="127.0.0.1") as golb:
            response = await call(golb)
        assert response.status == 502
        assert response.body.endswith(b"cannot connect: 127.0.0.2 lies in no network of eb_go_lb_target_networks\n")
        assert there.visitors() == 0


async def test_the_same_trap_is_fallen_into_where_golb_may_go_there() -> None:
    with trap(ELSEWHERE) as there:
        async with running_golb(f"0x7f000002:{there.port}", response_timeout="50ms") as golb:
            assert (await call(golb)).status == 504
        assert there.visitors() > 0


async def test_of_the_addresses_of_a_name_only_those_that_may_be_are_tried() -> None:
    async with run_pods(1) as pods:
        port = int(pods[0].ip.partition(":")[2])
        with trap(ELSEWHERE, port) as there, resolving([ELSEWHERE, "127.0.0.1"]) as resolver:
            async with running_golb(f"pod.example:{port}", target_networks="127.0.0.1") as golb:
                assert (await call(golb)).status == 200
            assert there.visitors() == 0
    assert resolver.questions == ["pod.example"]


async def test_a_name_that_leads_to_the_metadata_of_a_cloud_is_not_followed() -> None:
    with resolving(["169.254.169.254"]):
        async with running_golb("metadata.google.internal:80") as golb:
            response = await call(golb)
    assert response.status == 502
    assert response.head.values(b"X-Final-Host") == [b"metadata.google.internal:80"]
    assert response.body.endswith(
        b"cannot connect: 169.254.169.254 is link-local, and eb_go_lb_target_networks does not list it\n"
    )


async def test_where_the_addresses_that_may_be_do_not_answer_that_is_what_is_said() -> None:
    with socket.socket() as nobody, resolving(["127.0.0.1", "169.254.169.254"]):
        nobody.bind(("127.0.0.1", 0))
        async with running_golb(f"pod.example:{nobody.getsockname()[1]}") as golb:
            response = await call(golb)
    assert response.body.endswith(b"cannot connect: Connection refused\n")


async def test_a_name_is_judged_anew_for_each_connection_and_asked_for_once() -> None:
    async with run_pods(1) as pods:
        port = int(pods[0].ip.partition(":")[2])
        with trap(ELSEWHERE, port) as there, resolving(["127.0.0.1"], [ELSEWHERE]) as resolver:
            async with running_golb(f"pod.example:{port}", target_networks="127.0.0.1", upstream_max_idle="1") as golb:
                for _ in range(5):
                    assert (await call(golb)).status == 200
                assert len(resolver.questions) == 1  # one connection, judged once
                golb.put_weights({})  # closes it
                golb.put_weights({f"pod.example:{port}": 1})
                assert (await call(golb)).status == 502
            assert there.visitors() == 0
    # Where a connection goes to is what was judged: nobody asks between the two.
    assert len(resolver.questions) == 2


# What a request, or an answer, says of other places


def requests(elsewhere: bytes) -> Iterator[bytes]:
    """Yield requests that name another place in all the ways that some proxy, somewhere, goes by."""
    for target in (
        b"http://%b/function/f",
        b"http://%b/",
        b"http://user@%b/function/f",
        b"http://golb@%b/function/f",
        b"//%b/function/f",
        b"///%b/function/f",
        b"/function/f@%b/",
        b"/function/@%b",
        b"/function/%b",
        b"/function/%b/",
        b"/function/http://%b/",
        b"/function/f/http://%b/",
        b"/function/f/..//%b",
        b"/function/f//%b/",
        b"/function/f:@%b/",
        b"/function/f?url=http://%b/",
        b"/function/f?host=%b",
        b"/function/f;http://%b/",
        b"/function/f%%2F..%%2F..%%2F%b",
        b"/function/f%%00%b",
        b"%b/function/f",
        b"gopher://%b/function/f",
        b"ws://%b/function/f",
    ):
        yield b"GET " + target % elsewhere + b" HTTP/1.1\r\nHost: golb\r\n\r\n"
    for host in (b"%b", b"golb@%b", b"%b:80", b"golb, %b", b"golb/%b", b"http://%b", b"golb %b"):
        yield b"GET /function/f HTTP/1.1\r\nHost: " + host % elsewhere + b"\r\n\r\n"
    for name in (
        b"X-Final-Host",
        b"X-Forwarded-Host",
        b"X-Forwarded-Host-Eb-B",
        b"X-Forwarded-For",
        b"X-Forwarded-Server",
        b"X-Real-Ip",
        b"X-Original-Url",
        b"X-Original-Host",
        b"X-Rewrite-Url",
        b"X-Host",
        b"X-Http-Host-Override",
        b"X-Envoy-Original-Dst-Host",
        b"X-Accel-Redirect",
        b"X-Sendfile",
        b"Forwarded",
        b"Via",
        b"Referer",
        b"Origin",
        b"Destination",
        b"Proxy",
        b"Alt-Used",
        b"Callback",
    ):
        for value in (b"%b", b"http://%b/", b"host=%b;for=%b"):
            shown = value.replace(b"%b", elsewhere)
            yield b"GET /function/f HTTP/1.1\r\nHost: golb\r\n" + name + b": " + shown + b"\r\n\r\n"
    yield (
        b"GET /function/f HTTP/1.1\r\nHost: golb\r\nConnection: X-Final-Host, Host\r\nX-Final-Host: %b\r\n\r\n"
        % elsewhere
    )
    yield b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (elsewhere, elsewhere)
    yield b"OPTIONS http://%b HTTP/1.1\r\nHost: golb\r\n\r\n" % elsewhere
    yield b"TRACE http://%b/function/f HTTP/1.1\r\nHost: golb\r\n\r\n" % elsewhere
    yield b"GET http://%b/function/f HTTP/1.0\r\n\r\n" % elsewhere
    upgrade = b"Connection: Upgrade\r\nUpgrade: connect-udp\r\n"
    yield b"GET /function/f HTTP/1.1\r\nHost: %b\r\n" % elsewhere + upgrade + b"\r\n"
    posted = b"http://%b/" % elsewhere
    yield b"POST /function/f HTTP/1.1\r\nHost: golb\r\nContent-Length: %d\r\n\r\n%b" % (len(posted), posted)


@pytest.mark.parametrize("network", ["", "127.0.0.0/8"])
async def test_no_request_names_a_target(trap: Trap, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://{trap.authority}")
    statuses = set()
    async with run_pods(1) as pods:
        async with running_golb(pods[0].ip, target_networks=network) as golb:
            for request in requests(trap.authority.encode()):
                async with await golb.connect() as client:
                    await client.send(request)
                    response = await client.read_response()
                statuses.add(response.status)
                # The function's only endpoint answers, or golb itself.
                assert response.head.values(b"X-Final-Host") in ([pods[0].ip.encode()], [b""], []), request
                assert trap.visitors() == 0, request
        assert pods[0].calls > 50
    assert trap.visitors() == 0
    assert statuses == {200, 400, 404, 501}


@pytest.mark.parametrize(
    "head",
    [
        b"301 Moved\r\nLocation: http://%b/",
        b"302 Found\r\nLocation: //%b/function/f",
        b"305 Use Proxy\r\nLocation: http://%b/",
        b"307 Temporary Redirect\r\nLocation: http://%b/",
        b"308 Permanent Redirect\r\nLocation: http://%b/",
        b"401 Unauthorized\r\nWWW-Authenticate: Basic realm=http://%b/",
        b"407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=http://%b/",
        b"421 Misdirected Request\r\nAlt-Svc: h2=%b",
        b"200 OK\r\nX-Accel-Redirect: http://%b/",
        b"200 OK\r\nX-Final-Host: %b",
        b"200 OK\r\nRefresh: 0; url=http://%b/",
        b'200 OK\r\nLink: <http://%b/>; rel="preload"',
        b"503 Service Unavailable\r\nRetry-After: 0\r\nContent-Location: http://%b/",
    ],
)
async def test_no_answer_names_a_target(trap: Trap, head: bytes) -> None:
    answer = b"HTTP/1.1 " + head % trap.authority.encode() + b"\r\nContent-Length: 2\r\n\r\nok"
    with scripted_endpoint() as pod:
        async with running_golb(pod.authority) as golb, await golb.connect() as client:
            await client.send(GET)
            async with await pod.accept() as endpoint:
                await endpoint.read_request()
                await endpoint.send(answer)
                response = await client.read_response()
    assert (response.status, response.body) == (int(head[:3]), b"ok")
    assert trap.visitors() == 0

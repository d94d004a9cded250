"""A running golb and endpoints that fail as the test says: each can refuse, hang, break off, and come back on its port."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from attrs import frozen
from support.stack import FUNCTION, RunningGolb, running_golb
from support.wire import Message, Wire, connect

from golb.weights import Weights, WeightUpdate, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from golb.handlers.places import Destination, Member, Places
    from golb.limits import Limits
    from golb.routes import Route

OTHER_FUNCTION = "g"

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ERROR = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"
MALFORMED = b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"
CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
# An endpoint of this weight beside some of weight 1 is asked first.
HEAVY = 10**15


def get(function: str = FUNCTION, *lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /function/%b HTTP/1.1" % function.encode(), b"Host: golb", *lines, b"", b""])


def post(function: str = FUNCTION, body: bytes = b"body") -> bytes:
    head = b"POST /function/%b HTTP/1.1\r\nHost: golb\r\nContent-Length: %d\r\n\r\n"
    return head % (function.encode(), len(body)) + body


class Endpoint:
    """One endpoint. It keeps its port while it refuses."""

    def __init__(self) -> None:
        self._reservation = _bound_socket(0)
        self.port: int = self._reservation.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"
        self.does = "answer"
        """What it does with a request: answer, error, hang, reset, close, malformed, cut off."""
        self.requests: list[Message] = []
        """All that have come, whole."""
        self.connections = 0
        """All there have been."""
        self.released = trio.Event()
        """Ends the wait of those that hang; they are answered."""
        self._changed = trio.lowlevel.ParkingLot()
        self._listening: trio.CancelScope | None = None

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept, until `refuse` or cancelled."""
        listener = trio.socket.from_stdlib_socket(_bound_socket(self.port))
        with listener, trio.CancelScope() as self._listening:
            listener.listen()
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    sock, _ = await listener.accept()
                    self.connections += 1
                    nursery.start_soon(self._serve_connection, trio.SocketStream(sock))

    def refuse(self) -> None:
        """Break off what is under way, and take no further connection."""
        assert self._listening is not None
        self._listening.cancel()

    async def called(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.requests) < count:
            await self._changed.park()

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            async with Wire(stream) as wire:
                while await self._serve_request(wire):
                    pass
        except (EOFError, trio.BrokenResourceError):
            pass  # golb has closed the connection

    async def _serve_request(self, wire: Wire) -> bool:
        self.requests.append(await wire.read_request())
        self._changed.unpark_all()
        if self.does == "hang":
            await self.released.wait()
        elif self.does == "reset":
            await wire.reset()
        elif self.does == "malformed":
            await wire.send(MALFORMED)
        elif self.does == "cut off":
            await wire.send(CUT_OFF)
        if self.does in ("answer", "error", "hang"):
            await wire.send(ERROR if self.does == "error" else OK)
            return True
        return False

    def close(self) -> None:
        self._reservation.close()


def _bound_socket(port: int) -> socket.socket:
    """Two sockets that do not listen may share a port; one that does takes all of its connections."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


@frozen
class Around:
    """A golb, and the endpoints around it."""

    golb: RunningGolb
    endpoints: list[Endpoint]
    nursery: trio.Nursery

    @property
    def places(self) -> Places:
        return self.golb.handler._places  # noqa: SLF001 - what the tests count

    def put(self, weights: Mapping[Endpoint, int], function: str = FUNCTION, limits: Limits | None = None) -> None:
        by_endpoint: dict[object, int | float] = {
            parse_endpoint(endpoint.authority): weight for endpoint, weight in weights.items()
        }
        parsed = Weights(by_endpoint) if limits is None else Weights(by_endpoint, limits)  # type: ignore[arg-type]
        self.golb.handler.handle_weight_update(WeightUpdate(function, parsed, revision=1))

    def delete(self, function: str = FUNCTION) -> None:
        self.golb.handler.handle_weight_update(WeightUpdate(function, None, revision=1))

    async def let_serve(self, endpoint: Endpoint) -> None:
        await self.nursery.start(endpoint.serve)

    async def call(self, data: bytes = b"") -> Message:
        """Make one call on a connection of its own."""
        async with await connect(self.golb.port) as client:
            await client.send(data or get())
            return await client.read_response()

    def route(self, function: str = FUNCTION) -> Route:
        route = self.places.routes.get(function.encode())
        assert route is not None
        return route

    def destination(self, endpoint: Endpoint, function: str = FUNCTION) -> Destination:
        return self.member(endpoint, function).destination

    def member(self, endpoint: Endpoint, function: str = FUNCTION) -> Member:
        """Return what stands for an endpoint in a function."""
        member: Member = self.route(function).endpoints[parse_endpoint(endpoint.authority)]
        return member

    def let_rest_be_over(self, endpoint: Endpoint) -> None:
        """Let the time come at which a request may try an endpoint that rests."""
        health = self.destination(endpoint).health
        assert health.is_resting
        health.due_s = health.ends_s = 0.0
        self.golb.upstream.resting.epoch += 1

    async def quiet(self) -> None:
        """Wait until nothing is under way and nobody waits, and check that nothing is left of it."""
        places, retries = self.places, self.golb.handler.retries
        await until(lambda: not (places.in_flight or places.queue.waiting or places.held.waiting))
        assert retries.in_use == 0
        for function in (FUNCTION, OTHER_FUNCTION):
            route = places.routes.get(function.encode())
            if route is not None:
                assert route.in_flight == 0
                assert [member.destination.in_flight for member in route.endpoints.values()] == [0] * len(
                    route.endpoints
                )
                assert [one.health.trials for one in route.endpoints.values()] == [0] * len(route.endpoints)


@asynccontextmanager
async def around_golb(count: int, refusing: int = 0, /, **variables: str) -> AsyncIterator[Around]:
    """Run a golb whose function `f` has so many endpoints, of which so many, the first ones, refuse and are asked first.

    A rest lasts longer than a test unless it says otherwise. At the end nothing must be left under way.
    """
    variables = {"rest_min": "30"} | variables
    endpoints = [Endpoint() for _ in range(count)]
    try:
        async with running_golb(**variables) as golb, trio.open_nursery() as nursery:
            around = Around(golb, endpoints, nursery)
            for endpoint in endpoints[refusing:]:
                await around.let_serve(endpoint)
            around.put({endpoint: HEAVY if index < refusing else 1 for index, endpoint in enumerate(endpoints)})
            try:
                yield around
                await around.quiet()
            finally:
                around.delete(OTHER_FUNCTION)  # closes the idle connections
            nursery.cancel_scope.cancel()
    finally:
        for endpoint in endpoints:
            endpoint.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what sets no Event, such as a counter of golb's."""
    while not is_so():  # noqa: ASYNC110 - see above
        await trio.sleep(0.001)


def final_host(response: Message) -> str:
    """Return which endpoint a response names; each of golb's headers must stand there once."""
    names = [name for name in response.head.names() if name.startswith(b"X-F")]
    assert names == [b"X-Final-Host", b"X-Forwarded-For", b"X-Forwarded-Host-Eb-A"]
    return response.head.values(b"X-Final-Host")[0].decode()

"""What goes on while etcd fails: an optimizer that rewrites weights, callers, and one who looks at what is served.

Each put has a number, and points the function `marker` at the one endpoint that stands for the number. So whoever is
answered by golb knows from `X-Final-Host` which put was in force: the newest that the endpoint can stand for.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from attrs import frozen
from support.client import Client, Response
from support.etcd_cluster import EtcdAway, EtcdRefused

from chaos.promises import Broken, Put, Sight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.etcd_cluster import EtcdCluster

PODS = 64
"""So many numbers in a row are told apart; the writer takes as many seconds."""

PUT_EVERY_S = 1.0
LOOK_EVERY_S = 0.04
# Between two moments at which nothing new was served, one is noted now and then: silence has to be checked too.
NOTE_EVERY_S = 0.25
PUT_TIMEOUT_S = 1.0
CALL_TIMEOUT_S = 5.0
_CALL_EVERY_S = 0.1
_CALLERS = 6


@frozen
class Truth:
    """What stands in etcd."""

    ips_by_function: dict[str, list[str]]
    number: int
    """Of the put that it is from; 0 if there is none."""
    revision: int


class Writer:
    """Puts three functions each second, straight to a member that runs: as golb's users do, plain puts and deletes.

    `marker` has one endpoint, another one each time; `steady` has three; `sometimes` is there with every second number.
    """

    def __init__(self, cluster: EtcdCluster, zone: str, pods: Sequence[str]) -> None:
        self.prefix = f"golb/function/{zone}/"
        self.puts: list[Put] = []
        """In the order of their numbers, which begin with 1."""
        self._cluster = cluster
        self._pods = pods
        self._busy = trio.Lock()
        self._released = trio.Event()
        self._released.set()

    async def run(self) -> None:
        """Put until cancelled."""
        due = trio.current_time()
        while True:
            await self._released.wait()
            await self.put_once()
            due = max(due + PUT_EVERY_S, trio.current_time())
            await trio.sleep_until(due)

    async def hold(self) -> None:
        """Put nothing from now on until `release`; returns when no put is under way.

        A member that is stopped with a put in its hands would carry it out when it goes on, after newer ones.
        """
        self._released = trio.Event()
        async with self._busy:
            pass

    def release(self) -> None:
        """Go on after `hold`."""
        self._released.set()

    @property
    def is_held(self) -> bool:
        """Whether `hold` was called, and `release` was not yet."""
        return not self._released.is_set()

    async def put_once(self) -> Put:
        """Put the next number; it is not acknowledged if etcd is away."""
        async with self._busy:
            put = Put(len(self.puts) + 1)
            self.puts.append(put)
            with suppress(EtcdAway, EtcdRefused):
                await self._put("steady", put.number, [self.endpoint_of(put.number + step) for step in (0, 21, 42)])
                if put.number % 2:
                    await self._put("sometimes", put.number, [self.endpoint_of(put.number)])
                else:
                    await self._cluster.delete(f"{self.prefix}sometimes", timeout_s=PUT_TIMEOUT_S)
                await self._put("marker", put.number, [self.endpoint_of(put.number)])
                put.acknowledged = time.time()
            return put

    async def put_lost(self) -> None:
        """Put the function `lost`, which is there until the store goes back to before it."""
        await self._put("lost", 0, [self.endpoint_of(0)])

    async def read(self) -> Truth:
        """Return what stands in etcd; linearizable.

        Raises:
            EtcdAway: no member answers.
        """
        values, revision = await self._cluster.read_prefix(self.prefix)
        decoded = {key.removeprefix(self.prefix): json.loads(value) for key, value in values.items()}
        number = int(decoded["marker"]["number"]) if "marker" in decoded else 0
        return Truth({function: value["ips"] for function, value in decoded.items()}, number, revision)

    def note_lost(self, number: int, since: float) -> None:
        """Note that what was put after a number is not in etcd any more since a moment, in unix seconds."""
        for put in self.puts[number:]:
            put.lost = min(put.lost, since)

    def newest_acknowledged(self) -> int:
        """Return the number of the newest put that etcd is known to have; 0 if there is none."""
        numbers = (put.number for put in reversed(self.puts) if put.acknowledged < math.inf and put.lost == math.inf)
        return next(numbers, 0)

    def endpoint_of(self, number: int) -> str:
        """Return which endpoint stands for a number."""
        return self._pods[number % len(self._pods)]

    def number_of(self, endpoint: str) -> int:
        """Return the newest number that an endpoint can stand for."""
        newest = len(self.puts)
        return newest - (newest - self._pods.index(endpoint)) % len(self._pods)

    async def _put(self, function: str, number: int, ips: list[str]) -> None:
        # golb ignores what is neither ips nor weights.
        value = {"ips": ips, "weights": [1] * len(ips), "number": number}
        await self._cluster.put(f"{self.prefix}{function}", json.dumps(value).encode(), timeout_s=PUT_TIMEOUT_S)


class Caller:
    """A client of golb that keeps its connection, and notes each call that was not answered by an endpoint."""

    def __init__(self, port: int, failures: list[Broken]) -> None:
        self.calls = 0
        self._port = port
        self._failures = failures
        self._client: Client | None = None

    async def call(self, function: str, *, method: str = "GET", wanted: tuple[int, ...] = (200,)) -> Response | None:
        """Call a function; None if the call failed, or was answered by a status that is not wanted."""
        began = time.time()
        target = f"/function/{function}/"
        try:
            with trio.fail_after(CALL_TIMEOUT_S):
                if self._client is None:
                    self._client = await Client.connect(self._port)
                response = await self._client.call(target, method=method, body=b"x" * 200 if method == "POST" else b"")
        except (AssertionError, OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            await self.aclose()
            self._fail(began, f"{method} {target}: {type(exc).__name__} {exc} after {time.time() - began:.2f} s")
            return None
        self.calls += 1
        if response.status not in wanted:
            self._fail(began, f"{method} {target}: {response.head.splitlines()[0]}: {response.body.decode()}")
            return None
        return response

    async def aclose(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _fail(self, at: float, evidence: str) -> None:
        self._failures.append(Broken(at, "no request fails", evidence))


class Load:
    """Callers that call steadily, and one who looks which put is in force."""

    def __init__(self, port: int, writer: Writer) -> None:
        self.failures: list[Broken] = []
        self.sights: list[Sight] = []
        self.longest_pause_s = 0.0
        """For how long this process itself did not run when it should have."""
        self._writer = writer
        self._looking = Caller(port, self.failures)
        self._callers = [Caller(port, self.failures) for _ in range(_CALLERS)]

    @property
    def calls(self) -> int:
        """How many were answered."""
        return self._looking.calls + sum(caller.calls for caller in self._callers)

    async def run(self) -> None:
        """Call until cancelled; then all connections are closed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look)
                for index, caller in enumerate(self._callers):
                    nursery.start_soon(self._call, caller, index)
        finally:
            with trio.move_on_after(1.0, shield=True):
                for caller in (self._looking, *self._callers):
                    await caller.aclose()

    async def _call(self, caller: Caller, index: int) -> None:
        await trio.sleep(_CALL_EVERY_S * index / _CALLERS)
        while True:
            await caller.call("steady", method="POST" if caller.calls % 3 == 0 else "GET")
            await trio.sleep(_CALL_EVERY_S)

    async def _look(self) -> None:
        while True:
            response = await self._looking.call("marker")
            if response is not None:
                number = self._writer.number_of(response.values("X-Final-Host")[-1])
                now, last = time.time(), self.sights[-1] if self.sights else None
                if last is None or last.number != number or now - last.at >= NOTE_EVERY_S:
                    self.sights.append(Sight(now, number))
            due = trio.current_time() + LOOK_EVERY_S
            await trio.sleep_until(due)
            self.longest_pause_s = max(self.longest_pause_s, trio.current_time() - due)


async def serves(port: int, truth: Truth, failures: list[Broken]) -> bool:
    """Tell whether golb serves what stands in etcd: each function there by its endpoints, and no other."""
    caller = Caller(port, failures)
    try:
        for function in ("marker", "steady", "sometimes", "lost"):
            ips = truth.ips_by_function.get(function)
            for _ in ips or [""]:
                response = await caller.call(function, wanted=(200, 404))
                if response is None or (
                    response.values("X-Final-Host")[-1] if response.status == 200 else None
                ) not in ([None] if ips is None else ips):
                    return False
    finally:
        await caller.aclose()
    return True

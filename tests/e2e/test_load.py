"""What must hold under load: no failed request while weights change, no memory for bodies, no harm from bad values."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING

import pytest
import trio
from support.client import Client, call
from support.golb_process import GolbProcess
from support.pods import run_pods

from golb.errors import WeightsError
from golb.weights import parse_weights

if TYPE_CHECKING:
    from e2e.conftest import Etcd3Writer

    from demo.etcd import EtcdProcess

_MIB = 1 << 20


async def test_no_request_fails_while_weights_and_endpoints_change_50_times_a_second(
    etcd: EtcdProcess, zone: str, writer: Etcd3Writer
) -> None:
    requests, clients = 2000, 64
    async with run_pods(5) as pods:
        key = f"golb/function/{zone}/f"
        writer.put(key, [pods[0].ip], [1])
        left = iter(range(requests))
        statuses: list[int] = []
        done = trio.Event()

        async def one_client() -> None:
            async with await Client.connect(golb.port) as client:
                for index in left:
                    method, body = ("POST", b"x" * 100) if index % 2 else ("GET", b"")
                    statuses.append((await client.call("/function/f/a", method=method, body=body)).status)

        async def change_weights() -> None:
            chosen = random.Random(1)
            while not done.is_set():
                present = chosen.sample(pods, chosen.randint(1, len(pods)))
                weights = [chosen.choice([1, 2, 5, 0.5]) for _ in present]
                await trio.to_thread.run_sync(writer.put, key, [pod.ip for pod in present], weights)
                await trio.sleep(0.02)

        with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change_weights)
                async with trio.open_nursery() as callers:
                    for _ in range(clients):
                        callers.start_soon(one_client)
                done.set()
            assert statuses == [200] * requests
            assert golb.stop() == 0
            changes = [line for line in golb.log() if line["message"] == "weights changed"]
            assert len(changes) >= 5
        assert all(pod.calls for pod in pods)


async def test_bodies_of_256_mib_pass_up_and_down_without_taking_memory(
    etcd: EtcdProcess, zone: str, writer: Etcd3Writer, nursery: trio.Nursery
) -> None:
    piece = bytes(range(256)) * 4096

    async def pod(stream: trio.SocketStream) -> None:
        """Take an upload and answer how long it was, or send a download."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * _MIB))
            for _ in range(256):
                await stream.send_all(piece)
        else:
            length = len(body)
            while length < 256 * _MIB:
                length += len(await stream.receive_some(65536))
            answer = str(length).encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        await stream.receive_some()

    listeners = await nursery.start(trio.serve_tcp, pod, 0)
    writer.put(f"golb/function/{zone}/f", [f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"], [1])
    with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(100):
        assert (await call(golb.port, "/function/none")).status == 404
        before = golb.resident_bytes()
        most = 0
        async with await trio.open_tcp_stream("127.0.0.1", golb.port) as stream:
            await stream.send_all(
                b"POST /function/f/up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (256 * _MIB)
            )
            for _ in range(256):
                await stream.send_all(piece)
                most = max(most, golb.resident_bytes())
            answer = b""
            while not answer.endswith(str(256 * _MIB).encode()):
                answer += await stream.receive_some(65536)
        async with await trio.open_tcp_stream("127.0.0.1", golb.port) as stream:
            await stream.send_all(b"GET /function/f/down HTTP/1.1\r\nHost: a\r\n\r\n")
            received = 0
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some(65536)
            body = head.partition(b"\r\n\r\n")[2]
            received = len(body)
            assert body == (piece * 2)[: len(body)]
            while received < 256 * _MIB:
                data = await stream.receive_some(65536)
                assert data, f"cut after {received} bytes"
                received += len(data)
                if received % (8 * _MIB) < len(data):
                    most = max(most, golb.resident_bytes())
        assert received == 256 * _MIB
        assert most - before < 32 * _MIB
    nursery.cancel_scope.cancel()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _values(chosen: random.Random) -> bytes:
    """Return a value: good or bad in each of the ways that a writer could think of, and some that none would."""
    ips: list[object] = [
        "10.0.0.1:80", "10.0.0.2", "http://10.0.0.3:1", "[::1]:80", "::1", "host", "", "a b", "10.0.0.1:0", "1.2.3",
        "https://x", "x:65536", "x:y", "[::1", None, 3, ["a"], True, "ü", "x/y", "10.0.0.1:80\r\nX: y", "\ud800",
    ]  # fmt: skip
    weights: list[object] = [
        1,
        0,
        2.5,
        -1,
        1e308,
        float("nan"),
        float("inf"),
        True,
        None,
        "1",
        [],
        2**70,
        10**400,
        33.3,
        -0.0,
        1e-300,
    ]
    kind = chosen.randrange(10)
    if kind == 0:
        return bytes(chosen.randrange(256) for _ in range(chosen.randrange(40)))
    if kind == 1:
        return json.dumps(chosen.choice([1, [], None, "x", True, {}, {"ips": []}, {"ips": {}, "weights": 3}])).encode()
    count = chosen.randrange(4)
    value = {
        "ips": [chosen.choice(ips[: chosen.choice([3, 6, len(ips)])]) for _ in range(count)],
        "weights": [
            chosen.choice(weights[: chosen.choice([3, 3, len(weights)])])
            for _ in range(count + (chosen.random() < 0.1))
        ],
    }
    return json.dumps(value).encode()


@pytest.mark.parametrize("seed", [7])
async def test_of_3000_random_values_the_good_are_in_force_and_refusals_are_logged(
    etcd: EtcdProcess, zone: str, seed: int
) -> None:
    chosen = random.Random(seed)
    functions = [f"f{index}" for index in range(50)]
    keys = [*functions, "a/b", "", "\x00", "x" * 300, "ü", "a\nb", "é/"]
    puts = [(chosen.choice(keys), _values(chosen)) for _ in range(3000)]
    puts.append(("last", b'{"ips": ["10.0.0.1"], "weights": [0]}'))
    good: dict[str, bytes] = {}
    refused = 0
    for name, value in puts:
        if not name or "/" in name or not name.isprintable():
            refused += 1
            continue
        if good.get(name) == value:
            continue
        try:
            parse_weights(value)
        except WeightsError:
            refused += 1
        else:
            good[name] = value
    with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(100):
        # By etcd's own HTTP: the values are no text, which etcdctl needs.
        async with await Client.connect(etcd.port) as client:
            for name, value in puts:
                put = {"key": _base64(f"golb/function/{zone}/{name}".encode()), "value": _base64(value)}
                response = await client.call("/v3/kv/put", method="POST", body=json.dumps(put).encode())
                assert response.status == 200
        while (await call(golb.port, "/function/last")).status == 404:
            pass
        for name in functions:
            response = await call(golb.port, f"/function/{name}", method="HEAD")
            expected = parse_weights(good[name]) if name in good else None
            if expected is None:
                assert response.status == 404
            elif not any(expected.by_endpoint.values()):
                assert response.status == 503
            else:
                chosen_hosts = {str(endpoint) for endpoint, weight in expected.by_endpoint.items() if weight}
                assert response.values("X-Final-Host")[0] in chosen_hosts
        assert golb.stop() == 0
        # One line a minute for each key and kind of fault, and a bounded number for each kind; the others are counted.
        lines = [line for line in golb.log() if line["message"] == "refused"]
        assert 0 < len(lines) < refused
        assert all(line["level"] == "warning" and line["reason"] for line in lines)
        assert {line["name"] for line in lines} >= {"f0", "f49"}

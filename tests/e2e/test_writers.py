"""CONTRACT, section 1: what the existing writers put is what golb serves."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

import trio
from support.client import Client, call
from support.golb_process import GolbProcess
from support.pods import run_pods

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.conftest import Etcd3Writer

    from demo.etcd import EtcdProcess


async def test_shares_are_exact_over_whole_cycles_of_what_etcd3_puts(
    etcd: EtcdProcess, zone: str, writer: Etcd3Writer
) -> None:
    async with run_pods(4) as pods:
        ips = [pod.ip for pod in pods]
        writer.put(f"golb/function/{zone}/resnet", ips, [5, 3, 1, 1])
        with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(30):
            counted: Counter[str] = Counter()
            async with await Client.connect(golb.port) as client:
                for _ in range(1000):
                    response = await client.call("/function/resnet/x")
                    counted[response.values("X-Final-Host")[0]] += 1
                    assert response.body.startswith(response.values("X-Final-Host")[0].encode())
            for ip, share in zip(ips, (500, 300, 100, 100), strict=True):
                assert abs(counted[ip] - share) < 1
            assert [pod.calls for pod in pods] == [counted[ip] for ip in ips]
            assert golb.stop() == 0


async def test_shares_stay_exact_while_equal_and_float_weights_are_put_every_few_calls(
    etcd: EtcdProcess, zone: str, writer: Etcd3Writer
) -> None:
    async with run_pods(3) as pods:
        ips = [pod.ip for pod in pods]
        key = f"golb/function/{zone}/mobilenet-v2"
        writer.put(key, ips, [100.0, 1.0, 1.0])
        with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(30):
            async with await Client.connect(golb.port) as client:
                for index in range(204):
                    if index % 2 == 0:
                        writer.put(key, ips, [100, 1, 1] if index % 4 else [100.0, 1.0, 1.0])
                    await client.call("/function/mobilenet-v2")
        assert [pod.calls for pod in pods] == [200, 2, 2]


async def test_a_weight_is_in_force_within_50_ms_of_its_put(etcd: EtcdProcess, zone: str, writer: Etcd3Writer) -> None:
    async with run_pods(2) as pods:
        key = f"golb/function/{zone}/f"
        writer.put(key, [pods[0].ip], [1])
        delays_s = []
        with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(30):
            async with await Client.connect(golb.port) as client:
                for index in range(1, 21):
                    writer.put(key, [pods[index % 2].ip], [1])
                    put_at_s = time.monotonic()
                    while (await client.call("/function/f")).values("X-Final-Host") != [pods[index % 2].ip]:
                        pass
                    delays_s.append(time.monotonic() - put_at_s)
        assert sorted(delays_s)[len(delays_s) // 2] < 0.05, delays_s


async def test_etcdctl_puts_and_deletes_as_the_optimizers_do(
    etcd: EtcdProcess, zone: str, etcdctl: Callable[..., str]
) -> None:
    async with run_pods(1) as pods:
        key = f"golb/function/{zone}/request_responder_250"
        etcdctl("put", key, json.dumps({"ips": [f"http://{pods[0].ip}"], "weights": [33.3], "other": {"a": 1}}))
        etcdctl("put", f"golb/function/{zone}2/other", json.dumps({"ips": [pods[0].ip], "weights": [1]}))
        with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(20):
            assert (await call(golb.port, "/function/request_responder_250/a")).body.split()[1] == b"/a"
            assert (await call(golb.port, "/function/other")).status == 404
            etcdctl("del", key)
            while (response := await call(golb.port, "/function/request_responder_250")).status == 200:
                pass
            assert response.status == 404
            assert zone in response.body.decode()


async def test_open_requests_finish_when_their_function_is_deleted(
    etcd: EtcdProcess, zone: str, writer: Etcd3Writer, nursery: trio.Nursery
) -> None:
    arrived, answer = trio.Event(), trio.Event()

    async def slow_pod(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        arrived.set()
        await answer.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    listeners = await nursery.start(trio.serve_tcp, slow_pod, 0)
    key = f"golb/function/{zone}/slow"
    writer.put(key, [f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"], [1])
    responses = []

    async def request() -> None:
        responses.append(await call(golb.port, "/function/slow"))

    with GolbProcess(zone=zone, etcd_host=etcd.client_url) as golb, trio.fail_after(20):
        async with trio.open_nursery() as callers:
            callers.start_soon(request)
            await arrived.wait()
            writer.delete(key)
            while (await call(golb.port, "/function/slow", method="HEAD")).status != 404:
                pass
            answer.set()
        assert responses[0].status == 200
        assert responses[0].body == b"ok"
    nursery.cancel_scope.cancel()

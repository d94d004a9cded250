"""Two load balancers in two zones, each the other's gateway."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
import trio
from support.client import call
from support.golb_process import GolbProcess, free_port
from support.pods import run_pods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.etcd import EtcdProcess


@pytest.fixture(scope="module")
def zone() -> str:
    """What the names of both zones begin with; each test has functions of its own."""
    return "zone-hops"


@pytest.fixture(scope="module")
def two_zones(etcd: EtcdProcess, zone: str) -> Iterator[tuple[GolbProcess, GolbProcess]]:
    """golb in zone-a and zone-b, with the ports that they know each other by."""
    ports = free_port(), free_port()
    a = GolbProcess(
        etcd_host=etcd.client_url,
        zone=f"{zone}-a",
        node_name="eb-a-controller",
        listen_port=ports[0],
        gateways=f"http://127.0.0.1:{ports[1]}",
    )
    b = GolbProcess(
        etcd_host=etcd.client_url,
        zone=f"{zone}-b",
        node_name="eb-b-controller",
        listen_port=ports[1],
        gateways=f"127.0.0.1:{ports[0]}",
    )
    a.port, b.port = ports
    with a, b:
        yield a, b


async def _put(etcdctl: Callable[..., str], zone: str, function: str, ips: list[str], weights: list[float]) -> None:
    await trio.to_thread.run_sync(
        etcdctl, "put", f"golb/function/{zone}/{function}", json.dumps({"ips": ips, "weights": weights})
    )


async def _until_known(port: int, function: str) -> None:
    while (await call(port, f"/function/{function}", method="HEAD")).status == 404:
        pass


async def test_a_call_over_two_hops_is_answered_byte_for_byte_as_the_readers_expect(
    etcdctl: Callable[..., str], zone: str, two_zones: tuple[GolbProcess, GolbProcess]
) -> None:
    a, b = two_zones
    with trio.fail_after(20):
        async with run_pods(1) as pods:
            await _put(etcdctl, f"{zone}-b", "far", [pods[0].ip], [1])
            await _put(etcdctl, f"{zone}-a", "far", [f"127.0.0.1:{b.port}"], [1])
            await _until_known(b.port, "far")
            await _until_known(a.port, "far")
            before = time.time()
            response = await call(a.port, "/function/far/static?time=10")
            after = time.time()
        lines = response.head.split("\r\n")
        assert lines[:5] == [
            "HTTP/1.1 200 OK",
            f"X-Final-Host: 127.0.0.1:{b.port}",
            f"X-Final-Host: {pods[0].ip}",
            "X-Forwarded-For: eb-a-controller",
            "X-Forwarded-For: eb-b-controller",
        ]
        assert re.fullmatch(r"X-Forwarded-Host-Eb-A-Controller: \d{10}\.\d{7}", lines[5])
        assert re.fullmatch(r"X-Forwarded-Host-Eb-B-Controller: \d{10}\.\d{7}", lines[6])
        assert lines[7:] == ["X-Start: 1.5", f"Content-Length: {len(response.body)}"]
        times = [float(line.partition(": ")[2]) for line in lines[5:7]]
        assert before - 1 <= times[0] <= times[1] <= after + 1
        assert response.body == f"{pods[0].ip} /static?time=10 0".encode()
        seen = [(name.decode(), value.decode()) for name, value in pods[0].requests[-1].headers.raw_items()]
        assert ("Host", pods[0].ip) in seen
        assert ("X-Final-Host", pods[0].ip) in seen
        assert ("X-Forwarded-For", "eb-a-controller, 127.0.0.1, eb-b-controller, 127.0.0.1") in seen
        marks = [name for name, _ in seen if name.startswith("X-Forwarded-Host-")]
        assert sorted(marks) == ["X-Forwarded-Host-Eb-A-Controller", "X-Forwarded-Host-Eb-B-Controller"]


async def test_a_function_without_endpoint_anywhere_is_answered_at_once_and_takes_no_second_gateway_hop(
    etcdctl: Callable[..., str], zone: str, two_zones: tuple[GolbProcess, GolbProcess]
) -> None:
    a, b = two_zones
    with trio.fail_after(20):
        await _put(etcdctl, f"{zone}-a", "nowhere", [f"127.0.0.1:{b.port}"], [1])
        await _put(etcdctl, f"{zone}-b", "nowhere", [f"127.0.0.1:{a.port}"], [1])
        await _until_known(a.port, "nowhere")
        await _until_known(b.port, "nowhere")
        took_s = []
        for _ in range(5):
            began_s = time.monotonic()
            response = await call(a.port, "/function/nowhere")
            took_s.append(time.monotonic() - began_s)
        assert min(took_s) < 0.05  # the machine may be busy now and then; a wait of golb's own would be in each
        assert response.status == 503
        # One hop to the gateway, which chose no target; it did not send the call back.
        assert response.values("X-Final-Host") == [f"127.0.0.1:{b.port}", ""]
        assert response.values("X-Forwarded-For") == ["eb-a-controller", "eb-b-controller"]
        assert response.values("Retry-After") == ["1"]


async def test_a_call_that_comes_back_to_a_node_is_answered_508(
    etcdctl: Callable[..., str], zone: str, two_zones: tuple[GolbProcess, GolbProcess]
) -> None:
    a, _ = two_zones
    with trio.fail_after(20):
        await _put(etcdctl, f"{zone}-a", "back", ["127.0.0.1:1"], [1])
        await _until_known(a.port, "back")
        response = await call(a.port, "/function/back", "X-Forwarded-Host-Eb-A-Controller: 1.0")
        assert response.status == 508
        assert "eb-a-controller" in response.body.decode()

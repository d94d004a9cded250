"""What one client, or whoever reads the log, must not be able to do to the others."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import trio
from support.client import Client
from support.golb_process import GolbProcess, free_port
from support.pods import run_pods

if TYPE_CHECKING:
    from pathlib import Path


def _weights(tmp_path: Path, **ips: str) -> str:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({function: {"ips": [ip], "weights": [1]} for function, ip in ips.items()}))
    return str(path)


async def test_thousands_of_requests_in_one_write_do_not_hold_up_the_others(tmp_path: Path) -> None:
    async with run_pods(1) as pods:
        variables = {"weight_updater": "file", "weights_file": _weights(tmp_path, f=pods[0].ip)}
        with GolbProcess(**variables) as golb, trio.fail_after(30):
            flood = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 2300

            async def attack() -> None:
                stream = await trio.open_tcp_stream("127.0.0.1", golb.port)
                async with stream, trio.open_nursery() as both:
                    both.start_soon(_read_on, stream)
                    while True:
                        await stream.send_all(flood)

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(attack)
                async with await Client.connect(golb.port) as client:
                    waits_s = []
                    for _ in range(50):
                        began_s = time.monotonic()
                        assert (await client.call("/function/f")).status == 200
                        waits_s.append(time.monotonic() - began_s)
                nursery.cancel_scope.cancel()
        # Four attackers used to hold each call up for a second; now it waits for one request of each.
        assert sorted(waits_s)[25] < 0.2


async def _read_on(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        pass


def test_a_log_that_nobody_reads_stops_neither_calls_nor_the_drain(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        **os.environ,
        "eb_go_lb_zone": "zone-a",
        "eb_go_lb_handler_type": "wrr",
        "eb_go_lb_mode": "prod",
        "eb_go_lb_listen_host": "127.0.0.1",
        "eb_go_lb_listen_port": str(port),
        "eb_go_lb_weight_updater": "file",
        "eb_go_lb_weights_file": _weights(tmp_path, dead="127.0.0.1:1"),
    }
    golb = subprocess.Popen([sys.executable, "-m", "golb"], env=environ, stdout=subprocess.PIPE)
    try:
        assert golb.stdout is not None
        while b'"serving"' not in golb.stdout.readline():
            pass

        async def call_until_the_pipe_is_full() -> None:
            with trio.fail_after(20):
                async with await Client.connect(port) as client:
                    for _ in range(600):
                        assert (await client.call("/function/dead")).status == 502

        trio.run(call_until_the_pipe_is_full)
        golb.send_signal(signal.SIGTERM)
        assert golb.wait(timeout=10) == 0
        lines = golb.stdout.read().splitlines()
        assert 100 < len(lines) < 600
        assert all(json.loads(line)["message"] for line in lines)
    finally:
        golb.kill()
        golb.communicate()


async def test_sigterm_without_a_free_descriptor_still_drains(tmp_path: Path) -> None:
    async with run_pods(1) as pods:
        golb = GolbProcess(weight_updater="file", weights_file=_weights(tmp_path, f=pods[0].ip), drain_timeout=5)
        with golb, trio.fail_after(30):
            used = golb.descriptors()
            _, hard = resource.prlimit(golb.pid, resource.RLIMIT_NOFILE)
            assert resource.prlimit(golb.pid, resource.RLIMIT_NOFILE)[0] == hard  # golb has raised it
            resource.prlimit(golb.pid, resource.RLIMIT_NOFILE, (used + 20, hard))
            clients = [await Client.connect(golb.port) for _ in range(40)]
            while not any(line["message"] == "cannot accept" for line in golb.log()):  # noqa: ASYNC110 - of another process
                await trio.sleep(0.01)
            golb.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr] # it runs
            assert await trio.to_thread.run_sync(golb.process.wait) == 0  # type: ignore[union-attr] # it ran
            assert not any("exception" in line for line in golb.log())
            for client in clients:
                await client.aclose()

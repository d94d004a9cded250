"""The admin port of a golb that runs: what it tells is what has happened, and its description holds."""

from __future__ import annotations

import json
import os
import signal
import sys
from base64 import b64encode
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families
from support.client import call
from support.endpoint import scripted_endpoint
from support.golb_process import GolbProcess, free_port
from support.pods import run_pods

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.etcd import EtcdProcess

DEADLINE_S = 30
# Nobody here speaks TLS, and to read the certificates of all authorities takes httpx 50 ms, for each client anew.
NO_TLS: dict[str, Any] = {"verify": False}


class LiveGolb(GolbProcess):
    """A golb with an admin port."""

    def __init__(self, **variables: str) -> None:
        self.admin_port = free_port()
        super().__init__(**variables, admin_listen=f"127.0.0.1:{self.admin_port}")

    @classmethod
    def of_file(cls, directory: Path, workers: int = 1, **functions: dict[str, float]) -> Self:
        """Make one of so many processes that has these functions, each with the weights of its endpoints."""
        values = {name: {"ips": list(of), "weights": list(of.values())} for name, of in functions.items()}
        path = directory / "weights.json"
        path.write_text(json.dumps(values))
        return cls(weight_updater="file", weights_file=str(path), workers=str(workers))

    def ask(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10, **NO_TLS)

    def json(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextmanager
    def events(self, query: str = "") -> Iterator[Iterator[str]]:
        """Follow the events: yield their lines; the stream has begun."""
        url = f"http://127.0.0.1:{self.admin_port}/api/events{query}"
        with httpx.stream("GET", url, timeout=DEADLINE_S, **NO_TLS) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "retry: 1000"
            yield lines

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of that name which have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.ask("/metrics").text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


async def test_what_the_admin_port_tells_is_what_clients_have_seen(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    async with run_pods(2) as pods:
        heavy, light = (pod.ip for pod in pods)
        golb = LiveGolb.of_file(tmp_path, hello={heavy: 3, light: 1}, dead={"127.0.0.1:1": 1})
        with golb, trio.fail_after(DEADLINE_S):
            for _ in range(40):
                response = await call(golb.port, "/function/hello")
                assert response.status == 200
                seen[response.values("X-Final-Host")[0]] += 1
            assert (await call(golb.port, "/function/dead")).status == 502
            assert (await call(golb.port, "/function/nobody")).status == 404
            hello, dead = golb.json("/api/functions/hello"), golb.json("/api/functions/dead")
            told = {endpoint["endpoint"]: endpoint for endpoint in hello["endpoints"]}
            assert {name: endpoint["calls"] for name, endpoint in told.items()} == seen
            assert {name: endpoint["share"] for name, endpoint in told.items()} == {heavy: 0.75, light: 0.25}
            assert (hello["responses"]["2xx"], sum(hello["duration"]["counts"])) == (40, 40)
            assert dead["responses"]["5xx"] == 1
            assert golb.metric("golb_requests_total", function="hello", code="2xx") == 40
            assert golb.metric("golb_endpoint_calls_total", function="hello", endpoint=heavy) == seen[heavy]
            assert golb.metric("golb_request_duration_seconds_count", function="hello") == 40
            assert golb.metric("golb_requests_unrouted_total", reason="unknown_function") == 1
            assert golb.json("/api/status")["totals"]["unknown_function"] == 1


async def test_while_golb_drains_it_is_not_ready_and_its_admin_port_goes_on(tmp_path: Path) -> None:
    with scripted_endpoint() as endpoint, LiveGolb.of_file(tmp_path, hello={endpoint.authority: 1}) as golb:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE_S
            nursery.start_soon(call, golb.port, "/function/hello")
            async with await endpoint.accept() as upstream:
                await upstream.read_request()
                assert golb.ask("/readyz").status_code == 200
                os.kill(golb.pid, signal.SIGTERM)
                answer = golb.ask("/readyz")
                while answer.status_code == 200:
                    answer = golb.ask("/readyz")
                assert answer.status_code == 503
                assert "draining" in answer.json()["reason"]
                assert golb.ask("/healthz").status_code == 200
                with golb.events("?history=1") as lines:
                    assert next_event(lines)[0] == "draining"
                assert golb.metric("golb_in_flight", function="hello") == 1
                await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert golb.process is not None
        assert await trio.to_thread.run_sync(golb.process.wait) == 0


def test_new_weights_and_a_refusal_are_told_as_they_happen(tmp_path: Path) -> None:
    with LiveGolb.of_file(tmp_path, hello={"127.0.0.1:1": 1}) as golb, golb.events() as lines:
        values = {"hello": {"ips": ["127.0.0.1:1"], "weights": [2]}, "bad": {"ips": [], "weights": [1]}}
        new_path = tmp_path / "new.json"
        new_path.write_text(json.dumps(values))
        new_path.replace(tmp_path / "weights.json")
        told = dict(next_event(lines) for _ in range(2))
    assert (told["weights"]["function"], told["weights"]["revision"]) == ("hello", 2)
    assert (told["refused"]["name"], told["refused"]["fault"]) == ("bad", "shape")


def test_a_put_in_etcd_is_told_with_what_it_changes_and_how_long_it_took_to_come_into_force(etcd: EtcdProcess) -> None:
    with LiveGolb(etcd_host=etcd.client_url, zone="zone-live") as golb, golb.events() as lines:
        for weight, changes in ((1, "+127.0.0.1:1=1"), (3, "127.0.0.1:1=1->3")):
            put(etcd, "golb/function/zone-live/hello", json.dumps({"ips": ["127.0.0.1:1"], "weights": [weight]}))
            kind, told = next_event(lines)
            assert (kind, told["function"], told["changes"]) == ("weights", "hello", changes)
        while golb.metric("golb_weights_delay_seconds_count") < 2:  # the event may come before the handler has its turn
            pass
        assert golb.metric("golb_weights_delay_seconds_sum") < 1
        assert (golb.metric("golb_etcd_connects_total"), golb.metric("golb_etcd_losses_total")) == (1, 0)


def test_without_a_table_golb_is_alive_and_says_what_it_waits_for() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with LiveGolb(etcd_host=nobody) as golb:
        assert golb.ask("/healthz").status_code == 200
        answer = golb.ask("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reason"].startswith("the weights have not been loaded yet: ")
        assert golb.metric("golb_ready") == 0
        assert golb.metric("golb_etcd_connected") == 0


async def test_golb_does_what_its_description_says_and_refuses_the_rest(tmp_path: Path) -> None:
    async with run_pods(1) as pods:
        nowhere = "127.0.0.1:1"
        golb = LiveGolb.of_file(tmp_path, hello={pods[0].ip: 3}, dead={nowhere: 1}, drained={nowhere: 0})
        with golb:
            for function in ("hello", "hello", "dead", "drained", "nobody"):
                await call(golb.port, f"/function/{function}")
            found = await trio.run_process(
                [
                    *(sys.executable, "-m", "schemathesis.cli", "run"),
                    f"http://127.0.0.1:{golb.admin_port}/api/openapi.json",
                    "--exclude-path=/api/events",  # it has no end
                    "--phases=coverage,fuzzing",
                    "--max-examples=5",
                    "--seed=1",
                    "--no-color",
                ],
                capture_stdout=True,
                check=False,
            )
            assert found.returncode == 0, found.stdout.decode()
            assert b"No issues found" in found.stdout


def put(etcd: EtcdProcess, key: str, value: str) -> None:
    """Put a value into etcd, by its JSON gateway."""
    members = {"key": b64encode(key.encode()).decode(), "value": b64encode(value.encode()).decode()}
    httpx.post(f"{etcd.client_url}/v3/kv/put", json=members, **NO_TLS).raise_for_status()


def next_event(lines: Iterator[str]) -> tuple[str, Any]:
    """Return the kind of the next event, and its data."""
    kind = next(line for line in lines if line.startswith("event: "))
    return kind.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))

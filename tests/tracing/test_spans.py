"""Traces: the spans of calls as a collector gets them, by OTLP over HTTP, and the context that an endpoint gets."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import frozen
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from support.client import Client, Response
from support.collector import Collector, attributes, running_collector
from support.pods import run_pods
from support.stack import NODE, RunningGolb, running_golb, running_server

from golb.errors import ConfigError
from golb.observed import Observed
from golb.tracing import load_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.pods import Pod

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
DEAD = "127.0.0.1:1"
HEAVY = 10**15


@frozen
class Traced:
    """A golb whose calls are traced, and its endpoint."""

    client: Client
    golb: RunningGolb
    pod: Pod

    async def call(self, target: str, *lines: str, method: str = "GET", body: bytes = b"") -> Response:
        return await self.client.call(target, *lines, method=method, body=body)

    def received(self, name: str) -> list[str]:
        return received(self.pod, name)


def received(pod: Pod, name: str) -> list[str]:
    """Return the values that the endpoint got in its last call, of a name as it is written."""
    return [value.decode() for found, value in pod.requests[-1].headers.raw_items() if found.decode() == name]


def begin_of(context: str) -> str:
    """Return a sampled `traceparent` without its flags; newer SDKs say in them that the trace's id is random."""
    begin, _, flags = context.rpartition("-")
    assert int(flags, 16) & 1
    return begin


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, which the variables name."""
    with running_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{running.port}")
        yield running


@asynccontextmanager
async def traced() -> AsyncIterator[Traced]:
    """Run a golb; when this is left all its spans have been exported."""
    tracing = load_tracing(NODE, "zone-a")
    async with run_pods(1) as (pod,), running_golb(pod.ip) as golb, trio.open_nursery() as nursery:
        await nursery.start(tracing.run)
        application = Observed(golb.handler, NODE, [], tracing)
        async with (
            running_server(application, golb.poller) as server,
            await Client.connect(server.port) as client,
        ):
            yield Traced(client, golb, pod)
        nursery.cancel_scope.cancel()


async def test_without_tracing_the_context_passes_through_unchanged() -> None:
    async with run_pods(1) as (pod,), running_golb(pod.ip) as golb, await Client.connect(golb.port) as client:
        await client.call("/function/f", f"traceparent: {SAMPLED}", "tracestate: a=1,b=2", "baggage: c=3")
        assert received(pod, "Traceparent") == [SAMPLED]
        assert received(pod, "Tracestate") == ["a=1,b=2"]
        assert received(pod, "Baggage") == ["c=3"]
        await client.call("/function/f")
        assert received(pod, "Traceparent") == []


async def test_a_call_is_a_span_below_its_clients_with_one_below_it_that_the_endpoint_gets(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.instance.id=mine")
    async with traced() as golb:
        lines = [f"traceparent: {SAMPLED}", "tracestate: a=1,b=2", "X-Request-Id: order-7"]
        response = await golb.call("/function/f/x?a=1", *lines, method="POST", body=b"abc")
        given = golb.received("Traceparent")
        assert golb.received("Tracestate") == ["a=1,b=2"]
    (server,), (client,) = collector.of_servers(), collector.of_clients()
    assert server.trace_id.hex() == client.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT
    assert client.parent_span_id == server.span_id
    assert given == [f"00-{TRACE}-{client.span_id.hex()}-01"]
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.start_time_unix_nano < client.end_time_unix_nano <= server.end_time_unix_nano
    assert (server.name, client.name) == ("POST /function/f", "POST")
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.route": "/function/f",
        "url.path": "/function/f/x",
        "url.query": "a=1",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "http.request.body.size": 3,
        "http.response.body.size": len(response.body),
        "http.response.status_code": 200,
        "golb.function": "f",
        "golb.retries": 0,
        "golb.request_id": "order-7",
    }
    host, _, port = golb.pod.ip.partition(":")
    assert attributes(client) == {
        "http.request.method": "POST",
        "server.address": host,
        "server.port": int(port),
        "url.full": f"http://{golb.pod.ip}/x?a=1",
        "http.response.status_code": 200,
    }
    assert {server.status.code, client.status.code} == {Status.STATUS_CODE_UNSET}
    assert set(collector.paths) == {"/v1/traces"}
    resource = collector.resources[0]
    assert (resource["service.name"], resource["golb.zone"]) == ("golb", "zone-a")
    assert (resource["service.instance.id"], resource["deployment.environment"]) == ("mine", "test")


async def test_each_endpoint_that_is_asked_has_a_span_and_a_failure_says_so(collector: Collector) -> None:
    async with traced() as golb:
        golb.golb.put_weights({DEAD: HEAVY, golb.pod.ip: 1})
        assert (await golb.call("/function/f")).status == 200
        given = golb.received("Traceparent")
    (server,), (failed, answered) = collector.of_servers(), collector.of_clients()
    assert server.parent_span_id == b""
    assert failed.parent_span_id == answered.parent_span_id == server.span_id
    assert [begin_of(context) for context in given] == [f"00-{server.trace_id.hex()}-{answered.span_id.hex()}"]
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert failed.status.message == "cannot connect: Connection refused"
    assert attributes(failed)["error.type"] == "NoConnection"
    assert "http.response.status_code" not in attributes(failed)
    assert attributes(answered)["http.request.resend_count"] == 1
    assert attributes(answered)["http.response.status_code"] == 200
    assert attributes(server)["golb.retries"] == 1
    assert server.status.code == answered.status.code == Status.STATUS_CODE_UNSET


async def test_a_call_that_fails_is_an_error_and_a_function_that_nobody_knows_names_no_span(
    collector: Collector,
) -> None:
    async with traced() as golb:
        golb.golb.put_weights({DEAD: 1})
        assert (await golb.call("/function/f")).status == 502
        assert (await golb.call("/function/made-up")).status == 404
    (failed, unknown), (asked,) = collector.of_servers(), collector.of_clients()
    assert failed.status.code == asked.status.code == Status.STATUS_CODE_ERROR
    assert (attributes(failed)["error.type"], attributes(failed)["http.response.status_code"]) == ("502", 502)
    assert (unknown.name, attributes(unknown)["golb.function"]) == ("GET", "made-up")
    assert "http.route" not in attributes(unknown)


async def test_what_the_client_does_not_sample_is_not_exported_and_says_so_to_the_endpoint(
    collector: Collector,
) -> None:
    async with traced() as golb:
        await golb.call("/function/f", f"traceparent: {NOT_SAMPLED}")
        (given,) = golb.received("Traceparent")
    version, trace, span, flags = given.split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert span != PARENT
    assert collector.spans == []


@pytest.mark.parametrize(
    "lines",
    [
        [f"traceparent: 00-{TRACE}-{PARENT}"],
        [f"traceparent: 00-{'0' * 32}-{PARENT}-01"],
        [f"traceparent: {SAMPLED}", f"traceparent: {NOT_SAMPLED}"],
        [f"traceparent: {SAMPLED}{'-' * 30_000}"],
    ],
    ids=["short", "zero", "two", "long"],
)
async def test_a_malformed_context_begins_a_new_trace_without_the_old_state(
    lines: list[str], collector: Collector
) -> None:
    async with traced() as golb:
        await golb.call("/function/f", *lines, "tracestate: a=1")
        (given,) = golb.received("Traceparent")
        assert golb.received("Tracestate") == []
    (server,), (client,) = collector.of_servers(), collector.of_clients()
    assert server.parent_span_id == b""
    assert server.trace_id.hex() != TRACE
    assert begin_of(given) == f"00-{server.trace_id.hex()}-{client.span_id.hex()}"


async def test_an_sdk_that_is_switched_off_leaves_the_context_as_it_is(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with traced() as golb:
        await golb.call("/function/f")
        assert golb.received("Traceparent") == []
        await golb.call("/function/f", f"traceparent: {SAMPLED}")
        assert golb.received("Traceparent") == [SAMPLED]
    assert collector.spans == []


def test_a_variable_of_opentelemetry_that_holds_what_it_cannot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")
    with pytest.raises(ConfigError) as refused:
        load_tracing(NODE, "zone-a")
    line = "eb_go_lb_tracing is 'otlp', and a variable for it, OTEL_..., is refused: schedule_delay_millis must be positive."
    assert str(refused.value) == line


def test_without_the_extra_tracing_is_refused_by_a_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "golb.tracing.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError) as refused:
        load_tracing("eb-a", "zone-a")
    assert str(refused.value) == (
        "eb_go_lb_tracing is 'otlp', which needs golb[otel]: there is no module opentelemetry.sdk.trace"
    )

"""The metrics as Prometheus reads them, by its own parsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from admin.fakes import NOW_S, FakeParts, RunningAdmin, called, endpoint_report, report, running_admin
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from golb.admin.exposition import Encoder
from golb.admin.metrics import MetricsPage
from golb.admin.pace import Pace
from golb.stats import EndpointStats
from golb.weights import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Metrics:
    """A page, parsed."""

    def __init__(self, text: str) -> None:
        self.families = list(parse_openmetrics(text))  # type: ignore[no-untyped-call]

    def __getitem__(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of all samples of that name, by the values of their labels in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name
        }

    def names(self) -> Iterator[str]:
        return (sample.name for family in self.families for sample in family.samples)


async def metrics(admin: RunningAdmin) -> Metrics:
    answer = await admin.client.get("/metrics", headers={"accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    return Metrics(answer.text)


async def test_a_functions_calls_are_counted_by_status_class_and_measured() -> None:
    parts = FakeParts()
    stats = called(3)
    stats.count(502, 2.0, 1.5, 0.2)
    stats.overloaded, stats.broken, stats.gone = 4, 5, 6
    parts.handler.add(report("f", stats=stats, in_flight=2, waiting=1, panicking=True))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    assert found["golb_requests_total"] == {("2xx", "f"): 3, ("5xx", "f"): 1}
    assert found["golb_requests_refused_total"] == {("f", "overloaded"): 4}
    assert found["golb_requests_broken_total"] == {("f",): 5}
    assert found["golb_requests_gone_total"] == {("f",): 6}
    assert found["golb_in_flight"] == {("f",): 2}
    assert found["golb_waiting"] == {("f",): 1}
    assert found["golb_panicking"] == {("f",): 1}
    assert found["golb_weights_updated_timestamp_seconds"] == {("f",): NOW_S}


async def test_histograms_are_cumulative_and_end_with_all() -> None:
    parts = FakeParts()
    stats = called(3)
    stats.count(200, 1000.0, 0.001, 0.00005)
    parts.handler.add(report("f", stats=stats))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    buckets = found["golb_request_duration_seconds_bucket"]
    assert [buckets["f", bound] for bound in ("0.001", "0.0025", "0.005", "300.0", "+Inf")] == [0, 0, 3, 3, 4]
    assert found["golb_request_duration_seconds_count"] == {("f",): 4}
    assert found["golb_request_duration_seconds_sum"]["f",] == pytest.approx(1000.009)
    assert found["golb_request_first_byte_seconds_bucket"]["f", "0.001"] == 1
    assert found["golb_request_own_seconds_bucket"]["f", "5e-05"] == 1


async def test_an_endpoints_shares_and_calls_are_told() -> None:
    stats = EndpointStats("10.42.0.5:8080")
    stats.calls, stats.retries, stats.failures, stats.bytes_in, stats.bytes_out = 9, 2, 1, 10, 20
    stats.of_2xx = 8
    endpoint = endpoint_report("10.42.0.5:8080", stats, weight=3, share=0.75, in_flight=4, state="resting")
    parts = FakeParts()
    parts.handler.add(report("f", endpoints=[endpoint]))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    labels = ("10.42.0.5:8080", "f")
    assert found["golb_weight"] == {labels: 3}
    assert found["golb_weight_share"] == {labels: 0.75}
    assert found["golb_endpoint_calls_total"] == {labels: 9}
    assert found["golb_endpoint_responses_total"] == {("2xx", *labels): 8}
    assert found["golb_endpoint_failures_total"] == {labels: 1}
    assert found["golb_endpoint_retries_total"] == {labels: 2}
    assert found["golb_endpoint_bytes_total"] == {
        ("in", *labels): 10,
        ("out", *labels): 20,
    }
    assert found["golb_endpoint_in_flight"] == {labels: 4}
    assert found["golb_endpoint_resting"] == {labels: 1}


async def test_endpoints_can_be_left_out() -> None:
    parts = FakeParts()
    parts.handler.add(report("f", "10.42.0.5:8080", stats=called(1)))
    async with running_admin(parts, endpoint_label=False) as admin:
        found = await metrics(admin)
    assert not any("endpoint" in sample.labels for family in found.families for sample in family.samples)
    assert found["golb_requests_total"] == {("2xx", "f"): 1}


async def test_golb_as_a_whole_is_told() -> None:
    parts = FakeParts()
    parts.knowledge.opened("http://etcd:2379")
    parts.knowledge.confirm("etcd", cluster_id=1, revision=17, at=98.5)
    parts.refused.add("f", Fault.WEIGHT, "a weight is -1", 5, value_hash=1, kept=True)
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    one = {
        "golb_ready": 1,
        "golb_draining": 0,
        "golb_functions": 0,
        "golb_functions_omitted": 0,
        "golb_functions_cut": 0,
        "golb_weights_revision": 17,
        "golb_weights_age_seconds": 1.5,
        "golb_weights_refused_keys": 1,
        "golb_etcd_connected": 1,
        "golb_connections": 4,
        "golb_connections_limit": 100,
        "golb_connections_accepted_total": 50,
        "golb_connections_delayed_total": 2,
        "golb_connections_closed_for_room_total": 1,
        "golb_requests_in_flight": 5,
        "golb_requests_waiting": 1,
        "golb_requests_held": 2,
        "golb_retries_total": 4,
        "golb_retries_exhausted_total": 6,
        "golb_retries_in_flight": 1,
        "golb_endpoints_resting": 8,
        "golb_endpoint_rests_total": 9,
    }
    assert {name: found[name] for name in one} == {name: {(): value} for name, value in one.items()}
    assert found["golb_build_info"] == {("eb-a", "1.2.3", "zone-a"): 1}
    assert found["golb_weights_source"] == {("none",): 0, ("disk",): 0, ("file",): 0, ("etcd",): 1}
    assert found["golb_weights_refused_total"] == {("weight",): 1}
    assert found["golb_requests_unrouted_total"] == {("unknown_function",): 7, ("no_function_call",): 3}
    assert found["process_resident_memory_bytes"][()] > 10_000_000
    assert found["process_open_fds"][()] > 0
    assert found["process_cpu_seconds_total"][()] > 0


async def test_without_a_source_the_age_is_infinite_and_etcd_is_not_told_of() -> None:
    async with running_admin() as admin:
        found = await metrics(admin)
    assert found["golb_weights_age_seconds"] == {(): float("inf")}
    assert found["golb_etcd_connected"] == {}


async def test_a_function_that_nobody_calls_has_no_series_of_calls() -> None:
    parts = FakeParts()
    parts.handler.add(report("idle", "10.42.0.5:8080"))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    of_calls = {sample.name for family in found.families for sample in family.samples if "function" in sample.labels}
    assert of_calls == {
        "golb_weight",
        "golb_weight_share",
        "golb_endpoint_in_flight",
        "golb_endpoint_resting",
        "golb_weights_updated_timestamp_seconds",
    }


async def test_functions_beyond_a_number_are_counted_and_not_told() -> None:
    parts = FakeParts()
    parts.handler.add(*(report(f"f{number}", stats=called(1)) for number in range(5)))
    page = bytearray()

    async def send_piece(piece: bytes) -> None:
        page.extend(piece)

    await MetricsPage(parts.sources(), Pace(), endpoint_label=True, max_functions=3).write(
        Encoder(OPENMETRICS), send_piece
    )
    found = Metrics(page.decode())
    assert found["golb_requests_total"] == {("2xx", "f0"): 1, ("2xx", "f1"): 1, ("2xx", "f2"): 1}
    assert (found["golb_functions"], found["golb_functions_omitted"]) == ({(): 5}, {(): 2})


async def test_endpoints_beyond_a_number_are_not_told_and_their_functions_are_counted() -> None:
    parts = FakeParts()
    for number in range(4):
        parts.handler.add(report(f"f{number}", "10.42.0.5:80", "10.42.0.6:80", stats=called(1)))
    page = bytearray()

    async def send_piece(piece: bytes) -> None:
        page.extend(piece)

    await MetricsPage(parts.sources(), Pace(), endpoint_label=True, max_endpoints=5).write(
        Encoder(OPENMETRICS), send_piece
    )
    found = Metrics(page.decode())
    assert len(found["golb_requests_total"]) == 4
    assert len(found["golb_weight"]) == len(found["golb_weight_share"]) == 5
    assert found["golb_functions_cut"] == {(): 2}


async def test_what_is_known_of_etcd_is_told() -> None:
    parts = FakeParts()
    knowledge = parts.knowledge
    for _ in range(2):
        knowledge.opened("http://etcd:2379")
        knowledge.lost("reset")
    knowledge.opened("http://etcd:2379")
    knowledge.delays.learnt(7, 99.97)
    knowledge.delays.in_force(7)
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    assert (found["golb_etcd_connects_total"], found["golb_etcd_losses_total"]) == ({(): 3}, {(): 2})
    buckets = found["golb_weights_delay_seconds_bucket"]
    assert (buckets["0.025",], buckets["0.05",], buckets["+Inf",]) == (0, 1, 1)
    assert found["golb_weights_delay_seconds_sum"][()] == pytest.approx(0.03)


async def test_names_of_functions_are_escaped() -> None:
    parts = FakeParts()
    names = ['quote"', "back\\slash", "größe", "brace}", "a,b=c", "line\nend"]
    parts.handler.add(*(report(name, stats=called(1)) for name in names))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    assert found["golb_requests_total"] == {("2xx", name): 1 for name in names}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=x", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
async def test_the_format_is_what_the_client_asks_for(accept: str, media_type: str) -> None:
    parts = FakeParts()
    parts.handler.add(report("f", "10.42.0.5:8080", stats=called(1)), report("g", stats=called(2)))
    async with running_admin(parts) as admin:
        answer = await admin.client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == media_type
    assert answer.text.endswith("# EOF\n") is media_type.startswith("application/openmetrics")
    parse = parse_openmetrics if media_type.startswith("application/openmetrics") else parse_text
    families = {family.name: family for family in parse(answer.text)}
    assert [sample.value for sample in families["golb_requests"].samples] == [1, 2]
    described = [line for line in answer.text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))


async def test_hundreds_of_endpoints_of_a_function_are_all_told() -> None:
    parts = FakeParts()
    parts.handler.add(report("f", *(f"10.42.{number // 250}.{number % 250}:80" for number in range(500))))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    assert len(found["golb_weight_share"]) == 500


async def test_each_name_keeps_to_prometheus_conventions() -> None:
    parts = FakeParts()
    parts.handler.add(report("f", "10.42.0.5:8080", stats=called(1)))
    async with running_admin(parts) as admin:
        found = await metrics(admin)
    ours = [family for family in found.families if family.name.startswith("golb_")]
    assert len(ours) > 40
    for family in ours:
        assert family.documentation.endswith(".")
        assert family.type in {"counter", "gauge", "histogram"}
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")

"""What a reader sees: every peer in every table, noise marked, what is worse as plain as what is better."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from attrs import evolve

from benchmarks.__main__ import FULL_NAME, NARROWED_NAME, _parser, is_narrowed, write
from benchmarks.changes import Change, Changes
from benchmarks.compare import Comparison, Measurement, Pace, summarize
from benchmarks.figures import figure
from benchmarks.growth import Grown, Growth
from benchmarks.machine import Machine
from benchmarks.node import Node
from benchmarks.report import to_markdown
from benchmarks.results import Results
from benchmarks.scenarios import SCENARIOS, WORKERS_SCENARIO
from benchmarks.svg import Panel, scale_end, to_svg

SVG = "{http://www.w3.org/2000/svg}"


def one_round(cpu_us: float, *, errors: int = 0, others_share: float = 0.0) -> Measurement:
    return Measurement(
        cpu_us=cpu_us,
        rps=1000.0,
        p50_ms=1.5,
        p99_ms=9.25,
        rss_mib=40.0,
        errors=errors,
        errors_by_kind={"status": errors} if errors else {},
        others_share=others_share,
    )


def results(*, rounds: int = 3, growth: Growth | None = None) -> Results:
    comparison = Comparison(
        versions={"golb": "0.1.0", "nginx": "1.22.1", "envoy": "1.40.0"},
        rest_mib={"golb": 38.5, "nginx": 9.25, "envoy": 60.0},
        left_out={"haproxy": "not installed: the Debian package haproxy"},
        summaries={
            "c1": {
                "golb": summarize([one_round(40), one_round(42), one_round(44)][:rounds]),
                "nginx": summarize([one_round(14), one_round(16), one_round(24)][:rounds]),
                "envoy": summarize([one_round(44, errors=2), one_round(45, others_share=0.4), one_round(46)][:rounds]),
            },
            "c16": {"golb": summarize([one_round(40)] * rounds)},
        },
    )
    return Results(
        machine=Machine(
            date="2026-01-02 03:04",
            processor="Some CPU",
            proxy_core=0,
            load_cores=[1],
            memory_gib=8.0,
            system="Debian, Linux 6",
            virtual=True,
            load_average=0.1,
            versions={"wrk": "4.1.0"},
        ),
        pace=Pace(rounds=rounds, seconds=2.0, warm_up_s=0.5),
        scenarios=SCENARIOS[:2],
        comparison=comparison,
        growth=growth,
    )


def grown(functions: int, cpu_us: float) -> Grown:
    return Grown(functions=functions, endpoints=4, load=summarize([one_round(cpu_us)]), rest_mib=41.0, start_s=0.5)


def test_every_peer_stands_in_the_overview_with_its_median() -> None:
    text = to_markdown(results(), "chart.svg")
    assert "|  | **golb** | nginx | envoy |" in text
    assert "| 1 connection, 1 KiB answers | 42.0 | 16.0 ⚠ | 45.0 |" in text
    assert "![CPU time of the proxy for each request, in every scenario](chart.svg)" in text


def test_a_peer_without_a_figure_shows_a_gap() -> None:
    assert "| 16 connections, 1 KiB answers | 40.0 | - | - |" in to_markdown(results(), "chart.svg")


def test_where_golb_is_worse_the_ratio_says_so() -> None:
    text = to_markdown(results(), "chart.svg")
    assert "above 1, golb needs more" in text
    assert "| 1 connection, 1 KiB answers | 2.62 | 0.93 |" in text


def test_the_spread_is_shown_and_marked_when_it_is_wide() -> None:
    text = to_markdown(results(), "chart.svg")
    assert "42.0 (40.0 to 44.0)" in text
    assert "16.0 ⚠ (14.0 to 24.0)" in text


def test_one_round_shows_no_spread_and_says_so() -> None:
    text = to_markdown(results(rounds=1), "chart.svg")
    assert "(40.0 to" not in text
    assert "One round only" in text


def test_what_was_left_out_noisy_disturbed_or_wrong_is_said() -> None:
    remarks = results().remarks()
    assert "haproxy is left out: not installed: the Debian package haproxy" in remarks
    assert any(remark.startswith("1 connection, 1 KiB answers: rounds too far apart: nginx (62%") for remark in remarks)
    assert "1 connection, 1 KiB answers: errors: envoy (2 status)." in remarks
    assert not any("something else" in remark for remark in remarks)  # one round of three is the median's business
    disturbed = results()
    disturbed.comparison.summaries["c1"]["golb"] = summarize([one_round(40, others_share=0.2)] * 3)
    assert any(
        "something else had the proxy's core: golb (20% of the time)" in remark for remark in disturbed.remarks()
    )


def test_growth_shows_sizes_changes_and_memory() -> None:
    changes = Changes(
        functions=1000,
        rows=[
            Change(
                title="about 2,000 requests/s, weights stay",
                puts_per_s=0.0,
                rps=figure([2000.0]),
                p50_ms=figure([0.5]),
                p99_ms=figure([1.5]),
                errors=figure([0]),
                put_to_pick_p50_ms=2.5,
                put_to_pick_p99_ms=6.5,
                put_to_pick_max_ms=7.5,
                answer_to_pick_p50_ms=-0.5,
                answer_to_pick_p99_ms=3.5,
                samples=120,
            )
        ],
        idle_cpu_share=0.001,
        puts_cpu_share=0.05,
        puts_cpu_us=49.0,
    )
    node = Node(
        functions=10_000,
        workers=2,
        puts_per_s=9_500.0,
        rps=1_950.0,
        p99_ms=20.0,
        parent_cpu_share=0.25,
        workers_cpu_share=[0.3, 0.31],
        parent_mib=90.0,
        workers_mib=[95.0, 96.0],
        put_to_pick_p50_ms=4.0,
        put_to_pick_p99_ms=40.0,
        answer_to_pick_p50_ms=1.0,
        answer_to_pick_p99_ms=25.0,
        samples=300,
    )
    sizes = [grown(1, 40.0), grown(100_000, 44.0)]
    growth = Growth(functions=sizes, changes=changes, node=node, idle_client_kib=6.5)
    text = to_markdown(results(growth=growth), "chart.svg")
    assert "| 100,000 | 4 | 44.0 | +10% |" in text
    assert (
        "| about 2,000 requests/s, weights stay | 0 | 2,000 | 0.5 | 1.5 | 0 | 2.5 | 6.5 | 7.5 | -0.5 | 3.5 | 120 |"
        in text
    )
    assert "takes 5.0% of a core, 49.0 µs a put" in text
    assert "holds 6.5 KiB" in text
    assert (
        "2 workers, all cores, 10,000 functions whose weights are all rewritten again and again (9,500 values" in text
    )
    assert "| parent | 25% | 90.0 |" in text
    assert "| worker 1 | 31% | 96.0 |" in text
    assert "p99 40.0 ms, behind etcd's answer 1 and 25.0 ms, of 300 puts" in text


def test_workers_are_told_beside_the_same_proxies_with_one() -> None:
    workers = Comparison(
        summaries={WORKERS_SCENARIO.key: {"golb": summarize([one_round(40)]), "golb-2": summarize([one_round(41)])}}
    )
    text = to_markdown(evolve(results(), workers=workers), "chart.svg")
    assert "| **golb** | 1 | 40.0 |" in text
    assert "| **golb** | 2 | 41.0 |" in text
    assert "| 25,000 |" in text  # requests for each second of CPU time, at 40 µs each


def test_tables_have_as_many_cells_in_each_row() -> None:
    widths = set()
    for line in to_markdown(results(growth=Growth(functions=[grown(1, 40.0)])), "chart.svg").splitlines():
        if line.startswith("|"):
            widths.add(line.count("|"))
        elif widths:
            assert len(widths) == 1
            widths = set()


def test_the_chart_shows_every_peer_and_marks_golb() -> None:
    panel = Panel("1 connection", {"golb": figure([40, 42, 44]), "nginx": figure([14, 16, 24])})
    root = ET.fromstring(to_svg([panel], "a <machine>"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "1 connection" in texts
    assert "a <machine>" in texts
    assert texts.index("nginx") < texts.index("golb")  # the cheapest first
    assert {"42.0", "16.0 ⚠"} <= set(texts)
    assert [bar.get("class") for bar in root.iter(f"{SVG}rect") if bar.get("class")] == ["bar", "bar-ours"]


def test_bars_are_as_long_as_their_figures() -> None:
    root = ET.fromstring(to_svg([Panel("t", {"golb": figure([50.0]), "envoy": figure([100.0])})], ""))
    ours, other = (float(bar.get("width", 0)) for bar in root.iter(f"{SVG}rect") if bar.get("class"))
    assert ours * 2 == pytest.approx(other)


def test_one_slow_proxy_does_not_hide_the_others() -> None:
    figures = {"nginx": figure([16.0]), "golb": figure([40.0]), "envoy": figure([44.0]), "slow": figure([2000.0])}
    assert scale_end(figures) == 44.0
    root = ET.fromstring(to_svg([Panel("t", figures)], ""))
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "cut"]) == 1
    assert "2,000" in [text.text for text in root.iter(f"{SVG}text")]


def test_the_json_holds_everything(tmp_path: Path) -> None:
    paths = write(results(growth=Growth(idle_client_kib=6.5)), tmp_path, "results")
    assert [path.name for path in paths] == ["results.json", "results.svg", "results.md"]
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["comparison"]["summaries"]["c1"]["golb"]["cpu_us"] == {
        "median": 42,
        "low": 40,
        "high": 44,
        "rounds": 3,
    }
    assert document["machine"]["processor"] == "Some CPU"
    assert document["growth"]["idle_client_kib"] == 6.5
    assert document["remarks"]


@pytest.mark.parametrize(
    ("arguments", "narrowed"),
    [
        ("", False),
        ("--rounds 5", False),
        ("--rounds 1", True),
        ("--peers golb,nginx", True),
        ("--connections 64", True),
        ("--scenarios c64", True),
        ("--no-growth", True),
    ],
)
def test_a_narrowed_run_does_not_replace_the_published_results(arguments: str, *, narrowed: bool) -> None:
    assert is_narrowed(_parser().parse_args(arguments.split())) is narrowed
    assert FULL_NAME != NARROWED_NAME


@pytest.mark.parametrize(
    "arguments",
    [
        "--peers nobody",
        "--connections 0",
        "--connections many",
        "--rounds 0",
        "--seconds -1",
        "--seconds nan",
        "--seconds 1000",
    ],
)
def test_a_wrong_command_line_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(arguments.split())
    assert "error: argument" in capsys.readouterr().err


def test_published_results_are_not_ignored_but_narrowed_ones_are() -> None:
    ignored = (Path(__file__).parents[2] / "benchmarks" / "results" / ".gitignore").read_text().split("\n")
    assert f"{NARROWED_NAME}.*" in ignored
    assert f"{FULL_NAME}.*" not in ignored

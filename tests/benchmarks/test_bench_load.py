"""The load: what wrk is told, and what is read of what it prints."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import benchmarks.load as load_module
from benchmarks.errors import LoadFailed
from benchmarks.growth import Size
from benchmarks.load import Generator, Load, parse_load
from benchmarks.scenarios import CONNECTIONS, SCENARIOS, lua_string, small_answers

if TYPE_CHECKING:
    from pathlib import Path

# In place of wrk, which loses a signal only where it comes in a moment that cannot be chosen.
LOSES_THE_FIRST = """\
#!/bin/sh
trap 'lost=$((lost + 1)); [ "$lost" -lt 2 ] || { echo "$MEASURED"; exit; }' INT
while :; do sleep 0.01; done
"""
OUTPUT = """\
Running 22s test @ http://127.0.0.1:20431/function/echo/hello
  1 threads and 64 connections
^C  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.57ms    1.02ms  18.31ms   91.22%
    Req/Sec    41.80k     2.11k   44.90k    75.00%
  84016 requests in 2.01s, 102.51MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
Requests/sec:  41800.20
Transfer/sec:     51.00MB
measured requests=84016 duration_us=2010000 bytes=107489689 p50_us=1481 p99_us=5120 max_us=18310 connect=0 read=3 write=0 status=7 timeout=1
"""


def test_the_script_s_own_line_is_read() -> None:
    load = parse_load(OUTPUT)
    assert load == Load(84016, 2.01, 1.481, 5.12, {"connect": 0, "read": 3, "write": 0, "status": 7, "timeout": 1})
    assert load.errors == 11
    assert load.rps == pytest.approx(84016 / 2.01)


def test_a_wrk_that_could_not_begin_says_why() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse_load("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_wrk_that_has_lost_the_signal_to_end_gets_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_PATIENCE_S", 0.1)
    monkeypatch.setenv("MEASURED", OUTPUT.splitlines()[-1])
    program = tmp_path / "wrk"
    program.write_text(LOSES_THE_FIRST)
    program.chmod(0o700)
    load = Generator(program=str(program), cores=os.sched_getaffinity(0), directory=tmp_path)
    assert load.run("http://127.0.0.1:1/", "", connections=1, seconds=0.0) == parse_load(OUTPUT)


def test_the_scenarios_are_those_that_the_results_promise() -> None:
    assert [scenario.key for scenario in SCENARIOS] == [
        "c1",
        "c16",
        "c64",
        "c256",
        "large-answers",
        "small-posts",
        "large-posts",
        "new-connections",
        "browser-headers",
    ]
    assert [scenario.connections for scenario in SCENARIOS[:4]] == list(CONNECTIONS)
    by_key = {scenario.key: scenario for scenario in SCENARIOS}
    assert by_key["large-answers"].connections == 8
    assert 'wrk.method = "POST"' in by_key["large-posts"].script
    assert '"x", 1048576' in by_key["large-posts"].script
    assert 'wrk.headers["Connection"] = "close"' in by_key["new-connections"].script
    assert by_key["browser-headers"].script.count("wrk.headers[") == 30


def test_one_connection_is_not_called_connections() -> None:
    assert small_answers(1).title == "1 connection, 1 KiB answers"
    assert small_answers(64).target == "/function/echo/hello"


def test_quotes_in_a_header_stay_in_its_lua_string() -> None:
    assert lua_string('"Linux" \\ more') == '"\\"Linux\\" \\\\ more"'


def test_the_functions_of_a_zone_are_called_at_random() -> None:
    size = Size(functions=1000, endpoints={"127.0.0.1:1": 1, "127.0.0.1:2": 1})
    assert '"GET /function/f" .. math.random(0, 999) .. "/hello HTTP/1.1' in size.script()
    assert size.zone == "zone-1000-2"


def test_each_run_calls_other_functions(tmp_path: Path) -> None:
    load = Generator(program="wrk", cores=[0], directory=tmp_path)
    texts = [load.write_script("request = nil").read_text() for _ in range(3)]
    assert [text.splitlines()[0] for text in texts] == [
        "math.randomseed(0)",
        "math.randomseed(1)",
        "math.randomseed(2)",
    ]
    assert len({text.partition("\n")[2] for text in texts}) == 1
    assert texts[0].splitlines()[1] == "request = nil"


def test_the_functions_of_a_zone_are_called_in_order_from_where_the_last_load_ended() -> None:
    script = Size(functions=1000, endpoints={"127.0.0.1:1": 1}).script_in_order(250)
    assert "local called = 249" in script
    assert "called = (called + 1) % 1000" in script

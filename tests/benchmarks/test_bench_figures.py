"""What is read from /proc, which cores are taken, and what the rounds come to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.children import child
from benchmarks.cores import choose_cores, parse_core_list
from benchmarks.endpoints import endpoints_config, many_addresses
from benchmarks.etcd import function_key, put_body, weights_value
from benchmarks.figures import figure, percentile
from benchmarks.install import install_packages
from benchmarks.machine import field_of
from benchmarks.procfs import ProcessStat, cpu_s, family, parse_core_ticks, parse_stat, resident_bytes

if TYPE_CHECKING:
    from pathlib import Path

STAT = (
    "4242 (nginx: worker) x) S 4200 4242 4242 0 -1 4194368 1201 0 3 0 731 269 12 13 20 0 1 0 887766 "
    "22835200 1873 18446744073709551615 1 1 0 0 0 0 0 1073745920 402745863 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
)


def test_a_program_s_name_may_hold_spaces_and_parentheses() -> None:
    assert parse_stat(STAT) == ProcessStat(pid=4242, parent=4200, cpu_ticks=1000)


def test_a_family_is_a_process_with_all_its_descendants() -> None:
    stats = [ProcessStat(pid, parent, 0) for pid, parent in ((1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 5))]
    assert [stat.pid for stat in family(5, stats)] == [5, 6, 9, 7]
    assert family(77, stats) == []


def test_the_core_s_time_is_that_of_processes() -> None:
    text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 5000 6 7 8 9 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 1\n"
    assert parse_core_ticks(text, 0) == 100 + 20 + 30 + 9
    with pytest.raises(ValueError, match="no core 7"):
        parse_core_ticks(text, 7)


def test_this_process_has_used_cpu_and_memory() -> None:
    assert cpu_s(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 1024 * 1024


def test_the_proxy_has_a_core_to_itself() -> None:
    cores = choose_cores({2, 3, 5}, {2: {2}, 3: {3}, 5: {5}})
    assert cores.proxy == 2
    assert cores.load == {3, 5}
    assert not cores.shared


def test_the_proxy_s_hardware_sibling_stays_empty_if_it_can() -> None:
    siblings = {0: {0, 2}, 1: {1, 3}, 2: {0, 2}, 3: {1, 3}}
    assert choose_cores({0, 1, 2, 3}, siblings).load == {1, 3}
    assert choose_cores({0, 2}, siblings).load == {2}


def test_one_core_is_shared() -> None:
    assert choose_cores({0}, {0: {0}}).shared


def test_the_kernel_s_lists_of_cores() -> None:
    assert parse_core_list("0,2-4\n") == {0, 2, 3, 4}
    assert parse_core_list("\n") == set()


def test_rounds_come_to_a_median_and_a_spread() -> None:
    calm = figure([10.0, 11.0, 12.0])
    assert (calm.median, calm.low, calm.high, calm.rounds) == (11.0, 10.0, 12.0, 3)
    assert calm.spread == pytest.approx(2 / 11)
    assert not calm.noisy
    assert figure([10.0, 11.0, 14.0]).noisy


def test_one_round_and_nothing_at_all_have_no_spread() -> None:
    assert not figure([3.0]).noisy
    assert figure([0.0, 0.0]).spread == 0


def test_percentiles_are_values_that_occurred() -> None:
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (51, 100, 7.0)


def test_endpoints_answer_on_addresses_that_differ() -> None:
    addresses = many_addresses(1000, 9000)
    assert len(set(addresses)) == 1000
    assert all(address.startswith("127.0.") for address in addresses)
    assert "127.0.0.1:9000" not in addresses


def test_the_endpoints_listen_on_every_address(tmp_path: Path) -> None:
    config = endpoints_config(["127.0.0.1:1", "127.0.1.1:2"], tmp_path, as_root=False)
    assert "listen 127.0.0.1:1;" in config
    assert "listen 127.0.1.1:2;" in config
    assert config.count("{") == config.count("}")


def test_weights_are_written_as_the_optimizers_write_them() -> None:
    assert weights_value({"127.0.0.1:1": 5, "127.0.0.1:2": 1}) == (
        '{"ips": ["127.0.0.1:1", "127.0.0.1:2"], "weights": [5, 1]}'
    )
    assert put_body(function_key("zone-a", "f"), "v") == {"key": "Z29sYi9mdW5jdGlvbi96b25lLWEvZg==", "value": "dg=="}


def test_a_processor_has_a_name() -> None:
    assert field_of("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n", "model name") == "Some CPU @ 2 GHz"
    assert field_of("", "model name") == ""


def test_without_root_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.install.find_program", lambda name: None if name == "wrk" else "/bin/x")
    monkeypatch.setattr("benchmarks.install.os.geteuid", lambda: 1000)
    said: list[str] = []
    install_packages(["wrk", "nginx"], said.append)
    assert said == ["missing: wrk; as root on Debian: apt-get install wrk"]


def test_a_child_runs_on_its_core_and_is_gone_afterwards(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    script = "import os, time; print(os.sched_getaffinity(0), flush=True); time.sleep(60)"
    log = tmp_path / "log"
    with child("sleeper", [sys.executable, "-c", script], cores=[core], log=log) as process:
        process.wait_until(lambda: log.read_text().endswith("\n"))
        assert log.read_text() == f"{{{core}}}\n"
    assert process.process.returncode is not None


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.children.STOP_TIMEOUT_S", 0.1)
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    log = tmp_path / "log"
    with child("stubborn", [sys.executable, "-c", script], cores=os.sched_getaffinity(0), log=log) as process:
        process.wait_until(lambda: log.read_text() == "1\n")
    assert process.process.returncode == -9

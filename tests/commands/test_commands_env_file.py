"""The commands of golb read the file of variables too, as golb itself does; what is typed still stands above it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from commands.zones import value

from golb.cli import run
from golb.commands.doctor_report import Check, Report
from golb.commands.doctor_variables import check_variables, with_file

if TYPE_CHECKING:
    from pathlib import Path

    from commands.zones import Zone


@pytest.fixture
def env_file(zone: Zone, tmp_path: Path) -> Path:
    """All that the zone's environment says, moved into a file."""
    path = tmp_path / "golb.env"
    path.write_text("".join(f"{name}={text}\n" for name, text in zone.environ.items()))
    zone.environ = {"eb_go_lb_env_file": str(path), "eb_go_lb_zone": "another"}
    return path


def test_weights_are_those_of_the_files_zone_and_etcd(zone: Zone, env_file: Path) -> None:
    zone.put("f", value(**{"5": 3}))
    ended = zone.weights("get", "f", "--json")
    assert ended.code == 0
    assert ended.json["function"] == "f"


def test_a_zone_that_is_typed_stands_above_the_files(zone: Zone, env_file: Path) -> None:
    zone.put("f", value(**{"5": 3}))
    assert zone.weights("get", "f", "--zone", "nobodys").code == 1


def test_with_a_file_that_is_wrong_no_command_goes_on(zone: Zone, env_file: Path) -> None:
    env_file.write_text("zone-a\n")
    ended = zone.weights("list")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"eb_go_lb_env_file is {str(env_file)!r}, whose line 1 is no eb_go_lb_...=value; it ")


def test_check_shows_what_the_file_sets(zone: Zone, env_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env_file.write_text("eb_go_lb_zone=zone-b\neb_go_lb_colour=red\n")
    assert run(["check"], zone.environ | {"eb_go_lb_node_name": "eb-a"}) == 0
    printed, warned = capsys.readouterr()
    assert "eb_go_lb_zone=zone-b" in printed.splitlines()
    assert f"eb_go_lb_env_file={env_file}" in printed.splitlines()
    assert warned == "eb_go_lb_colour is no variable of golb\n"


def test_check_of_a_file_that_is_not_there_fails_like_golb_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check"], {"eb_go_lb_zone": "zone-a", "eb_go_lb_env_file": "/no/such/file"}) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.startswith("eb_go_lb_env_file is '/no/such/file'; it accepts the path of a file of lines ")
    assert told.count("\n") == 1


def test_the_doctor_tells_of_a_bad_line_and_looks_at_the_rest_all_the_same(zone: Zone, env_file: Path) -> None:
    env_file.write_text("eb_go_lb_zone=zone-b\neb_go_lb_queue 5\n")
    report = Report()
    setup = check_variables(with_file(zone.environ | {"eb_go_lb_node_name": "eb-a"}, report), report)
    assert setup is not None
    assert setup.config.zone == "another"
    fault = next(each for each in report.findings if each.check is Check.VARIABLES)
    assert fault.text == f"eb_go_lb_env_file is {str(env_file)!r}, whose line 2 is no eb_go_lb_...=value"
    assert fault.advice.startswith("it accepts the path of a file of lines ")


def test_the_doctor_goes_by_the_file_and_what_is_typed_stands_above_it(
    zone: Zone, env_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def variables(*arguments: str) -> str:
        run(["doctor", "--json", "--timeout", "1ms", *arguments], zone.environ | {"eb_go_lb_node_name": "eb-a"})
        findings = json.loads(capsys.readouterr().out)["findings"]
        return str(next(each["text"] for each in findings if each["check"] == "variables"))

    env_file.write_text("eb_go_lb_zone=zone-b\neb_go_lb_handler_type=wrr\neb_go_lb_etcd_host=127.0.0.1:1\n")
    assert "zone zone-b, node eb-a" in variables()
    assert "zone zone-c, node eb-a" in variables("--zone", "zone-c")

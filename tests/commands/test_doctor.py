"""`golb doctor` as a whole, and what it says of the variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands.doctors import NOWHERE, weights

from golb.cli import run
from golb.commands import doctor_variables
from golb.commands.doctor_report import Check, Report

if TYPE_CHECKING:
    from commands.doctors import Doctor
    from commands.zones import Zone


def test_a_good_set_up_is_ok_in_each_check(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    found = doctor()
    assert [(each["check"], each["verdict"]) for each in found.report["findings"]] == [
        (check, "ok")
        for check in (
            "variables",
            "etcd",
            "clock",
            "gateway-api",
            "login",
            "zone",
            "values",
            "targets",
            "gateways",
            "limits",
            "listen",
            "admin",
        )
    ]
    assert (found.code, found.report["verdict"]) == (0, "ok")
    assert found.report["counts"] == {"ok": 12, "warning": 0, "wrong": 0, "skipped": 0}


def test_people_get_a_table_with_what_to_do(doctor: Doctor) -> None:
    code, out, _ = doctor.text(etcd_host=NOWHERE)
    assert code == 1
    assert out.splitlines()[0].split("  ")[0] == "VERDICT"
    (line,) = [line for line in out.splitlines() if line.startswith("wrong")]
    assert line.split(maxsplit=2)[2].startswith(f"http://{NOWHERE}: nobody listens there")
    assert line.endswith("start etcd, or correct eb_go_lb_etcd_host")


@pytest.mark.parametrize("arguments", [["--nope"], ["--timeout", "soon"], ["patient"]])
def test_wrong_usage_is_code_2(doctor: Doctor, arguments: list[str]) -> None:
    code, out, err = doctor.text(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: golb doctor ")


def test_nothing_that_was_found_reaches_the_terminal_as_control_characters() -> None:
    report = Report()
    report.ok(Check.ZONE, "zone\x1b[2J\nwrong")
    assert report.findings[0].text == "zone\\x1b[2J\\nwrong"


# Variables


def test_variables_are_judged_as_golb_does_and_the_rest_is_looked_at(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    found = doctor(listen_port="x", drain_timeout="soon", zne="zone-a", nonsense="1")
    assert found.code == 1
    verdicts = {text: (verdict, advice) for verdict, text, advice in found.of("variables")}
    assert verdicts["eb_go_lb_listen_port is 'x'"] == ("wrong", "it accepts a port from 1 to 65535")
    assert verdicts["eb_go_lb_drain_timeout is 'soon'"][0] == "wrong"
    assert verdicts["eb_go_lb_zne is no variable of golb"] == ("warning", "did you mean eb_go_lb_zone?")
    assert verdicts["eb_go_lb_nonsense is no variable of golb"][0] == "warning"
    assert found.only("targets")[0] == "ok"
    assert found.only("listen") == ("skipped", "eb_go_lb_listen_port first", "")


@pytest.mark.parametrize(
    ("variables", "fault", "skipped"),
    [
        ({"zone": "a/b"}, "eb_go_lb_zone is 'a/b'", "login"),
        ({"etcd_host": "etcd:port"}, "eb_go_lb_etcd_host is 'etcd:port'", "etcd"),
        ({"etcd_user": "golb"}, "eb_go_lb_etcd_password is not set, nor eb_go_lb_etcd_password_file", "etcd"),
        ({"gateways": "host:port"}, "eb_go_lb_gateways is 'host:port'", "gateways"),
        ({"weight_updater": "file"}, "eb_go_lb_weights_file is not set", "values"),
        ({"tls_cert": "/nowhere"}, "eb_go_lb_tls_cert is '/nowhere'", None),
    ],
)
def test_a_wrong_variable_is_said_once_and_what_depends_on_it_is_skipped(
    doctor: Doctor, variables: dict[str, str], fault: str, skipped: str | None
) -> None:
    found = doctor(**variables)
    assert found.code == 1
    assert [text for verdict, text, _ in found.of("variables") if verdict == "wrong" and text.startswith(fault)]
    if skipped is not None:
        assert found.only(skipped)[0] == "skipped"


def test_the_handler_that_balances_nothing_is_warned_of(doctor: Doctor) -> None:
    found = doctor(handler_type="")
    assert found.only("variables")[::2] == ("warning", "set eb_go_lb_handler_type=wrr")


@pytest.mark.parametrize(
    ("variables", "fault", "advice"),
    [
        ({"workers": "0"}, "eb_go_lb_workers is '0'", "it accepts a number from 1 to 256, or auto"),
        ({"workers": "many"}, "eb_go_lb_workers is 'many'", "it accepts a number from 1 to 256, or auto"),
        ({"takeover": "yes"}, "eb_go_lb_takeover is 'yes'", "it accepts off | on"),
        ({"drain_timeout": "none"}, "eb_go_lb_drain_timeout is 'none'", "it accepts a duration such as 10, "),
        ({"tunnel_drain_timeout": "-1"}, "eb_go_lb_tunnel_drain_timeout is '-1'", "it accepts a duration such as 10, "),
    ],
)
def test_golb_check_and_the_doctor_say_what_workers_takeover_and_drain_accept(
    doctor: Doctor, capsys: pytest.CaptureFixture[str], variables: dict[str, str], fault: str, advice: str
) -> None:
    verdict, text, what_to_do = doctor(**variables).only("variables")
    assert (verdict, text) == ("wrong", fault)
    assert what_to_do.startswith(advice)
    environ = {"eb_go_lb_zone": "zone-a"} | {f"eb_go_lb_{name}": value for name, value in variables.items()}
    assert run(["check"], environ) == 2
    assert capsys.readouterr().err.startswith(f"{fault}; {advice}")


@pytest.mark.parametrize(("cores", "verdict"), [(3, "ok"), (2, "warning")])
def test_more_workers_than_cores_are_warned_of(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, cores: int, verdict: str
) -> None:
    monkeypatch.setattr(doctor_variables, "usable_cores", lambda: cores)
    assert doctor(workers="3").only("variables")[0] == verdict


def test_a_drain_without_any_time_is_warned_of(doctor: Doctor) -> None:
    verdict, text, advice = doctor(drain_timeout="0").only("variables")
    assert (verdict, text.partition(":")[0]) == ("warning", "eb_go_lb_drain_timeout is 0")
    assert "not no limit" in advice

"""`golb doctor` in this process, against real etcds and real sockets: each thing that may be wrong, and what it says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen
from commands.zones import value
from support.golb_process import GolbProcess, free_port

from demo.etcd import EtcdProcess, etcdctl_path
from golb.cli import run
from golb.commands.doctor_limits import check_limits
from golb.commands.doctor_report import Check, Report
from golb.commands.doctor_variables import check_variables
from golb.commands.doctor_visit import Visit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands.zones import Zone

NOWHERE = "127.0.0.1:1"
USER, PASSWORD = "golb", "s3cret"


@frozen
class Diagnosis:
    """What the doctor has said."""

    code: int
    report: dict[str, Any]

    def of(self, check: str) -> list[tuple[str, str, str]]:
        """The findings of a check: verdict, text, advice."""
        found = [each for each in self.report["findings"] if each["check"] == check]
        return [(each["verdict"], each["text"], each["advice"]) for each in found]

    def only(self, check: str) -> tuple[str, str, str]:
        """The only finding of a check."""
        (finding,) = self.of(check)
        return finding


class Doctor:
    """The command line, with the variables of a golb that would serve the zone."""

    def __init__(self, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
        self.environ = {
            **zone.environ,
            "eb_go_lb_handler_type": "wrr",
            "eb_go_lb_node_name": "eb-a",
            "eb_go_lb_listen_host": "127.0.0.1",
            "eb_go_lb_listen_port": str(free_port()),
            "eb_go_lb_admin_listen": f"127.0.0.1:{free_port()}",
        }
        self._capsys = capsys

    def text(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run it for people; return the exit code, stdout and stderr."""
        self._capsys.readouterr()
        environ = self.environ | {f"eb_go_lb_{name}": text for name, text in variables.items()}
        code = run(["doctor", *arguments], environ)
        return code, *self._capsys.readouterr()

    def __call__(self, *arguments: str, **variables: str) -> Diagnosis:
        code, out, err = self.text("--json", *arguments, **variables)
        assert err == ""
        return Diagnosis(code, json.loads(out))


@pytest.fixture
def doctor(zone: Zone, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(zone, capsys)


@pytest.fixture
def target() -> Iterator[str]:
    """An endpoint that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def weights(*targets: str) -> dict[str, list[Any]]:
    return {"ips": list(targets), "weights": [1] * len(targets)}


# All of it


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
        ({"etcd_user": USER}, "eb_go_lb_etcd_password is not set, nor eb_go_lb_etcd_password_file", "etcd"),
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


# etcd


class Answering(BaseHTTPRequestHandler):
    """What else may be found at an address."""

    body = b"welcome"
    date = "Fri, 01 Jan 2021 00:00:00 GMT"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - the base class has it
        return self.date

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class OldEtcd(Answering):
    """It says it is an etcd, its clock stands, and it has no JSON API."""

    body = b'{"etcdserver": "3.3.0", "etcdcluster": "3.3.0"}'


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_etcd_that_is_away_is_wrong_and_what_needs_it_is_skipped(doctor: Doctor) -> None:
    found = doctor("--etcd", NOWHERE)
    assert found.code == 1
    assert found.only("etcd")[0] == "wrong"
    for check in ("clock", "gateway-api", "login", "zone", "values", "targets"):
        assert found.only(check)[0] == "skipped"
    assert found.only("listen")[0] == "ok"


def test_one_member_of_several_that_is_away_is_a_warning(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    found = doctor(etcd_host=f"{NOWHERE} {zone.etcd.client_url}")
    assert [verdict for verdict, _, _ in found.of("etcd")] == ["warning", "ok"]
    assert found.only("zone")[0] == "ok"
    assert found.code == 0


def test_something_else_at_etcds_address_is_told_from_etcd(doctor: Doctor) -> None:
    with serving(Answering) as address:
        found = doctor("--etcd", address)
    assert found.only("etcd") == (
        "wrong",
        f"http://{address}: something else than etcd answers there, HTTP 200",
        "correct eb_go_lb_etcd_host",
    )


def test_tls_where_etcd_has_none_is_said(zone: Zone, doctor: Doctor) -> None:
    verdict, text, advice = doctor("--etcd", f"https://127.0.0.1:{zone.etcd.port}").only("etcd")
    assert verdict == "wrong"
    assert "no TLS" in text
    assert "http://" in advice


def test_an_etcd_that_accepts_and_says_nothing_costs_no_more_than_the_timeout(doctor: Doctor, target: str) -> None:
    found = doctor("--timeout", "200ms", "--etcd", target)
    assert found.only("etcd") == ("warning", "not done within 0.2 s", "raise --timeout")
    assert found.only("limits")[0] == "ok"


def test_ctrl_c_ends_it_at_once(zone: Zone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = os.environ | zone.environ | {"eb_go_lb_etcd_host": f"127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-m", "golb", "doctor"]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


def test_a_clock_that_is_wrong_is_said(doctor: Doctor) -> None:
    with serving(OldEtcd) as address:
        found = doctor("--etcd", address)
    verdict, text, advice = found.only("clock")
    assert verdict == "wrong"
    assert f"s ahead of that of http://{address}" in text
    assert "synchronize" in advice
    assert found.only("gateway-api")[0] == "wrong"


def test_an_etcd_without_its_json_gateway_is_said(doctor: Doctor) -> None:
    with EtcdProcess(extra_args=["--enable-grpc-gateway=false"]) as etcd:
        found = doctor("--etcd", etcd.client_url)
    assert found.only("etcd")[0] == "ok"
    assert found.only("gateway-api") == (
        "wrong",
        f"{etcd.client_url} serves no JSON API at /v3/",
        "start etcd without --enable-grpc-gateway=false; etcd is 3.4 or newer",
    )
    assert found.only("login")[0] == "skipped"


# Users


def etcdctl(etcd: EtcdProcess, *arguments: str) -> None:
    subprocess.run(
        [etcdctl_path(), f"--endpoints={etcd.client_url}", *arguments], check=True, capture_output=True, timeout=30
    )


@pytest.fixture(scope="module")
def guarded() -> Iterator[EtcdProcess]:
    """An etcd in which root may do all, and one user may read one zone."""
    with EtcdProcess(extra_args=["--bcrypt-cost=4"]) as etcd:
        for name in ("root", USER):
            etcdctl(etcd, "user", "add", f"{name}:{PASSWORD}")
            etcdctl(etcd, "role", "add", name)
            etcdctl(etcd, "user", "grant-role", name, name)
        etcdctl(etcd, "role", "grant-permission", USER, "read", "golb/function/mine/", "--prefix=true")
        etcdctl(etcd, "auth", "enable")
        yield etcd


@pytest.mark.parametrize(
    ("variables", "text", "advice"),
    [
        ({}, "etcd wants a user: ", "set eb_go_lb_etcd_user and eb_go_lb_etcd_password_file"),
        ({"etcd_user": USER, "etcd_password": "no"}, f"user {USER}: ", "correct eb_go_lb_etcd_user and "),
        (
            {"etcd_user": USER, "etcd_password": PASSWORD, "zone": "other"},
            f"user {USER} may not do what golb does: ",
            "etcdctl role grant-permission <role> read --prefix=true golb/function/other/",
        ),
        (
            {"etcd_user": USER, "etcd_password": PASSWORD, "ack": "on"},
            f"user {USER} may not do what golb does: ",
            "etcdctl role grant-permission <role> read --prefix=true golb/function/mine/, and (eb_go_lb_ack) readwrite golb/status/mine/eb-a",
        ),
    ],
)
def test_what_etcd_refuses_is_told_apart(
    guarded: EtcdProcess, doctor: Doctor, variables: dict[str, str], text: str, advice: str
) -> None:
    found = doctor(**{"zone": "mine", "etcd_host": guarded.client_url} | variables)
    verdict, said, to_do = found.only("login")
    assert (verdict, found.code) == ("wrong", 1)
    assert said.startswith(text)
    assert to_do.startswith(advice)
    assert found.only("gateway-api")[0] == "ok"
    assert found.only("zone")[0] == "skipped"


def test_a_user_that_may_read_its_zone_is_enough(guarded: EtcdProcess, doctor: Doctor) -> None:
    found = doctor(zone="mine", etcd_host=guarded.client_url, etcd_user=USER, etcd_password=PASSWORD)
    assert found.only("login") == ("ok", f"user {USER} may read golb/function/mine/", "")
    # It may not read the other zones, so nothing is said of them.
    assert found.only("zone")[:2] == ("warning", "mine has no keys; golb answers 404 to every call")
    assert found.code == 0


def test_whether_golb_may_tell_its_state_is_asked_without_a_put(guarded: EtcdProcess, doctor: Doctor) -> None:
    login = {"etcd_user": "root", "etcd_password": PASSWORD, "etcd_host": guarded.client_url}
    found = doctor(zone="mine", ack="on", **login)
    assert found.only("login")[0] == "ok"
    listed = subprocess.run(
        [
            etcdctl_path(),
            f"--endpoints={guarded.client_url}",
            f"--user=root:{PASSWORD}",
            "get",
            "--prefix",
            "golb/",
            "--keys-only",
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    assert listed.stdout == b""
    assert found.only("zone")[:2] == ("warning", "mine has no keys; no other zone has any either")


def test_no_password_is_ever_shown(guarded: EtcdProcess, doctor: Doctor) -> None:
    for password in (PASSWORD, "wr0ng", "two\nlines"):
        code, out, err = doctor.text(etcd_host=guarded.client_url, etcd_user=USER, etcd_password=password)
        assert code == 1
        assert password not in out + err


# The zone and its weights


def test_a_zone_without_keys_is_wrong_where_others_have_some(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    verdict, text, advice = doctor("--zone", "zone-nobody-has").only("zone")
    assert verdict == "wrong"
    assert text.startswith("zone-nobody-has has no keys; others have: ")
    assert advice.startswith("correct eb_go_lb_zone, or put weights")


def test_values_that_golb_refuses_are_said_with_its_reasons(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    zone.put("negative", value(**{"5": -1}))
    zone.put("a/b", weights(target))
    zone.put("drained", {"ips": [target], "weights": [0]})
    found = doctor()
    assert found.code == 1
    said = {text: verdict for verdict, text, _ in found.of("values")}
    assert said["drained has no target with a positive weight"] == "warning"
    assert next(verdict for text, verdict in said.items() if text.startswith("negative: weights[0] is -1")) == "wrong"
    assert next(verdict for text, verdict in said.items() if "/a/b: the key is not" in text) == "warning"
    assert len(said) == 3


def test_of_many_faults_of_a_kind_twenty_are_named(zone: Zone, doctor: Doctor) -> None:
    for number in range(23):
        zone.put(f"bad-{number}", "no JSON")
    found = doctor().of("values")
    assert len(found) == 21
    assert found[-1][1] == "3 more of the same kind"


def test_targets_that_do_not_accept_are_named_with_their_functions(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target, NOWHERE))
    zone.put("again", weights(target, NOWHERE))
    zone.put("named", weights("no-such-host.invalid:80"))
    zone.put("drained", {"ips": [target, "127.0.0.1:2"], "weights": [1, 0]})
    found = doctor()
    dead = {text.partition(" ")[0]: text for verdict, text, _ in found.of("targets") if verdict == "wrong"}
    assert dead.keys() == {NOWHERE, "no-such-host.invalid:80"}
    assert dead[NOWHERE] == f"{NOWHERE} (again, hello): Connection refused"
    assert "does not resolve" in dead["no-such-host.invalid:80"]
    assert found.code == 1


def test_targets_that_are_not_tried_in_time_are_counted(zone: Zone, doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as clients:
        # The kernel drops what comes when as many wait as may, and one: these fill the queue of those to be accepted.
        for _ in range(2):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        zone.put("hello", weights(f"127.0.0.1:{full.getsockname()[1]}"))
        assert doctor(connect_timeout="100ms").only("targets")[1].endswith("no answer within 0.1 s")
        found = doctor("--timeout", "1s", connect_timeout="5s")
    assert found.only("targets") == ("warning", "1 of 1 were not tried in time", "raise --timeout")


def test_a_target_that_is_golb_itself_is_wrong(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    verdict, text, _ = doctor(listen_port=target.rpartition(":")[2]).only("targets")
    assert verdict == "wrong"
    assert text == f"{target} (hello): golb itself listens there, and answers what comes back to it with 508"


def test_weights_in_a_file_are_looked_at_without_etcd(zone: Zone, doctor: Doctor, target: str) -> None:
    path = zone.file({"hello": weights(target), "bad": {}})
    found = doctor(weight_updater="file", weights_file=path, etcd_host=NOWHERE)
    assert found.only("etcd")[0] == "skipped"
    assert found.only("zone") == ("ok", f"functions in {path}: 2", "")
    assert found.only("values")[1].startswith("bad: ")
    assert found.only("targets")[0] == "ok"
    no_object = zone.file("[]")
    assert doctor(weight_updater="file", weights_file=no_object).only("zone")[0] == "wrong"


# Gateways


def test_the_placeholder_of_the_manifests_is_wrong(doctor: Doctor) -> None:
    found = doctor(gateways="set-me.zone-b.invalid:8080")
    assert found.only("gateways")[:2] == ("wrong", "set-me.zone-b.invalid:8080 is a placeholder")


def test_a_gateway_that_is_this_node_is_wrong(doctor: Doctor) -> None:
    address = f"127.0.0.1:{doctor.environ['eb_go_lb_listen_port']}"
    assert doctor(gateways=address).only("gateways")[:2] == (
        "wrong",
        f"{address} is this node: its calls would come back to it",
    )
    assert doctor(gateways="127.0.0.1").only("gateways")[0] == "warning"


def test_a_gateway_that_the_weights_write_otherwise_is_warned_of(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    named = target.replace("127.0.0.1", "localhost")
    verdict, text, advice = doctor(gateways=named).only("gateways")
    assert (verdict, text) == ("warning", f"{target} is {named}, but golb compares what is written")
    assert "as it stands in the weights" in advice
    assert doctor(gateways=target).only("gateways")[:2] == (
        "ok",
        "1 listed, 1 among the targets; no other looks like one",
    )


def test_a_target_of_several_functions_looks_like_a_gateway(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    zone.put("world", weights(target))
    verdict, text, _ = doctor().only("gateways")
    assert (verdict, text) == ("warning", f"{target} (hello, world) stands under 2 functions, and is no gateway")
    assert doctor(gateways=target).only("gateways")[0] == "ok"


# The machine


def test_a_port_that_something_else_has_is_wrong(doctor: Doctor) -> None:
    with serving(Answering) as address:
        verdict, text, advice = doctor(listen_port=address.rpartition(":")[2]).only("listen")
    assert (verdict, text) == ("wrong", f"{address} is taken by something else, which answers HTTP 200")
    assert "ss -ltnp" in advice


def test_an_address_of_another_machine_is_wrong(doctor: Doctor) -> None:
    assert doctor(listen_host="192.0.2.1").only("listen")[0] == "wrong"


def test_a_golb_that_runs_is_asked_whether_it_is_ready(zone: Zone, doctor: Doctor, target: str) -> None:
    zone.put("hello", weights(target))
    admin = f"127.0.0.1:{free_port()}"
    with GolbProcess(etcd_host=zone.etcd.client_url, zone=zone.name, admin_listen=admin) as golb:
        found = doctor(listen_port=str(golb.port), admin_listen=admin)
        wrong_zone = doctor("--zone", "another", listen_port=str(golb.port), admin_listen=admin)
        wrong_admin = doctor(listen_port=str(golb.port), admin_listen=NOWHERE)
    assert found.only("listen")[:2] == ("ok", f"a golb listens at 127.0.0.1:{golb.port}")
    verdict, text, _ = found.only("admin")
    assert verdict == "ok"
    assert text.startswith("golb is ready: weights from etcd, revision ")
    assert found.code == 0
    assert wrong_zone.only("listen")[0] == "warning"
    assert wrong_admin.only("admin")[0] == "warning"


def test_a_golb_without_weights_is_not_ready(zone: Zone, doctor: Doctor) -> None:
    admin = f"127.0.0.1:{free_port()}"
    with GolbProcess(etcd_host=NOWHERE, zone=zone.name, admin_listen=admin) as golb:
        found = doctor(listen_port=str(golb.port), admin_listen=admin)
    verdict, text, _ = found.only("admin")
    assert (verdict, found.code) == ("wrong", 1)
    assert text.startswith("golb is not ready: the weights have not been loaded yet")


def test_an_admin_port_that_something_else_has_is_wrong(doctor: Doctor) -> None:
    with serving(Answering) as address:
        assert doctor(admin_listen=address).only("admin")[:2] == ("wrong", f"{address} is taken")
    assert doctor(admin_listen="off").only("admin")[0] == "skipped"


# Limits


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """What the kernel shows of a network with narrow limits."""
    for name, text in {
        "ipv4/ip_local_port_range": "8000\t9999\n",
        "ipv4/ip_local_reserved_ports": "8081,9000-9010\n",
        "core/somaxconn": "128\n",
    }.items():
        path = tmp_path / "net" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "net"


async def limits_of(net: Path, **variables: str) -> list[str]:
    report = Report()
    setup = check_variables(
        {"eb_go_lb_zone": "zone-a"} | {f"eb_go_lb_{name}": v for name, v in variables.items()}, report
    )
    assert setup is not None
    await check_limits(Visit(setup, report), net)
    return [each.text for each in report.findings if each.check is Check.LIMITS]


async def test_narrow_limits_are_warned_of(net: Path) -> None:
    ports, listen, backlog = await limits_of(net, listen_port="8080")
    assert ports == "ports 8000 to 9999 to connect from: 2,000 connections at once to each endpoint"
    assert listen.startswith("port 8080 may be taken by any connection")
    assert backlog == "128 clients may wait to be accepted; golb asks for 4096"


@pytest.mark.parametrize("port", ["8081", "9005", "7999"])
async def test_a_port_that_no_connection_is_given_is_well_chosen(net: Path, port: str) -> None:
    assert not any(text.startswith("port ") for text in await limits_of(net, listen_port=port))


async def test_more_connections_than_descriptors_are_warned_of(net: Path) -> None:
    text, *_ = await limits_of(net, max_connections="1000000000")
    assert "eb_go_lb_max_connections=1000000000 takes 2,000,000,512" in text


async def test_a_kernel_that_does_not_show_its_limits_is_no_fault(tmp_path: Path) -> None:
    (text,) = await limits_of(tmp_path)
    assert "cannot be read: No such file or directory" in text

"""`golb doctor` against real etcds, and what is none: who answers, what time it is there, and whom it lets in."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from commands.doctors import NOWHERE, Answering, serving, weights

from demo.etcd import EtcdProcess, etcdctl_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands.doctors import Doctor
    from commands.zones import Zone

USER, PASSWORD = "golb", "s3cret"


class OldEtcd(Answering):
    """It says it is an etcd, its clock stands, and it has no JSON API."""

    body = b'{"etcdserver": "3.3.0", "etcdcluster": "3.3.0"}'


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

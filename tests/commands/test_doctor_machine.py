"""`golb doctor` on its own machine: ports, a golb that runs already, limits."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
from commands.doctors import NOWHERE, Answering, serving, weights
from support.golb_process import GolbProcess, free_port

from golb.commands.doctor_limits import check_limits
from golb.commands.doctor_report import Check, Report
from golb.commands.doctor_variables import check_variables
from golb.commands.doctor_visit import Visit

if TYPE_CHECKING:
    from pathlib import Path

    from commands.doctors import Doctor
    from commands.zones import Zone


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


async def test_each_worker_needs_descriptors_for_its_share_of_the_connections(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 10_000))
    text, *_ = await limits_of(net, max_connections="8000", workers="1")
    assert text == "10,000 file descriptors at most; eb_go_lb_max_connections=8000 takes 16,512"
    assert not [text for text in await limits_of(net, max_connections="8000", workers="2") if "descriptors" in text]
    text, *_ = await limits_of(net, max_connections="18001", workers="2")
    assert text.endswith("; of 2 workers each has its share: eb_go_lb_max_connections=18001 takes 18,514")


async def test_a_kernel_that_does_not_show_its_limits_is_no_fault(tmp_path: Path) -> None:
    (text,) = await limits_of(tmp_path)
    assert "cannot be read: No such file or directory" in text

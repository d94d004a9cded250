"""`golb doctor` on the weights: values, targets, and which of them are gateways."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from commands.doctors import NOWHERE, weights
from commands.zones import value

if TYPE_CHECKING:
    from commands.doctors import Doctor
    from commands.zones import Zone


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

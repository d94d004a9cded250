"""deploy/k8s: builds, is valid, and has the shape that golb's users rely on (CONTRACT.md, section 5)."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from attrs import fields
from kubernetes_validate.utils import all_versions

from demo.ports import keep_port
from golb import cli
from golb.config import Config

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
OTHER_ZONE = {"zone-a": "zone-b", "zone-b": "zone-a"}
DIRECTORIES = ["overlays/zone-a", "overlays/zone-b", "etcd", "example"]

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="kubectl, which builds deploy/k8s, is not on PATH (Debian: apt-get install kubernetes-client)",
)


CHUNKED = {"Transfer-Encoding": "chunked"}
START_TIMEOUT_S = 20.0


@cache
def build(directory: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send. The tests only read it."""
    done = subprocess.run(["kubectl", "kustomize", K8S / directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def one(directory: str, kind: str, name: str | None = None) -> Any:
    (found,) = [
        document
        for document in build(directory)
        if document["kind"] == kind and name in {None, document["metadata"]["name"]}
    ]
    return found


def workload(directory: str) -> Any:
    (found,) = [document for document in build(directory) if "template" in document.get("spec", {})]
    return found


def pod_spec(directory: str) -> Any:
    return workload(directory)["spec"]["template"]["spec"]


def container(directory: str) -> Any:
    (found,) = pod_spec(directory)["containers"]
    return found


def values(zone: str) -> dict[str, str]:
    """What golb's pod of this zone finds in its environment, on a node called `node-1`."""
    return {variable["name"]: variable.get("value", "node-1") for variable in container(f"overlays/{zone}")["env"]}


def open_connection(port: int, process: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    """A connection to what `process` serves, as soon as it does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            connection.connect()
        except ConnectionRefusedError:
            time.sleep(0.02)  # not up yet; the deadline above bounds it
        else:
            return connection
    pytest.fail("it did not serve")


@pytest.mark.parametrize("version", [all_versions()[0], all_versions()[-1]])
@pytest.mark.parametrize("directory", ["base", *DIRECTORIES])
def test_every_document_is_valid(directory: str, version: str) -> None:
    documents = build(directory)
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_the_daemon_set_has_the_contracts_shape(zone: str) -> None:
    (daemon_set,) = build(f"overlays/{zone}")
    assert daemon_set["kind"] == "DaemonSet"
    # Its pods are called <this name>-<five letters>.
    assert daemon_set["metadata"]["name"] == f"go-load-balancer-deployment-{zone}"
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert labels == {
        "type": "api-gateway",
        "app": "go-load-balancer",
        "ether.edgerun.io/type": "api-gateway",
        "ether.edgerun.io/function": "api-gateway",
        "ether.edgerun.io/zone": zone,
    }
    selector = daemon_set["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels.items()
    assert selector["ether.edgerun.io/zone"] == zone, "the two zones' DaemonSets would claim each other's pods"
    spec = pod_spec(f"overlays/{zone}")
    assert spec["nodeSelector"] == {
        "node-role.kubernetes.io/controller": "true",
        "ether.edgerun.io/zone": zone,
    }
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    # A surge would need the node's port 8080 a second time.
    assert "maxSurge" not in daemon_set["spec"]["updateStrategy"]["rollingUpdate"]


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_golb_listens_where_the_node_is_asked(zone: str) -> None:
    golb = container(f"overlays/{zone}")
    (port,) = golb["ports"]
    assert (port["containerPort"], port["hostPort"], port["protocol"]) == (8080, 8080, "TCP")
    assert values(zone)["eb_go_lb_listen_port"] == "8080"
    # The other probes ask the admin port, see test_monitoring.py.
    assert golb["startupProbe"]["tcpSocket"]["port"] in {8080, port["name"]}


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_golb_is_told_its_zone_node_and_gateways(zone: str) -> None:
    by_name = {variable["name"]: variable for variable in container(f"overlays/{zone}")["env"]}
    assert by_name["eb_go_lb_node_name"]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    given = values(zone)
    assert given["eb_go_lb_zone"] == zone
    assert given["eb_go_lb_handler_type"] == "wrr"
    assert given["eb_go_lb_mode"] == "prod"
    # A name that can never resolve (RFC 2606), until the user sets it.
    assert given["eb_go_lb_gateways"] == f"set-me.{OTHER_ZONE[zone]}.invalid:8080"


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_golb_knows_every_variable_it_is_given(zone: str) -> None:
    assert values(zone).keys() <= {f"eb_go_lb_{variable.name}" for variable in fields(Config)}


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_golb_accepts_every_value_it_is_given(zone: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["check"], values(zone))
    assert (code, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_the_grace_period_holds_pre_stop_and_drain(zone: str) -> None:
    command = container(f"overlays/{zone}")["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    drain_s = float(values(zone)["eb_go_lb_drain_timeout"])
    # After the drain golb still closes what is left, and exits: on a slow board not at once.
    assert pod_spec(f"overlays/{zone}")["terminationGracePeriodSeconds"] >= float(command[1]) + drain_s + 5


def test_both_zones_fit_into_one_namespace() -> None:
    names = [
        (document["kind"], document["metadata"]["name"]) for directory in DIRECTORIES for document in build(directory)
    ]
    assert len(names) == len(set(names))
    # Where to, `kubectl apply --namespace` says.
    assert not any("namespace" in document["metadata"] for directory in DIRECTORIES for document in build(directory))


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_no_container_may_more_than_it_needs(directory: str) -> None:
    spec = pod_spec(directory)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    its_container = container(directory)
    assert its_container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert its_container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in its_container["resources"]["limits"]


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_golb_may_write_where_it_keeps_its_last_table(zone: str) -> None:
    spec = pod_spec(f"overlays/{zone}")
    (volume,) = spec["volumes"]
    (mount,) = container(f"overlays/{zone}")["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert not mount.get("readOnly", False)
    assert values(zone)["eb_go_lb_state_dir"] == mount["mountPath"]
    assert volume["emptyDir"].get("medium", "") == "", "in memory it would be gone after a reboot"
    # The kubelet gives the directory to this group, which is the one golb runs as.
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


@pytest.mark.parametrize("zone", OTHER_ZONE)
def test_the_pod_runs_the_image_that_make_docker_builds(zone: str) -> None:
    makefile = dict(re.findall(r"^(\w+) \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert container(f"overlays/{zone}")["image"] == f"{makefile['IMAGE']}:{makefile['TAG']}"
    user = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    context = pod_spec(f"overlays/{zone}")["securityContext"]
    assert user == [(str(context["runAsUser"]), str(context["runAsGroup"]))]


def test_etcds_members_find_each_other_and_golb_finds_them() -> None:
    stateful_set = one("etcd", "StatefulSet")
    name, headless = stateful_set["metadata"]["name"], stateful_set["spec"]["serviceName"]
    assert stateful_set["spec"]["replicas"] == 3
    hosts = [f"{name}-{ordinal}.{headless}" for ordinal in range(3)]
    flags = dict(argument.lstrip("-").split("=", 1) for argument in container("etcd")["command"][1:])
    assert flags["initial-cluster"] == ",".join(f"{host.split('.')[0]}=http://{host}:2380" for host in hosts)
    assert flags["name"] == "$(POD_NAME)"
    assert flags["initial-advertise-peer-urls"] == f"http://$(POD_NAME).{headless}:2380"
    assert flags["advertise-client-urls"] == f"http://$(POD_NAME).{headless}:2379"
    (mount,) = container("etcd")["volumeMounts"]
    assert Path(flags["data-dir"]).is_relative_to(mount["mountPath"])
    assert [claim["metadata"]["name"] for claim in stateful_set["spec"]["volumeClaimTemplates"]] == [mount["name"]]
    for zone in OTHER_ZONE:
        assert values(zone)["eb_go_lb_etcd_host"].split() == [f"{host}:2379" for host in hosts]


def test_etcds_services_lead_to_its_pods() -> None:
    labels = workload("etcd")["spec"]["template"]["metadata"]["labels"]
    headless, client = one("etcd", "Service", "etcd"), one("etcd", "Service", "etcd-client")
    assert headless["spec"]["clusterIP"] == "None"
    # Without it no member's name resolves before it is ready, and none gets ready before the names resolve.
    assert headless["spec"]["publishNotReadyAddresses"] is True
    assert "clusterIP" not in client["spec"]
    assert "publishNotReadyAddresses" not in client["spec"]
    named = {port["name"]: port["containerPort"] for port in container("etcd")["ports"]}
    for service in (headless, client):
        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert named[port["targetPort"]] == port["port"]
    budget = one("etcd", "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_the_example_function_answers_with_its_request(tmp_path: Path) -> None:
    code = one("example", "ConfigMap")
    (volume,) = pod_spec("example")["volumes"]
    (mount,) = container("example")["volumeMounts"]
    assert volume["configMap"]["name"] == code["metadata"]["name"]
    interpreter, *arguments, script = container("example")["command"]
    assert (interpreter, script) == ("python", f"{mount['mountPath']}/echo.py")
    (tmp_path / "echo.py").write_text(code["data"]["echo.py"])
    port = keep_port()
    process = subprocess.Popen(
        [sys.executable, *arguments, tmp_path / "echo.py"],
        env={"PORT": str(port), "HOSTNAME": "echo-0"},
        stderr=subprocess.DEVNULL,
    )
    try:
        connection = open_connection(port, process)
        # A stream without a length, as golb may send it on; then a second request on the same connection.
        connection.request("POST", "/a?b=1", body=iter([b"so ", b"far"]), encode_chunked=True, headers=CHUNKED)
        first = json.load(connection.getresponse())
        connection.request("GET", "/%2F")
        second = json.load(connection.getresponse())
        connection.close()
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
    assert (first["endpoint"], first["method"], first["target"], first["body"]) == (
        "echo-0",
        "POST",
        "/a?b=1",
        "so far",
    )
    assert ["Host", f"127.0.0.1:{port}"] in first["headers"]
    assert (second["target"], second["body"]) == ("/%2F", "")

"""deploy/k8s/surge: the pod of a new version takes over from the old one beside it, and the kubelet is told no more than is true."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from attrs import define
from kubernetes_validate.utils import all_versions
from support.container import children_of, in_container
from support.golb_family import GolbFamily, parent_of, whole_family
from support.golb_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
PORT = "8080"
# A golb is there within a second; the rest is for a machine that does other work.
TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.02

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="kubectl, which builds deploy/k8s, is not on PATH (Debian: apt-get install kubernetes-client)",
)


@pytest.fixture(scope="module")
def daemon_set(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an overlay applies that names surge instead of base. The tests only read it."""
    root = tmp_path_factory.mktemp("surge") / "k8s"
    shutil.copytree(K8S, root)
    overlay = root / "overlays" / "zone-a" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("../../base", "../../surge"))
    done = subprocess.run(
        ["kubectl", "kustomize", overlay.parent], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (document,) = yaml.safe_load_all(done.stdout)
    return document


@pytest.fixture(scope="module")
def container(daemon_set: Any) -> Any:
    (found,) = daemon_set["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", [all_versions()[0], all_versions()[-1]])
def test_it_is_valid(daemon_set: Any, version: str) -> None:
    kubernetes_validate.validate(daemon_set, version, strict=True)


def test_a_nodes_new_pod_comes_before_its_old_one_goes(daemon_set: Any, container: Any) -> None:
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    # Each port that is declared is a host port, which the scheduler gives once.
    assert not container.get("ports")
    assert daemon_set["spec"]["template"]["spec"]["hostNetwork"] is True


def test_golb_is_the_containers_first_process(daemon_set: Any, container: Any) -> None:
    assert "command" not in container
    assert "args" not in container
    assert entrypoint() == ["python", "-m", "golb"]
    # Otherwise the first process is the pod's, and golb just one of the others.
    assert not daemon_set["spec"]["template"]["spec"].get("shareProcessNamespace")


def entrypoint() -> list[str]:
    """Return what the image runs."""
    (found,) = re.findall(r"^ENTRYPOINT (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    command: list[str] = json.loads(found)
    return command


def test_no_probe_names_a_port_that_is_not_declared(container: Any) -> None:
    probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    asked = [probe[way]["port"] for probe in probes for way in ("tcpSocket", "httpGet") if probe.get(way)]
    assert asked == [int(PORT), 8081]


@define
class Pod:
    """The container, as far as one can be had without an engine: the image's command in the container's environment."""

    process: subprocess.Popen[bytes]
    log: Path
    family: GolbFamily
    readiness: str
    """The command of its probe."""

    @property
    def first(self) -> int:
        """The process id of the first process, outside."""
        (found,) = children_of(self.process.pid)
        return found

    def processes(self) -> list[int]:
        return [pid for pid in self.family.pids() if self.process.pid in (pid, parent_of(pid))]

    def has_said(self, message: str) -> bool:
        return f'"{message}"' in self.log.read_text()

    def is_ready(self) -> bool:
        """Ask as the kubelet does; only that the container's processes are not alone here."""
        places = " ".join(f"/proc/{pid}/fd" for pid in self.processes())
        assert self.readiness.count("/proc/[0-9]*/fd") == 1
        probe = subprocess.run(["sh", "-c", self.readiness.replace("/proc/[0-9]*/fd", places)], check=False, timeout=10)
        return probe.returncode == 0

    def terminate(self) -> int:
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)


@define
class Node:
    """Where the pods are, one beside the other."""

    container: Any
    folder: Path
    port: int
    admin_port: int
    family: GolbFamily
    stack: ExitStack
    _pods: int = 0

    def start(self, **variables: str) -> Pod:
        self._pods += 1
        here = {
            "zone": "zone-a",
            "node_name": "node-1",
            "listen_host": "127.0.0.1",
            "listen_port": str(self.port),
            "admin_listen": f"127.0.0.1:{self.admin_port}",
            "state_dir": "",
            "weight_updater": "file",
            "weights_file": str(self.folder / "weights.json"),
            **variables,
        }
        environ = {variable["name"]: variable.get("value", "") for variable in self.container["env"]}
        environ |= {f"eb_go_lb_{name}": value for name, value in here.items()}
        environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        path = self.folder / f"pod-{self._pods}.log"
        log = self.stack.enter_context(path.open("wb"))
        process = subprocess.Popen(in_container(*entrypoint()), env=environ, stdout=log, stderr=log)
        self.stack.callback(process.wait)
        readiness = self.container["readinessProbe"]["exec"]["command"][-1].replace(f":{PORT}", f":{self.port}")
        return Pod(process, path, self.family, readiness)


@pytest.fixture
def node(container: Any, tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "weights.json").write_text("{}")
    port = free_port()
    with ExitStack() as stack, whole_family(port) as family:
        yield Node(container, tmp_path, port, free_port(), family, stack)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(LOOK_EVERY_S)


def test_the_new_pod_alone_is_ready_once_it_serves_and_the_old_one_waits_for_its_end(node: Node) -> None:
    old = node.start()
    assert not old.is_ready()
    wait_until(old.is_ready)
    new = node.start()
    wait_until(new.is_ready)
    assert new.has_said("serving")
    assert not old.is_ready()
    wait_until(lambda: old.has_said("stopped"))
    assert old.process.poll() is None
    assert old.terminate() == 0
    assert new.is_ready()
    assert new.terminate() == 0
    assert new.has_said("stopped")
    assert node.family.pids() == []


def test_a_golb_that_cannot_start_ends_its_container_and_the_old_one_stays_ready(node: Node) -> None:
    old = node.start()
    wait_until(old.is_ready)
    assert node.start(queue="many").process.wait(TIMEOUT_S) == 2
    assert old.is_ready()
    os.kill(old.first, signal.SIGKILL)
    assert old.process.wait(TIMEOUT_S) != 0

"""deploy/prometheus, deploy/grafana, and what deploy/k8s has for them: they parse, they alert, and ask for what golb exports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions
from support.golb_process import GolbProcess, free_port

if TYPE_CHECKING:
    from demo.etcd import EtcdProcess

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "golb.rules.yaml"
RULE_TESTS = DEPLOY / "prometheus" / "golb.rules.test.yaml"
SCRAPE = DEPLOY / "prometheus" / "scrape.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "golb.json").read_text())

ADMIN_PORT = 8081
TOKEN = "t0ken"
PROMTOOL = os.environ.get("GOLB_TEST_PROMTOOL") or shutil.which("promtool")
METRIC = re.compile(r"\b(?:golb|process)_[a-z0-9_]+(?!:)\b")
# What Grafana puts in for these does not matter to the syntax, as long as it is of the kind.
GRAFANA_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h"}

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None,
    reason="promtool is neither on PATH nor named by GOLB_TEST_PROMTOOL (Debian has it in the package prometheus)",
)
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="kubectl, which builds deploy/k8s, is not on PATH (Debian: apt-get install kubernetes-client)",
)


def promtool(*arguments: str | Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def build(directory: str, root: Path = DEPLOY / "k8s") -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", root / directory], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def one(directory: str, kind: str) -> Any:
    (found,) = [document for document in build(directory) if document["kind"] == kind]
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def variable_queries() -> list[str]:
    return [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]


# What they ask for


@pytest.fixture(scope="module")
def exported(etcd: EtcdProcess) -> set[str]:
    """The names of all series that a golb can export, as its page of metrics declares them."""
    admin = f"127.0.0.1:{free_port()}"
    with GolbProcess(etcd_host=etcd.client_url, zone="monitored", workers=2, admin_listen=admin, admin_token=TOKEN):
        request = urllib.request.Request(f"http://{admin}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = answer.read().decode()
    names = set()
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def test_golb_exports_each_metric_that_rules_and_dashboard_ask_for(exported: set[str]) -> None:
    asked = {
        name
        for text in [*(rule["expr"] for rule in rules()), *dashboard_expressions(), *variable_queries()]
        for name in METRIC.findall(re.sub(r"[a-z_]+:[a-z_]+:\w+", "", text))  # names of recorded series
    }
    assert len(asked) > 30
    assert asked - exported == set()


def test_what_the_rules_use_of_each_other_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for rule in rules() for name in re.findall(r"[a-z_]+:[a-z_]+:\w+", rule["expr"])}
    assert used <= recorded


def test_the_token_is_asked_for(etcd: EtcdProcess) -> None:
    admin = f"127.0.0.1:{free_port()}"
    with GolbProcess(etcd_host=etcd.client_url, admin_listen=admin, admin_token=TOKEN):
        for path in ("/healthz", "/readyz"):  # the kubelet has no token
            with urllib.request.urlopen(f"http://{admin}{path}", timeout=10) as answer:
                assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(f"http://{admin}/metrics", timeout=10)
        refused.value.close()


# Prometheus


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


@needs_promtool
def test_the_rules_record_and_alert_as_their_tests_say() -> None:
    promtool("test", "rules", RULE_TESTS)


@needs_promtool
def test_promtool_takes_the_scrape_configuration(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yaml"
    path.write_text(yaml.safe_dump({"scrape_configs": yaml.safe_load(SCRAPE.read_text())}))
    promtool("check", "config", "--syntax-only", path)


def test_each_alert_says_how_bad_it_is_and_whom_it_is_about() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 10
    for rule in alerts:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert re.search(r"\$labels\.(instance|function)", rule["annotations"]["summary"])
        assert re.fullmatch(r"\d+m", rule["for"])


# Grafana


@needs_promtool
def test_promtool_takes_each_expression_of_the_dashboard(tmp_path: Path) -> None:
    made = []
    for number, expression in enumerate(dashboard_expressions()):
        filled = expression
        for variable, text in GRAFANA_VARIABLES.items():
            filled = filled.replace(variable, text)
        made.append({"record": f"dashboard:{number}", "expr": filled})
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))
    promtool("check", "rules", path)


def test_the_dashboards_panels_stand_beside_each_other_and_have_their_queries() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in panels()}) == len(panels())
    for panel in panels():
        assert panel["targets"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_dashboard_uses_all_of_its_variables_and_no_others() -> None:
    text = json.dumps(DASHBOARD["panels"]) + json.dumps(variable_queries())
    builtin = {"__rate_interval", "__range", "__dashboard", "__value", "__url_time_range"}
    used = set(re.findall(r"\$\{?([a-z_]+)", text)) - builtin
    assert used == {each["name"] for each in DASHBOARD["templating"]["list"]}


def test_a_click_on_a_function_leads_to_its_endpoints() -> None:
    (table,) = [panel for panel in panels() if panel["type"] == "table"]
    (links,) = [each for each in table["fieldConfig"]["overrides"] if each["matcher"]["options"] == "Function"]
    (link,) = links["properties"][0]["value"]
    assert "var-function=${__value.raw}" in link["url"]


# Kubernetes


@needs_kubectl
@pytest.mark.parametrize("version", [all_versions()[0], all_versions()[-1]])
@pytest.mark.parametrize(("directory", "kind"), [("monitored", "DaemonSet"), ("monitoring", "Service")])
def test_what_kubernetes_itself_knows_is_valid(directory: str, kind: str, version: str) -> None:
    kubernetes_validate.validate(one(directory, kind), version, strict=True)


@needs_kubectl
def test_the_service_monitor_has_the_form_that_the_operator_knows() -> None:
    monitor = one("monitoring", "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "jobLabel", "endpoints"}
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint.keys() == {"port", "path", "interval", "scrapeTimeout", "authorization", "relabelings"}
    assert endpoint["authorization"].keys() == {"credentials"}
    assert endpoint["path"] == "/metrics"
    assert all(each.keys() == {"sourceLabels", "targetLabel"} for each in endpoint["relabelings"])


@needs_kubectl
def test_the_service_monitor_finds_the_golbs_of_all_zones() -> None:
    monitor, service = one("monitoring", "ServiceMonitor")["spec"], one("monitoring", "Service")
    (endpoint,) = monitor["endpoints"]
    (port,) = service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] == ADMIN_PORT
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    for zone in ("zone-a", "zone-b"):
        labels = one(f"overlays/{zone}", "DaemonSet")["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        # What the rules call `zone`.
        sources = {label for each in endpoint["relabelings"] for label in each["sourceLabels"]}
        assert f"__meta_kubernetes_pod_label_{'ether.edgerun.io/zone'.replace('.', '_').replace('/', '_')}" in sources
        assert labels["ether.edgerun.io/zone"] == zone


@needs_kubectl
def test_a_golb_that_prometheus_reaches_has_a_token_which_prometheus_gets() -> None:
    (golb,) = one("monitored", "DaemonSet")["spec"]["template"]["spec"]["containers"]
    by_name = {variable["name"]: variable for variable in golb["env"]}
    assert by_name["eb_go_lb_admin_listen"]["value"] == f":{ADMIN_PORT}"
    secret = by_name["eb_go_lb_admin_token"]["valueFrom"]["secretKeyRef"]
    assert not secret.get("optional", False)
    (endpoint,) = one("monitoring", "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == secret


@needs_kubectl
def test_an_overlay_may_stand_on_the_golb_that_prometheus_reaches(tmp_path: Path) -> None:
    root = tmp_path / "k8s"
    shutil.copytree(DEPLOY / "k8s", root)
    overlay = root / "overlays" / "zone-a" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("../../base", "../../monitored"))
    (daemon_set,) = build("overlays/zone-a", root)
    (golb,) = daemon_set["spec"]["template"]["spec"]["containers"]
    by_name = {variable["name"]: variable for variable in golb["env"]}
    assert len(by_name) == len(golb["env"])
    assert by_name["eb_go_lb_zone"]["value"] == "zone-a"
    assert by_name["eb_go_lb_admin_token"]["valueFrom"]["secretKeyRef"]["name"] == "golb-admin"


@needs_kubectl
@pytest.mark.parametrize("directory", ["overlays/zone-a", "overlays/zone-b", "monitored"])
def test_the_kubelet_asks_the_admin_port_where_golb_has_it(directory: str) -> None:
    pod = one(directory, "DaemonSet")["spec"]["template"]["spec"]
    (golb,) = pod["containers"]
    by_name = {variable["name"]: variable.get("value", "") for variable in golb["env"]}
    # With the node's network, the kubelet's loopback is golb's.
    assert pod["hostNetwork"] is True
    assert by_name["eb_go_lb_admin_listen"] in {f"127.0.0.1:{ADMIN_PORT}", f":{ADMIN_PORT}"}
    for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert golb[probe]["httpGet"] == {"host": "127.0.0.1", "path": path, "port": ADMIN_PORT}

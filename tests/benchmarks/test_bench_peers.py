"""What each peer is told: the endpoints and their weights, the prefix to strip, one worker, room for connections."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from benchmarks.checks import check_shares
from benchmarks.errors import PeerFailed
from benchmarks.layout import IDLE_CONNECTIONS, PREFIX
from benchmarks.peers import DEFAULT_PEERS, PEERS, Peer, Site
from benchmarks.peers.caddy import Caddy, caddy_config
from benchmarks.peers.envoy import Envoy, envoy_config
from benchmarks.peers.golb import golb_environ
from benchmarks.peers.haproxy import Haproxy, haproxy_config
from benchmarks.peers.nginx import Nginx, nginx_config
from benchmarks.peers.python import Aiohttp
from benchmarks.peers.traefik import Traefik, TraefikFast, dynamic_config
from benchmarks.python_proxies.turns import parse_arguments, to_arguments, turns
from golb.config import Config

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINTS = {"127.0.0.1:9001": 5, "127.0.0.1:9002": 3, "127.0.0.1:9003": 1, "127.0.0.1:9004": 1}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(directory=tmp_path, port=8123, endpoints=ENDPOINTS, proxy_cores=[0], load_cores=[1])


def test_the_default_peers_are_those_that_the_results_promise() -> None:
    assert [peer.name for peer in DEFAULT_PEERS] == [
        "golb",
        "golb-interpreted",
        "nginx",
        "haproxy",
        "envoy",
        "traefik",
        "caddy",
        "aiohttp",
        "hypercorn-httpx",
    ]
    assert set(PEERS) == {peer.name for peer in DEFAULT_PEERS} | {
        "traefik-fast",
        *("golb-2", "nginx-2", "haproxy-2", "envoy-2"),
    }


def test_golb_is_told_no_more_than_a_user_must(site: Site) -> None:
    environ = golb_environ(site.port, etcd_port=2379)
    config = Config.from_environ(environ)
    assert (config.handler_type, config.mode, config.listen_port) == ("wrr", "prod", 8123)
    assert {name.removeprefix("eb_go_lb_") for name in environ} == {
        "etcd_host",
        "zone",
        "node_name",
        "handler_type",
        "mode",
        "listen_host",
        "listen_port",
        "admin_listen",  # golbs side by side cannot share the default port
    }
    assert config.admin_listen


def test_nginx_spreads_strips_and_keeps_connections(site: Site) -> None:
    text = nginx_config(site, as_root=True)
    assert "user root;" in text
    assert "user root;" not in nginx_config(site, as_root=False)
    for address, weight in ENDPOINTS.items():
        assert f"server {address} weight={weight};" in text
    assert f"location {PREFIX}/ {{" in text
    assert "proxy_pass http://functions/;" in text  # the closing slash takes the place of the location
    assert f"keepalive {IDLE_CONNECTIONS * 4};" in text
    assert "worker_processes 1;" in text
    assert "access_log off;" in text
    assert text.count("{") == text.count("}")


def test_haproxy_spreads_strips_and_reuses_connections(site: Site) -> None:
    text = haproxy_config(site)
    for number, (address, weight) in enumerate(ENDPOINTS.items()):
        assert f"server s{number} {address} weight {weight} pool-max-conn {IDLE_CONNECTIONS}" in text
    assert f"http-request replace-path {PREFIX}(/.*) \\1" in text
    assert "http-reuse always" in text
    assert "nbthread 1" in text


def test_envoy_spreads_and_strips_with_one_worker(site: Site) -> None:
    resources = envoy_config(site)["static_resources"]
    (group,) = resources["clusters"][0]["load_assignment"]["endpoints"]
    told = {
        f"{address['address']}:{address['port_value']}": one["load_balancing_weight"]
        for one in group["lb_endpoints"]
        for address in [one["endpoint"]["address"]["socket_address"]]
    }
    assert told == ENDPOINTS
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert (route["match"]["prefix"], route["route"]["prefix_rewrite"]) == (f"{PREFIX}/", "/")
    command = Envoy().command(site)
    assert command[command.index("--concurrency") + 1] == "1"


def test_traefik_spreads_strips_and_has_one_processor(site: Site) -> None:
    config = dynamic_config(site)["http"]
    servers = config["services"]["functions"]["loadBalancer"]["servers"]
    assert {server["url"].removeprefix("http://"): server["weight"] for server in servers} == ENDPOINTS
    assert config["middlewares"]["strip"]["stripPrefix"]["prefixes"] == [PREFIX]
    assert config["serversTransports"]["pool"]["maxIdleConnsPerHost"] == IDLE_CONNECTIONS
    assert Traefik().environ(site) == {"GOMAXPROCS": "1"}


def test_only_the_fast_traefik_has_the_experimental_proxy(site: Site) -> None:
    assert "experimental" not in Traefik().static_config(site)
    assert TraefikFast().static_config(site)["experimental"] == {"fastProxy": {}}


def test_caddy_spreads_strips_and_has_one_processor(site: Site) -> None:
    (route,) = caddy_config(site)["apps"]["http"]["servers"]["calls"]["routes"]
    rewrite, proxy = route["handle"]
    assert rewrite["strip_path_prefix"] == PREFIX
    assert [upstream["dial"] for upstream in proxy["upstreams"]] == list(ENDPOINTS)
    assert proxy["load_balancing"]["selection_policy"]["weights"] == list(ENDPOINTS.values())
    assert proxy["transport"]["keep_alive"]["max_idle_conns_per_host"] == IDLE_CONNECTIONS
    assert Caddy().environ(site)["GOMAXPROCS"] == "1"


@pytest.mark.parametrize(
    ("peer", "arguments"),
    [
        (Nginx, ["-t", "-e", "stderr", "-p", "{directory}", "-c", "{directory}/nginx.conf"]),
        (Haproxy, ["-c", "-f", "{directory}/haproxy.cfg"]),
        (Envoy, ["--mode", "validate", "--concurrency", "1", "-c", "{directory}/envoy.json"]),
        (Caddy, ["validate", "--config", "{directory}/caddy.json"]),
    ],
)
def test_the_peer_itself_takes_its_configuration(peer: type[Peer], arguments: list[str], site: Site) -> None:
    program = peer().program()
    if program is None:
        pytest.skip(f"{peer.name} is not installed ({peer.install}), so it cannot judge its configuration")
    for name, text in peer().files(site).items():
        (site.directory / name).write_text(text)
    command = [program, *(argument.format(directory=site.directory) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_peer_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.base.find_program", lambda _name: None)
    monkeypatch.setattr("benchmarks.peers.python.distribution_version", lambda _name: None)
    assert Haproxy().missing() == "not installed: the Debian package haproxy"
    assert Aiohttp().missing() == "not installed: aiohttp, uvloop (the dependency group bench)"


def test_the_python_proxies_take_turns_as_nginx_does() -> None:
    cycle = turns({"a": 5, "b": 1, "c": 1})
    assert "".join(cycle) == "aabacaa"
    assert Counter(turns(ENDPOINTS)) == ENDPOINTS


def test_a_python_proxy_reads_what_it_is_told() -> None:
    assert parse_arguments(to_arguments(8123, ENDPOINTS)) == (8123, ENDPOINTS)


def test_shares_near_the_weights_are_accepted() -> None:
    check_shares(
        "peer", {"127.0.0.1:9001": 52, "127.0.0.1:9002": 29, "127.0.0.1:9003": 10, "127.0.0.1:9004": 9}, ENDPOINTS
    )


def test_plain_round_robin_is_no_work_to_compare_with() -> None:
    with pytest.raises(PeerFailed, match="does not spread by the weights"):
        check_shares("peer", dict.fromkeys(ENDPOINTS, 25), ENDPOINTS)

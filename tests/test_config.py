"""Every variable: what it accepts, what it becomes, and what is said of what it does not accept."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import given, settings
from hypothesis import strategies as st

from golb.addresses import ListenAddress
from golb.config import PREFIX, Config, unknown_variables
from golb.errors import ConfigError
from golb.networks import ANYWHERE, TargetNetworks, TrustedProxies
from golb.weights import Endpoint

ZONE = {"eb_go_lb_zone": "zone-a"}
NAMES = [variable.name for variable in fields(Config)]
SECONDS = "a duration such as 10, 2.5s, 500ms or 1m (a plain number is in seconds)"
NETWORKS = "networks or addresses separated by white space or commas, such as 10.42.0.0/16 fd00::/8"
FILE = Path(__file__)


def read(**variables: str) -> Config:
    return Config.from_environ(ZONE | {PREFIX + name: text for name, text in variables.items()})


def problem(**variables: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(**variables)
    return str(refused.value)


def test_without_variables_the_contracts_defaults_hold() -> None:
    config = Config.from_environ(ZONE | {"HOSTNAME": "eb-a-controller"})
    assert config.zone == "zone-a"
    assert config.node_name == "eb-a-controller"
    assert config.handler_type == "dummy"
    assert config.mode == "dev"
    assert config.log_level == "info"
    assert config.listen_host == "0.0.0.0"
    assert config.listen_port == 8080
    assert config.tls_cert is None
    assert config.tls_key is None
    assert config.admin_listen == ListenAddress("127.0.0.1", 8081)
    assert config.admin_token is None
    assert config.metrics_endpoint_label is True
    assert config.weight_updater == "etcd"
    assert config.etcd_host == ("http://localhost:2379",)
    assert config.weights_file is None
    assert Endpoint("10.0.3.1", 8080) not in config.gateways
    assert config.target_networks == ANYWHERE
    assert config.trusted_proxies.trusts_all
    assert config.drain_timeout == 10
    assert config.connect_timeout == 1
    assert config.response_timeout == 300
    assert config.upstream_idle_timeout == 30
    assert config.request_header_timeout == 10
    assert config.keep_alive_timeout == 75
    assert config.etcd_timeout == 5
    assert config.etcd_user is None
    assert config.etcd_password is None
    assert config.etcd_password_file is None
    assert config.etcd_ca is None
    assert config.etcd_cert is None
    assert config.etcd_key is None
    assert config.etcd_insecure_skip_verify is False
    assert config.state_dir is None
    assert config.state_max_age == 0
    assert config.ack is False
    assert (config.access_log, config.access_log_path, config.access_log_sample) == ("off", None, 100)
    assert config.tracing == "off"


def test_without_variables_failures_are_dealt_with_and_nothing_is_bounded_but_the_waiting() -> None:
    config = read()
    assert config.failover is True
    assert (config.rest_min, config.rest_max, config.rest_after) == (1, 30, 5)
    assert (config.retry_budget, config.retry_budget_min, config.panic_threshold) == (20, 3, 50)
    assert (config.max_inflight, config.endpoint_max_inflight) == (0, 0)
    assert (config.queue, config.queue_timeout) == (1024, 1)
    assert (config.hold_on_empty, config.hold_limit) == (0, 1024)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("zone", " zone-a\n", "zone-a"),
        ("zone", "Zone.1_größe", "Zone.1_größe"),
        ("node_name", "eb-c-vm-0", "eb-c-vm-0"),
        ("node_name", "node.example.org", "node.example.org"),
        ("handler_type", "WRR", "wrr"),
        ("handler_type", "Dummy", "dummy"),
        ("mode", "PROD", "prod"),
        ("log_level", "Debug", "debug"),
        ("listen_host", "::", "::"),
        ("listen_host", "[::1]", "::1"),
        ("listen_host", "127.0.0.1", "127.0.0.1"),
        ("listen_host", "localhost", "localhost"),
        ("listen_port", "1", 1),
        ("listen_port", "65535", 65535),
        ("admin_listen", "10.0.0.1:9000", ListenAddress("10.0.0.1", 9000)),
        ("admin_listen", "[::1]:9000", ListenAddress("::1", 9000)),
        ("admin_listen", ":9000", ListenAddress("0.0.0.0", 9000)),
        ("admin_listen", "localhost:9000", ListenAddress("localhost", 9000)),
        ("admin_listen", "OFF", ListenAddress("", 0)),
        ("admin_token", "c2VjcmV0LXRva2Vu==", "c2VjcmV0LXRva2Vu=="),
        ("metrics_endpoint_label", "off", False),
        ("weight_updater", "ETCD", "etcd"),
        ("etcd_host", "etcd", ("http://etcd:2379",)),
        ("etcd_host", "10.0.0.1:1234", ("http://10.0.0.1:1234",)),
        ("etcd_host", "https://etcd.example.org", ("https://etcd.example.org:2379",)),
        ("etcd_host", "http://etcd:80/", ("http://etcd:80",)),
        ("etcd_host", "::1", ("http://[::1]:2379",)),
        ("etcd_host", "[fd00::1]:4001", ("http://[fd00::1]:4001",)),
        ("etcd_host", "https://[fd00::1]", ("https://[fd00::1]:2379",)),
        (
            "etcd_host",
            "a:1, b:2\thttps://c\n[::1],",
            ("http://a:1", "http://b:2", "https://c:2379", "http://[::1]:2379"),
        ),
        ("target_networks", "10.42.0.0/16, ::1", TargetNetworks.parse("10.42.0.0/16 ::1")),
        ("trusted_proxies", "ALL", TrustedProxies.parse("all")),
        ("trusted_proxies", "None", TrustedProxies.parse("none")),
        ("trusted_proxies", "10.0.3.0/24\t10.0.4.1", TrustedProxies.parse("10.0.3.0/24 10.0.4.1")),
        ("access_log", "JSON", "json"),
        ("access_log", "common", "common"),
        ("access_log_path", "/var/log/golb.log", Path("/var/log/golb.log")),
        ("access_log_sample", "12.5%", 12.5),
        ("access_log_sample", "0", 0),
        ("access_log_sample", "1/1", 100),
        ("access_log_sample", "1 / 200", 0.5),
        ("tracing", "OTLP", "otlp"),
        ("drain_timeout", "0", 0),
        ("drain_timeout", "2.5s", 2.5),
        ("drain_timeout", "500ms", 0.5),
        ("drain_timeout", "1 m", 60),
        ("drain_timeout", ".5h", 1800),
        ("drain_timeout", "7.", 7),
        ("upstream_max_idle", "0", 0),
        ("failover", "OFF", False),
        ("rest_min", "250ms", 0.25),
        ("rest_after", "1", 1),
        ("retry_budget", "0", 0),
        ("retry_budget", "12.5%", 12.5),
        ("retry_budget_min", "0", 0),
        ("panic_threshold", "100", 100),
        ("max_inflight", "500", 500),
        ("endpoint_max_inflight", "8", 8),
        ("queue", "0", 0),
        ("queue_timeout", "0", 0),
        ("hold_on_empty", "30s", 30),
        ("hold_limit", "0", 0),
        ("tls_cert", "", None),
        ("weights_file", "/no/such/file", Path("/no/such/file")),
    ],
)
def test_a_variable_is_read(name: str, text: str, expected: Any) -> None:
    assert getattr(read(**{name: text}), name) == expected


def test_gateways_are_read_in_all_three_forms() -> None:
    gateways = read(gateways="10.0.3.1:8080 10.0.4.1 http://10.0.5.1:8080").gateways
    assert Endpoint("10.0.3.1", 8080) in gateways
    assert Endpoint("10.0.4.1", 1234) in gateways
    assert Endpoint("10.0.5.1", 8080) in gateways
    assert Endpoint("10.0.3.1", 1234) not in gateways


def test_tls_needs_both_files() -> None:
    config = read(tls_cert=str(FILE), tls_key=str(FILE))
    assert (config.tls_cert, config.tls_key) == (FILE, FILE)
    assert problem(tls_cert=str(FILE)) == "eb_go_lb_tls_key is not set; TLS needs both it and eb_go_lb_tls_cert"
    assert problem(tls_key=str(FILE)) == "eb_go_lb_tls_cert is not set; TLS needs both it and eb_go_lb_tls_key"


def test_the_nodes_name_comes_from_the_variable_else_hostname_else_the_host() -> None:
    hostname = {"HOSTNAME": "from-hostname"}
    assert Config.from_environ(ZONE | hostname | {"eb_go_lb_node_name": "own"}).node_name == "own"
    assert Config.from_environ(ZONE | hostname).node_name == "from-hostname"
    assert Config.from_environ(ZONE | {"HOSTNAME": " "}).node_name == socket.gethostname()


@pytest.mark.parametrize(
    ("name", "text", "accepts"),
    [
        ("zone", "a/b", "a name without slash and space, such as zone-a"),
        ("zone", "a b", "a name without slash and space, such as zone-a"),
        ("zone", "a\nb", "a name without slash and space, such as zone-a"),
        ("zone", "\udcff", "a name without slash and space, such as zone-a"),
        ("node_name", "a b", "a host name"),
        ("node_name", "a,b", "a host name"),
        ("node_name", "ä", "a host name"),
        ("node_name", "a:b", "a host name"),
        ("handler_type", "wr", "dummy | wrr"),
        ("mode", "production", "dev | prod"),
        ("log_level", "trace", "debug | info | warning | error"),
        ("listen_host", "10.0.0.1:80", "an IPv4 or IPv6 address or a host name, without a port"),
        ("listen_host", "300.1.1.1", "an IPv4 or IPv6 address or a host name, without a port"),
        ("listen_port", "0", "a port from 1 to 65535"),
        ("listen_port", "65536", "a port from 1 to 65535"),
        ("listen_port", "-1", "a port from 1 to 65535"),
        ("listen_port", "http", "a port from 1 to 65535"),
        ("listen_port", "8080.0", "a port from 1 to 65535"),
        ("listen_port", "٨٠", "a port from 1 to 65535"),
        ("listen_port", "9" * 5000, "a port from 1 to 65535"),
        ("admin_listen", "127.0.0.1", "host:port, [IPv6 address]:port, :port, or off"),
        ("admin_listen", "::1", "host:port, [IPv6 address]:port, :port, or off"),
        ("admin_listen", "8081", "host:port, [IPv6 address]:port, :port, or off"),
        ("admin_listen", "http://localhost:8081", "host:port, [IPv6 address]:port, :port, or off"),
        ("admin_listen", ":0", "host:port, [IPv6 address]:port, :port, or off"),
        ("weight_updater", "consul", "etcd | file"),
        *(
            ("etcd_host", text, "hosts separated by white space or commas, each [http[s]://]host[:port]")
            for text in (
                ",",
                "etcd:x",
                "etcd:0",
                "etcd:99999",
                "ftp://etcd",
                "http://",
                "a, b/c",
                "user:pass@etcd",
                "[::1",
                "[::1]x",
                "a?b",
                "a;b",
                "http://https://etcd",
            )
        ),
        ("gateways", "10.0.3.1:x", "entries separated by white space, each [http://]host[:port]"),
        ("gateways", "10.0.3.1:80,10.0.4.1:80", "entries separated by white space, each [http://]host[:port]"),
        ("gateways", "a https://b", "entries separated by white space, each [http://]host[:port]"),
        ("target_networks", "10.42.0.5/16", NETWORKS),
        ("target_networks", "pod.example", NETWORKS),
        ("target_networks", "all", NETWORKS),
        ("target_networks", ",", NETWORKS),
        ("trusted_proxies", "all 10.0.0.0/8", f"all, none, or {NETWORKS}"),
        ("drain_timeout", "-1", SECONDS),
        ("drain_timeout", "1d", SECONDS),
        ("drain_timeout", "inf", SECONDS),
        ("drain_timeout", "nan", SECONDS),
        ("drain_timeout", "9" * 400, SECONDS),
        ("connect_timeout", "fast", f"{SECONDS}; 0 = none"),
        ("etcd_timeout", "0", f"{SECONDS}, above 0"),
        ("etcd_timeout", "-1", f"{SECONDS}, above 0"),
        ("etcd_insecure_skip_verify", "yes", "off | on"),
        ("ack", "yes", "off | on"),
        ("weights_file", "a\rb", "the path of a JSON file"),
        ("access_log", "on", "off | json | common"),
        *(
            ("access_log_sample", text, "a percentage from 0 to 100, or 1/N such as 1/100")
            for text in ("-1", "101", "2/3", "1/0", "1/", "/2", "1/2/3", "1/x", "all", "1/" + "9" * 5000)
        ),
        ("tracing", "jaeger", "off | otlp"),
        ("etcd_password_file", "/no/such/file", "the path of a file, and there is none"),
        ("etcd_ca", "/no/such/file", "the path of a PEM file, and there is none"),
        ("upstream_max_idle", "-1", "a number"),
        ("upstream_max_idle", "1.5", "a number"),
        ("failover", "yes", "off | on"),
        ("rest_min", "0", f"{SECONDS}, above 0"),
        ("rest_max", "0", f"{SECONDS}, above 0"),
        ("rest_after", "0", "a number above 0"),
        *(
            ("retry_budget", text, "a percentage from 0 to 100")
            for text in ("-1", "101", "nan", "inf", "1e1x", "%", "20 %%", "0.2.1", "twenty")
        ),
        ("panic_threshold", "100.1", "a percentage from 0 to 100"),
        ("max_inflight", "-1", "a number; 0 = no limit"),
        ("endpoint_max_inflight", "many", "a number; 0 = no limit"),
        ("queue", "-1", "a number"),
        ("queue_timeout", "-1", SECONDS),
        ("hold_on_empty", "soon", SECONDS),
        ("hold_limit", "1e3", "a number"),
        ("tls_cert", "/no/such/file", "the path of a PEM file, and there is none"),
        ("tls_cert", "/", "the path of a PEM file, and there is none"),
        ("tls_cert", "x" * 5000, "the path of a PEM file, and there is none"),
    ],
)
def test_a_bad_value_is_refused_by_a_line_with_the_variable_the_value_and_what_it_accepts(
    name: str, text: str, accepts: str
) -> None:
    others = {
        "tls_cert": {"tls_key": str(FILE)},
        "etcd_password_file": {"etcd_user": "golb"},
        "etcd_ca": {"etcd_host": "https://etcd"},
    }.get(name, {})
    line = problem(**({name: text} | others))
    shown = repr(text) if len(text) <= 200 else f"{text[:200]!r}... ({len(text)} characters)"
    assert line == f"eb_go_lb_{name} is {shown}; it accepts {accepts}"
    assert line.isprintable()


def test_a_missing_zone_is_said_to_be_not_set() -> None:
    for environ in ({}, {"eb_go_lb_zone": "  "}):
        with pytest.raises(ConfigError) as refused:
            Config.from_environ(environ | {"HOSTNAME": "node"})
        assert (
            str(refused.value) == "eb_go_lb_zone is not set; it accepts a name without slash and space, such as zone-a"
        )


def test_a_file_updater_without_a_file_is_refused() -> None:
    assert problem(weight_updater="file") == (
        "eb_go_lb_weights_file is not set; with weight updater file it accepts the path of a JSON file"
    )


def test_every_bad_variable_has_a_line() -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_environ({"HOSTNAME": "node", "eb_go_lb_listen_port": "x", "eb_go_lb_mode": "x"})
    assert [line.split()[0] for line in str(refused.value).splitlines()] == [
        "eb_go_lb_zone",
        "eb_go_lb_mode",
        "eb_go_lb_listen_port",
    ]


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(NAMES), st.text(st.characters(exclude_characters="\0")))
def test_whatever_a_variable_holds_it_is_read_or_refused_by_a_line_for_each_variable(name: str, text: str) -> None:
    try:
        config = Config.from_environ(ZONE | {"HOSTNAME": "node", PREFIX + name: text})
    except ConfigError as exc:
        lines = str(exc).splitlines()
        assert all(line.startswith("eb_go_lb_") for line in lines)
        assert len({line.split()[0] for line in lines}) == len(lines)
    else:
        assert all(len(line.splitlines()) <= 1 for line in config.lines())


def test_the_resolved_configuration_can_be_read_again() -> None:
    config = read(
        node_name="n",
        etcd_host="a,https://[::1]:1",
        gateways="10.0.3.1:8080 10.0.4.1",
        target_networks="10.42.0.0/16,fd00::/8",
        trusted_proxies="10.0.3.1",
        drain_timeout="1.5m",
        retry_budget="33.3%",
        access_log_sample="1/3",
        connect_timeout="1234.5678ms",
        keep_alive_timeout="12345678",
        tls_cert=str(FILE),
        tls_key=str(FILE),
    )
    lines = config.lines()
    assert [line.partition("=")[0] for line in lines] == [PREFIX + name for name in NAMES]
    assert "eb_go_lb_etcd_host=http://a:2379 https://[::1]:1" in lines
    assert "eb_go_lb_drain_timeout=90" in lines
    assert "eb_go_lb_retry_budget=33.3" in lines
    assert "eb_go_lb_target_networks=10.42.0.0/16 fd00::/8" in lines
    assert "eb_go_lb_trusted_proxies=10.0.3.1/32" in lines
    again = {name: text for name, _, text in (line.partition("=") for line in lines)}
    assert Config.from_environ(again) == config


def test_another_process_has_the_same_configuration_from_its_variables_whatever_else_is_set() -> None:
    config = read(
        env_file="/etc/golb.env", etcd_user="golb", etcd_password=" s3cret ", gateways="10.0.3.1", retry_budget="33.3%"
    )
    variables = config.variables()
    assert list(variables) == [PREFIX + name for name in NAMES]
    others = {PREFIX + name: "off" for name in ("failover", "ack", "target_networks")}
    assert Config.from_environ(others | variables) == evolve(config, env_file=None)


TLS_ETCD = {"etcd_host": "http://a https://b"}


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"etcd_user": "u"}, "etcd_password is not set, nor eb_go_lb_etcd_password_file; eb_go_lb_etcd_user needs one"),
        ({"etcd_password": "p"}, "etcd_user is not set; eb_go_lb_etcd_password needs it"),
        ({"etcd_password_file": str(FILE)}, "etcd_user is not set; eb_go_lb_etcd_password_file needs it"),
        (
            {"etcd_user": "u", "etcd_password": "p", "etcd_password_file": str(FILE)},
            "etcd_password is set, and eb_go_lb_etcd_password_file too; etcd takes one password",
        ),
        (
            TLS_ETCD | {"etcd_cert": str(FILE)},
            "etcd_key is not set; a client's certificate needs both it and eb_go_lb_etcd_cert",
        ),
        (
            TLS_ETCD | {"etcd_key": str(FILE)},
            "etcd_cert is not set; a client's certificate needs both it and eb_go_lb_etcd_key",
        ),
        ({"etcd_ca": str(FILE)}, "etcd_ca is set, but no entry of eb_go_lb_etcd_host begins with https://"),
        (
            {"etcd_insecure_skip_verify": "on"},
            "etcd_insecure_skip_verify is set, but no entry of eb_go_lb_etcd_host begins with https://",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_by_a_line(variables: dict[str, str], line: str) -> None:
    assert problem(**variables) == f"eb_go_lb_{line}"


def test_everything_for_etcd_can_be_set_together() -> None:
    files = dict.fromkeys(("etcd_ca", "etcd_cert", "etcd_key", "etcd_password_file"), str(FILE))
    config = read(**TLS_ETCD, **files, etcd_user="golb", etcd_timeout="2s", etcd_insecure_skip_verify="ON")
    assert (config.etcd_ca, config.etcd_cert, config.etcd_key, config.etcd_password_file) == (FILE,) * 4
    assert (config.etcd_user, config.etcd_timeout, config.etcd_insecure_skip_verify) == ("golb", 2, True)


def test_a_password_is_taken_as_it_is_and_shown_nowhere() -> None:
    config = read(etcd_user="golb", etcd_password=" s3cret \n")
    assert config.etcd_password == " s3cret \n"
    assert "s3cret" not in repr(config)
    assert "eb_go_lb_etcd_password=***" in config.lines()
    assert not any("s3cret" in line for line in config.lines())


def test_a_password_that_is_no_text_is_refused_unseen() -> None:
    line = problem(etcd_user="golb", etcd_password="s3cret\udcff")
    assert line.startswith("eb_go_lb_etcd_password is not what it should be; it accepts text in UTF-8")
    assert "s3cret" not in line


def test_the_environment_is_passed_in_and_never_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("eb_go_lb_listen_port", "1")
    assert read().listen_port == 8080


def test_an_unknown_variable_is_found_with_the_one_that_may_have_been_meant() -> None:
    environ = ZONE | {
        "eb_go_lb_zones": "x",
        "eb_go_lb_listenport": "x",
        "EB_GO_LB_MODE": "x",
        "eb_go_lb_colour": "x",
        "OTHER": "x",
    }
    assert unknown_variables(environ) == [
        ("EB_GO_LB_MODE", "eb_go_lb_mode"),
        ("eb_go_lb_colour", None),
        ("eb_go_lb_listenport", "eb_go_lb_listen_port"),
        ("eb_go_lb_zones", "eb_go_lb_zone"),
    ]

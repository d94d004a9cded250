"""golb as a command: what it says, where, and how it exits."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from attrs import fields, frozen
from support.golb_process import GolbProcess, free_port

from golb import __version__, cli
from golb.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.etcd import EtcdProcess

NAMES = [f"eb_go_lb_{variable.name}" for variable in fields(Config)]
SOME_FILE = str(Path(__file__))


@frozen
class Ended:
    code: int
    out: str
    err: str


Run: TypeAlias = "Callable[..., Ended]"


def environ(**variables: str) -> dict[str, str]:
    """Return an environment where only these variables of golb are set."""
    others = {name: text for name, text in os.environ.items() if not name.lower().startswith("eb_go_lb_")}
    return others | {"HOSTNAME": "eb-a-controller"} | {f"eb_go_lb_{name}": text for name, text in variables.items()}


def run_process(*arguments: str, **variables: str) -> Ended:
    """Run golb to its end, as a process."""
    command = [sys.executable, "-m", "golb", *arguments]
    done = subprocess.run(command, env=environ(**variables), capture_output=True, timeout=30, check=False, text=True)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run golb to its end, in this process, which takes a hundredth of the time; for what ends before it would serve."""

    def run(*arguments: str, **variables: str) -> Ended:
        try:
            code = cli.run(arguments, environ(**variables))
        except SystemExit as ending:  # argparse's
            code = int(ending.code or 0)
        return Ended(code, *capfd.readouterr())

    return run


# Which variable the line names, what it holds, a part of what it accepts, and the variables that are set: one for each place
# in golb where a variable may turn out to be bad. What each variable accepts is test_config's.
BAD = {
    "no zone": ("zone", "is not set", "a name without slash and space", {}),
    "a handler that is none": ("handler_type", "is 'round-robin'", "dummy | wrr", {"handler_type": "round-robin"}),
    "an updater that is none": ("weight_updater", "is 'zookeeper'", "etcd | file", {"weight_updater": "zookeeper"}),
    "a certificate that is none": (
        "tls_cert",
        f"is {SOME_FILE!r}",
        "a PEM certificate chain and its private key",
        {"tls_cert": SOME_FILE, "tls_key": SOME_FILE},
    ),
    "in prod too": ("node_name", "is 'a b'", "a host name", {"node_name": "a b", "mode": "prod"}),
}


@pytest.fixture(scope="module")
def refused() -> dict[str, Ended]:
    """How golb ended for each kind of bad variable."""
    variables = [({} if kind == "no zone" else {"zone": "zone-a"}) | bad for kind, (*_, bad) in BAD.items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(BAD, pool.map(lambda each: run_process(**each), variables), strict=True))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_variable_ends_golb_with_one_line_and_code_2(kind: str, refused: dict[str, Ended]) -> None:
    name, holds, accepts, _ = BAD[kind]
    ended = refused[kind]
    assert ended.code == 2
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith(f"eb_go_lb_{name} {holds}")
    assert accepts in line.partition("accept")[2]
    assert "Traceback" not in line


def test_a_port_that_is_taken_ends_golb_with_one_line_and_code_1() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = run_process(zone="zone-a", listen_host="127.0.0.1", listen_port=str(port))
    assert ended == Ended(
        1,
        "",
        f"eb_go_lb_listen_port is {port}, but golb cannot listen on 127.0.0.1:{port}: Address already in use; "
        "it accepts a port that is free on this node\n",
    )


def test_an_address_of_another_machine_ends_golb_with_one_line_and_code_1() -> None:
    ended = run_process(zone="zone-a", listen_host="203.0.113.9")
    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("eb_go_lb_listen_host is 203.0.113.9, but golb cannot listen on 203.0.113.9:8080: ")


def test_help_lists_every_variable_with_its_default_and_needs_none_to_be_set(run: Run) -> None:
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.strip() for line in ended.out.splitlines()]
    listed = [line for line in lines if line.startswith("eb_go_lb_")]
    assert [line.split()[0] for line in listed] == NAMES
    assert {
        "eb_go_lb_zone (required)",
        "eb_go_lb_node_name (default: $HOSTNAME)",
        "eb_go_lb_handler_type (default: dummy)",
        "eb_go_lb_mode (default: dev)",
        "eb_go_lb_listen_port (default: 8080)",
        "eb_go_lb_etcd_host (default: localhost:2379)",
        "eb_go_lb_gateways (default: none)",
        "eb_go_lb_drain_timeout (default: 10)",
    } <= set(listed)
    assert "accepts dummy | wrr" in lines


def test_version_is_told() -> None:
    assert run_process("--version") == Ended(0, f"golb {__version__}\n", "")


def test_check_prints_the_resolved_configuration_and_warns_of_unknown_variables(run: Run) -> None:
    ended = run("check", zone="zone-a", etcd_host="etcd", drain_timeout="1m", Mode="prod", handler="wrr", colour="x")
    assert ended.code == 0
    printed = dict(line.split("=", 1) for line in ended.out.splitlines())
    assert list(printed) == NAMES
    assert printed["eb_go_lb_zone"] == "zone-a"
    assert printed["eb_go_lb_node_name"] == "eb-a-controller"
    assert printed["eb_go_lb_etcd_host"] == "http://etcd:2379"
    assert printed["eb_go_lb_drain_timeout"] == "60"
    assert printed["eb_go_lb_mode"] == "dev"
    assert printed["eb_go_lb_weights_file"] == ""
    assert ended.err.splitlines() == [
        "eb_go_lb_Mode is no variable of golb; eb_go_lb_mode is",
        "eb_go_lb_colour is no variable of golb",
        "eb_go_lb_handler is no variable of golb; eb_go_lb_handler_type is",
    ]


def test_check_of_a_bad_configuration_exits_like_golb_itself(run: Run) -> None:
    ended = run("check", zone="zone-a", listen_port="x", mode="y")
    assert (ended.code, ended.out) == (2, "")
    assert [line.split()[0] for line in ended.err.splitlines()] == ["eb_go_lb_mode", "eb_go_lb_listen_port"]


def test_a_command_that_is_none_is_refused_with_the_usage(run: Run) -> None:
    ended = run("serve", zone="zone-a")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("usage: golb ")


def test_an_unknown_variable_is_warned_about_and_golb_serves(tmp_path: Path) -> None:
    weights = tmp_path / "weights.json"
    weights.write_text("{}")
    with GolbProcess(weight_updater="file", weights_file=str(weights), listen_prt="1") as golb:
        assert golb.stop() == 0
        warning = golb.log()[0]
    assert warning["level"] == "warning"
    assert warning["message"] == "unknown variable"
    assert warning["variable"] == "eb_go_lb_listen_prt"
    assert warning["did_you_mean"] == "eb_go_lb_listen_port"


def test_as_a_containers_first_process_golb_can_be_ended_before_it_has_begun() -> None:
    program = "import os, signal; os.getpid = lambda: 1; import golb.__main__; signal.raise_signal(signal.SIGTERM)"
    done = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_what_only_commands_need_is_not_imported_by_a_golb_that_serves(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # says on stderr what is imported
    with GolbProcess(etcd_host=etcd.client_url, admin_listen=f"127.0.0.1:{free_port()}") as golb:
        imported = {line.rpartition(" ")[2] for line in golb.log_path.read_text().splitlines()}
    assert {"httpx", "structlog", "starlette"} <= imported
    assert not [name for name in imported if name.startswith(("rich.", "click.", "pygments"))]


def test_what_only_commands_need_can_be_imported_later() -> None:
    program = "import golb.__main__, golb.trio_etcd, rich.console, click.core"
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)


def test_a_worker_does_without_what_its_parent_asks_etcd_with() -> None:
    program = "import sys, golb.__main__, golb.service.worker, golb.handlers; sys.exit('httpx' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], timeout=30, check=True)

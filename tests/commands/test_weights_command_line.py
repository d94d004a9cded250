"""`golb weights` as its users run it: exit codes, pipes, variables, completion."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from commands.zones import value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands.zones import Zone

NOWHERE = "127.0.0.1:1"
GOLB = [sys.executable, "-m", "golb"]


def test_a_pipe_gets_no_colours_and_no_wrapped_cells(zone: Zone) -> None:
    name = "a-function-with-a-name-" + 300 * "x"
    zone.put(name, {"ips": ["[2001:db8:1234:5678:9abc:def0:1234:5678]:8080"], "weights": [1]})
    environ = os.environ | zone.environ | {"COLUMNS": "20", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run(
        [*GOLB, "weights", "list"], env=environ, capture_output=True, text=True, check=True, timeout=30
    )
    _, row = done.stdout.splitlines()
    assert row.split()[:2] == [name, "[2001:db8:1234:5678:9abc:def0:1234:5678]:8080"]
    assert "\x1b" not in done.stdout


def test_a_terminal_gets_colours_and_a_progress_bar(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 4}))
    shift = [
        *GOLB,
        "weights",
        "shift",
        "hello",
        "10.42.0.5:8080",
        "10.42.0.6:8080",
        "--over",
        "20ms",
        "--every",
        "10ms",
    ]
    environ = zone.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    controller, terminal = pty.openpty()
    with (
        os.fdopen(controller, "rb", buffering=0) as screen,
        subprocess.Popen(shift, env=environ, stdin=terminal, stdout=terminal, stderr=terminal) as process,
    ):
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # EIO: nobody holds the terminal any more
            while part := screen.read(4096):
                shown += part
    assert process.returncode == 0
    assert b"\x1b[" in shown
    assert b"2/2" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "hello"],
        ["list"],
        ["set", "hello", "a=1"],
        ["shift", "hello", "a", "b"],
        ["drain", "a"],
        ["delete", "hello"],
        ["watch"],
        ["simulate", "hello"],
        ["history", "hello"],
    ],
)
def test_an_etcd_that_cannot_be_reached_is_code_3(zone: Zone, arguments: list[str]) -> None:
    ended = zone.weights(*arguments, "--etcd", NOWHERE)
    assert ended.code == 3
    assert ended.err.startswith("golb weights: etcd cannot be reached: ")
    assert zone.weights(*arguments, "--etcd", NOWHERE, "--json").json["error"]["kind"] == "etcd_away"


def test_files_need_etcd_only_where_they_are_compared_with_it(zone: Zone) -> None:
    path = zone.file({"hello": value(**{"5": 1})})
    assert [zone.weights(each, path, etcd_host=NOWHERE).code for each in ("check", "diff", "apply")] == [0, 3, 3]


class NoEtcd(BaseHTTPRequestHandler):
    """What else may be found at an address."""

    def do_POST(self) -> None:
        self.send_error(404)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_what_is_no_etcd_is_code_4(zone: Zone) -> None:
    with HTTPServer(("127.0.0.1", 0), NoEtcd) as server:
        serving = Thread(target=server.handle_request)
        serving.start()
        ended = zone.weights("list", "--etcd", f"127.0.0.1:{server.server_port}", "--json")
        serving.join()
    assert ended.code == 4
    assert ended.json["error"]["kind"] == "etcd_refuses"
    assert "is this an etcd with its JSON gateway?" in ended.err


def test_zone_and_etcd_that_are_typed_replace_the_variables(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 1}))
    other = {"zone": "another", "etcd_host": NOWHERE}
    ended = zone.weights("get", "hello", "--zone", zone.name, "--etcd", zone.etcd.client_url, "--json", **other)
    assert ended.json["zone"] == zone.name


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"zone": ""}, "eb_go_lb_zone is not set; it accepts a name without slash and space, such as zone-a"),
        ({"etcd_host": "etcd:port"}, "eb_go_lb_etcd_host is 'etcd:port'; it accepts hosts separated by"),
        ({"etcd_user": "golb"}, "eb_go_lb_etcd_password is not set, nor eb_go_lb_etcd_password_file;"),
        ({"target_networks": "10.42.0.5/16"}, "eb_go_lb_target_networks is '10.42.0.5/16'; it accepts networks"),
    ],
)
def test_a_bad_variable_is_code_2_and_the_line_of_the_load_balancer(
    zone: Zone, variables: dict[str, str], line: str
) -> None:
    ended = zone.weights("list", **variables)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(line)
    assert len(ended.err.splitlines()) == 1


def test_variables_of_the_load_balancer_alone_may_be_wrong_here(zone: Zone) -> None:
    variables = {"listen_port": "x", "node_name": "a b", "tls_cert": "/nowhere", "handler_type": "none"}
    assert zone.weights("list", **variables).code == 0


@pytest.mark.parametrize("arguments", [["nope"], ["get"], ["get", "a", "b"], ["list", "--nope"], ["shift", "a", "b"]])
def test_wrong_usage_is_code_2(zone: Zone, arguments: list[str]) -> None:
    ended = zone.weights(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: golb weights ")


def test_help_tells_the_commands_and_the_exit_codes(zone: Zone) -> None:
    ended = zone.weights("--help")
    assert ended.code == 0
    words = ended.out.split()
    commands = "apply check completion delete diff drain get history list set shift simulate watch"
    assert set(commands.split()) <= set(words)
    assert "  5    diff: there are differences" in ended.out


# Completion


@pytest.fixture
def complete(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], list[str]]:
    """Ask as a shell's script does; click reads the environment by itself."""

    def ask(shell: str, line: str) -> list[str]:
        words = line.split(" ")
        asked = {
            "_GOLB_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
        }
        for name, text in asked.items():
            monkeypatch.setenv(name, text)
        zone.environ |= asked
        ended = zone.weights()
        assert (ended.code, ended.err) == (0, "")
        return ended.out.split()

    return ask


def test_a_shell_is_told_commands(complete: Callable[[str, str], list[str]]) -> None:
    assert complete("bash", "golb ") == ["plain,check", "plain,doctor", "plain,weights"]
    assert complete("bash", "golb weights d") == ["plain,delete", "plain,diff", "plain,drain"]


def test_a_shell_is_told_the_functions_and_targets_that_etcd_has(
    zone: Zone, complete: Callable[[str, str], list[str]]
) -> None:
    zone.put("hello", value(**{"5": 1, "6": 1}))
    zone.put("help", value(**{"7": 1}))
    zone.put("resnet", value(**{"8": 1}))
    zone.put("bad", "no JSON")
    assert complete("bash", "golb weights get he") == ["plain,hello", "plain,help"]
    assert complete("bash", "golb weights set hello ") == ["plain,10.42.0.5:8080=", "plain,10.42.0.6:8080="]
    assert complete("bash", "golb weights drain 10.42.0.7") == ["plain,10.42.0.7:8080"]
    zone.environ["eb_go_lb_zone"] = "another"
    assert complete("fish", f"golb weights delete --zone {zone.name} res")[0].startswith("plain,resnet")


@pytest.mark.parametrize("variables", [{"etcd_host": NOWHERE}, {"zone": ""}, {"etcd_host": "a:b"}])
def test_a_shell_is_told_nothing_where_etcd_cannot_be_asked(
    zone: Zone, complete: Callable[[str, str], list[str]], variables: dict[str, str]
) -> None:
    zone.environ |= {f"eb_go_lb_{name}": text for name, text in variables.items()}
    assert complete("bash", "golb weights get he") == []


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef golb"), ("fish", "complete --")]
)
def test_the_script_for_a_shell_is_written(zone: Zone, shell: str, word: str) -> None:
    ended = zone.weights("completion", shell)
    assert ended.code == 0
    assert word in ended.out
    assert "_GOLB_COMPLETE" in ended.out


def test_bash_completes_by_the_script(zone: Zone, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    (tmp_path / "script").write_text(zone.weights("completion", "bash").out)
    golb = tmp_path / "golb"
    golb.write_text(f'#!{bash}\nexec "{sys.executable}" -m golb "$@"\n')
    golb.chmod(0o755)
    script = (
        f'PATH="{tmp_path}:$PATH"; source "{tmp_path}/script"; '
        f"COMP_WORDS=(golb weights s); COMP_CWORD=2; _golb_completion golb; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["set", "shift", "simulate"]

"""The example of docs/extending.md as a package of its own, installed beside golb; and packages that are none."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.golb_process import GolbProcess

from demo.ports import choose_ports
from golb.errors import ConfigError
from golb.handlers import Handler
from golb.plugins import HANDLERS, WEIGHT_UPDATERS, load_plugin
from golb.updaters import WeightUpdater

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"

FAULTY_MODULE = """
from golb.handlers import DummyHandler
from golb.updaters import WeightUpdater
from golb.weights import Weights, WeightUpdate


class Failing(WeightUpdater):
    async def run(self, publish):
        publish([WeightUpdate("f", Weights(), 1)])
        raise RuntimeError("no source today")


class Refusing(DummyHandler):
    def handle_weight_update(self, update):
        raise RuntimeError("not for me")


class Unmade(DummyHandler):
    def __init__(self, context):
        raise RuntimeError("nothing to start from")
"""
FAULTY_PROJECT: dict[str, Any] = {
    "name": "golb-faulty",
    "version": "1.0",
    "entry-points": {
        "golb.handlers": {
            "missing": "no_such_module:Handler",
            "alien": "json:JSONDecoder",
            "function": "json:dumps",
            "abstract": "golb.handlers:Handler",
            "Refusing": "golb_faulty:Refusing",
            "unmade": "golb_faulty:Unmade",
        },
        "golb.weight_updaters": {"failing": "golb_faulty:Failing", "handler": "golb_faulty:Refusing"},
    },
}


def block(language: str) -> str:
    """Return the only block of code in that language that the document holds."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def build_wheel(directory: Path, project: Mapping[str, Any], content: str) -> Path:
    """Pack one module as its build backend would; that would have to come over the network."""
    module = project["name"].replace("-", "_")
    version = project["version"]
    points = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())])
        for group, entries in project["entry-points"].items()
    ]
    members = {
        f"{module}.py": content,
        f"{module}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n",
        f"{module}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{module}-{version}.dist-info/entry_points.txt": "\n\n".join(points) + "\n",
    }
    record = f"{module}-{version}.dist-info/RECORD"
    members[record] = "".join(f"{name},,\n" for name in [*members, record])
    wheel = directory / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, text in members.items():
            packed.writestr(name, text)
    return wheel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both packages installed, to be added to golb's environment."""
    directory = tmp_path_factory.mktemp("plugins")
    wheels = [
        build_wheel(directory, tomllib.loads(block("toml"))["project"], block("python")),
        build_wheel(directory, FAULTY_PROJECT, FAULTY_MODULE),
    ]
    for wheel in wheels:
        # To unpack a wheel of pure Python is to install it (the packaging specification "Binary distribution format").
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(directory / "site")
    return directory / "site"


@pytest.fixture
def environment(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let golbs find what is installed there."""
    monkeypatch.setenv("PYTHONPATH", str(site))


def get(port: int, targets: list[str]) -> Iterator[tuple[int, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        for target in targets:
            client.request("GET", target)
            response = client.getresponse()
            yield response.status, response.read().decode()


def test_the_example_is_no_longer_than_it_says() -> None:
    assert len(block("python").splitlines()) <= 30


@pytest.mark.parametrize("workers", [1, 2])
def test_the_example_answers_with_its_own_handler_and_its_own_weights(
    environment: None, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    weights = {"resnet": {"ips": ["10.42.0.5:8080", "10.42.0.6"], "weights": [3, 1]}}
    monkeypatch.setenv("FIXED_WEIGHTS", json.dumps(weights))
    with GolbProcess(handler_type="Whose-Turn", weight_updater="fixed", workers=workers) as golb:
        # On one connection, so that one worker answers.
        answers = Counter(get(golb.port, ["/function/resnet"] * 40))
        assert answers == {(200, "10.42.0.5:8080"): 30, (200, "10.42.0.6:80"): 10}
        assert list(get(golb.port, ["/function/other"])) == [(404, "no endpoint")]
        assert golb.stop() == 0
        serving = next(line for line in golb.log() if line["message"] == "serving")
    assert serving["handler"] == "whose-turn"


def test_the_names_of_plugins_are_offered_in_the_help(environment: None) -> None:
    done = subprocess.run([sys.executable, "-m", "golb", "--help"], capture_output=True, timeout=30, check=True)
    assert (
        b"accepts abstract | alien | dummy | function | missing | refusing | unmade | whose-turn | wrr\n" in done.stdout
    )
    assert b"accepts etcd | failing | file | fixed | handler\n" in done.stdout


MISSING = "no_such_module:Handler cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')"


def handler_refusal(name: str, reason: str) -> str:
    others = sorted(
        {"abstract", "alien", "dummy", "function", "missing", "refusing", "unmade", "whose-turn", "wrr"} - {name}
    )
    return f"eb_go_lb_handler_type is '{name}', but {reason}; it accepts {' | '.join(others)}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", MISSING),
        ("alien", "json:JSONDecoder is no class that implements golb.handlers.base.Handler"),
        ("function", "json:dumps is no class that implements golb.handlers.base.Handler"),
        ("abstract", "golb.handlers:Handler is no class that implements golb.handlers.base.Handler"),
    ],
)
def test_what_is_no_handler_is_refused_by_one_line(
    name: str, reason: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(ConfigError) as refused:
        load_plugin(HANDLERS, name, Handler)
    assert str(refused.value) == handler_refusal(name, reason)


def test_what_is_no_weight_updater_is_refused_by_one_line(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(ConfigError) as refused:
        load_plugin(WEIGHT_UPDATERS, "handler", WeightUpdater)
    assert str(refused.value) == (
        "eb_go_lb_weight_updater is 'handler', but golb_faulty:Refusing is no class that implements "
        "golb.updaters.base.WeightUpdater; it accepts etcd | failing | file | fixed"
    )


@pytest.mark.parametrize(
    ("variable", "name", "line"),
    [
        ("handler_type", "missing", handler_refusal("missing", MISSING)),
        (
            "weight_updater",
            "handler",
            "eb_go_lb_weight_updater is 'handler', but golb_faulty:Refusing is no class that",
        ),
    ],
)
def test_a_plugin_that_is_refused_ends_golb_with_that_line_and_code_2(
    variable: str, name: str, line: str, environment: None
) -> None:
    environ = os.environ | {"eb_go_lb_zone": "zone-a", f"eb_go_lb_{variable}": name}
    golb = [sys.executable, "-m", "golb"]
    done = subprocess.run(golb, env=environ, capture_output=True, timeout=30, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith(line)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_handler_that_cannot_be_made_ends_golb_with_code_2_however_many_were_to_serve(
    workers: str, environment: None, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.json"
    weights.write_text("{}")
    environ = os.environ | {
        "eb_go_lb_zone": "zone-a",
        "eb_go_lb_handler_type": "unmade",
        "eb_go_lb_weight_updater": "file",
        "eb_go_lb_weights_file": str(weights),
        "eb_go_lb_workers": workers,
        "eb_go_lb_listen_port": str(choose_ports([None])[0]),
        "eb_go_lb_admin_listen": "off",
    }
    golb = [sys.executable, "-m", "golb"]
    done = subprocess.run(golb, env=environ, capture_output=True, timeout=30, check=False, text=True)
    assert done.returncode == 2, done.stderr
    cause = "eb_go_lb_handler_type is 'unmade', but its handler cannot be made: RuntimeError('nothing to start from')"
    assert cause in done.stderr


def test_plugins_that_fail_while_golb_runs_are_logged_and_stop_nothing(environment: None) -> None:
    with GolbProcess(handler_type="refusing", weight_updater="failing") as golb:
        ((status, text),) = get(golb.port, ["/x"])
        assert (status, text[:14]) == (200, "Dummy response")
        assert golb.stop() == 0
        lines = {line["message"]: line for line in golb.log() if line["level"] == "error"}
    assert set(lines) == {"weight updater failed, started again", "weight update failed"}
    assert "no source today" in lines["weight updater failed, started again"]["exception"]
    assert lines["weight update failed"]["function"] == "f"
    assert "not for me" in lines["weight update failed"]["exception"]

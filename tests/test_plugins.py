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
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    install = ["install", "--no-index", "--no-deps", "--target", str(directory / "site"), *map(str, wheels)]
    subprocess.run([*pip, *install], check=True, timeout=60)
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


def refusal(**variables: str) -> str:
    """Return the only line that golb ends with, on stderr and by code 2."""
    environ = os.environ | {f"eb_go_lb_{name}": text for name, text in variables.items()} | {"eb_go_lb_zone": "zone-a"}
    done = subprocess.run(
        [sys.executable, "-m", "golb"], env=environ, capture_output=True, timeout=30, check=False, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


def test_the_example_is_no_longer_than_it_says() -> None:
    assert len(block("python").splitlines()) <= 30


def test_the_example_answers_with_its_own_handler_and_its_own_weights(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"resnet": {"ips": ["10.42.0.5:8080", "10.42.0.6"], "weights": [3, 1]}}
    monkeypatch.setenv("FIXED_WEIGHTS", json.dumps(weights))
    with GolbProcess(handler_type="Whose-Turn", weight_updater="fixed") as golb:
        answers = Counter(get(golb.port, ["/function/resnet"] * 40))
        assert answers == {(200, "10.42.0.5:8080"): 30, (200, "10.42.0.6:80"): 10}
        assert list(get(golb.port, ["/function/other"])) == [(404, "no endpoint")]
        assert golb.stop() == 0
        serving = next(line for line in golb.log() if line["message"] == "serving")
    assert serving["handler"] == "whose-turn"


def test_the_names_of_plugins_are_offered_in_the_help(environment: None) -> None:
    done = subprocess.run([sys.executable, "-m", "golb", "--help"], capture_output=True, timeout=30, check=True)
    assert b"accepts abstract | alien | dummy | function | missing | refusing | whose-turn | wrr\n" in done.stdout
    assert b"accepts etcd | failing | file | fixed | handler\n" in done.stdout


OTHER_HANDLERS = {"abstract", "alien", "dummy", "function", "missing", "refusing", "whose-turn", "wrr"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no_such_module:Handler cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
        ("alien", "json:JSONDecoder is no class that implements golb.handlers.base.Handler"),
        ("function", "json:dumps is no class that implements golb.handlers.base.Handler"),
        ("abstract", "golb.handlers:Handler is no class that implements golb.handlers.base.Handler"),
    ],
)
def test_what_is_no_handler_ends_golb_with_one_line(name: str, reason: str, environment: None) -> None:
    others = " | ".join(sorted(OTHER_HANDLERS - {name}))
    assert refusal(handler_type=name) == f"eb_go_lb_handler_type is '{name}', but {reason}; it accepts {others}"


def test_what_is_no_weight_updater_ends_golb_with_one_line(environment: None) -> None:
    assert refusal(weight_updater="handler") == (
        "eb_go_lb_weight_updater is 'handler', but golb_faulty:Refusing is no class that implements "
        "golb.updaters.base.WeightUpdater; it accepts etcd | failing | file | fixed"
    )


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

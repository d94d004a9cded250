"""Every line has the one form, whoever logs it: JSON on stdout in mode prod, lines for people on stderr in mode dev."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from support.golb_process import GolbProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Speak: TypeAlias = "Callable[[str, str], tuple[str, str]]"

SPEAKER = """
import logging, sys, warnings
import structlog
from golb.logs import configure_logs

configure_logs(sys.argv[1], sys.argv[2])
log = structlog.get_logger()
log.debug("whisper")
log.info("weights changed", function="größe", changes={"a": 1}, odd=object)
log.warning("two\\nlines", key=b"\\xff", surrogate="\\udcff")
def fail(password):
    1 / 0
try:
    fail("open" + " sesame")
except ZeroDivisionError:
    log.exception("failed")
    logging.getLogger("other").exception("failed %s", "too")
logging.getLogger("other").debug("whisper")
logging.getLogger("other").info("said by %s", "another")
logging.getLogger("httpx").info("HTTP Request: POST /v3/kv/range")
warnings.warn("old", DeprecationWarning, stacklevel=1)
print("the end", file=sys.stderr if sys.argv[1] == "prod" else sys.stdout)
"""
FIELDS = {"timestamp", "level", "caller", "message"}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "speaker.py"
    path.write_text(SPEAKER)
    return path


@pytest.fixture(scope="module")
def speak(script: Path) -> Speak:
    """Return what a program that logs in all ways there are writes to stdout and stderr, by its mode and its level."""

    @cache  # it says the same each time, and to start it takes longer than the rest of a test
    def run(mode: str, level: str) -> tuple[str, str]:
        command = [sys.executable, "-W", "default", str(script), mode, level]
        done = subprocess.run(command, capture_output=True, timeout=30, check=True)
        return done.stdout.decode(), done.stderr.decode()

    return run


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(SPEAKER.splitlines(), 1) if text in line)


@pytest.mark.parametrize("mode", ["dev", "prod"])
def test_a_traceback_shows_no_values(speak: Speak, mode: str) -> None:
    out, err = speak(mode, "info")
    assert (out + err).count("ZeroDivisionError: division by zero") == 2
    assert "open sesame" not in out + err


def test_in_mode_prod_every_line_is_json_on_stdout(speak: Speak) -> None:
    out, err = speak("prod", "info")
    assert err == "the end\n"
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert all(line.keys() >= FIELDS for line in lines)
    for line in lines:
        age = datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])
        assert 0 <= age.total_seconds() < 60
    assert [(line["level"], line["message"].partition(": ")[2] or line["message"]) for line in lines] == [
        ("info", "weights changed"),
        ("warning", "two\nlines"),
        ("error", "failed"),
        ("error", "failed too"),
        ("info", "said by another"),
        ("warning", 'DeprecationWarning: old\n  warnings.warn("old", DeprecationWarning, stacklevel=1)\n'),
    ]
    assert lines[0]["function"] == "größe"
    assert lines[0]["changes"] == {"a": 1}
    for line in lines[2:4]:
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_the_caller_is_the_file_and_line_that_logged(script: Path, speak: Speak) -> None:
    out, _ = speak("prod", "info")
    callers = [json.loads(line)["caller"] for line in out.splitlines()]
    said = ["log.info", "log.warning", "log.exception", '"failed %s"', '"said by']
    assert callers[:5] == [f"{script.parent.name}/speaker.py:{line_of(text)}" for text in said]


def test_in_mode_dev_lines_for_people_go_to_stderr(script: Path, speak: Speak) -> None:
    out, err = speak("dev", "info")
    assert out == "the end\n"
    assert "\x1b" not in err  # it is no terminal, so there are no colours
    first = err.splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[info +\] weights changed ", first)
    assert "function=größe" in first
    assert f"caller={script.parent.name}/speaker.py:{line_of('log.info')}" in first
    for text in ("failed too", "said by another", "DeprecationWarning: old", "ZeroDivisionError: division by zero"):
        assert text in err


@pytest.mark.parametrize(("level", "heard"), [("debug", True), ("info", False), ("error", False)])
def test_what_is_below_the_level_is_not_logged(level: str, heard: bool, speak: Speak) -> None:  # noqa: FBT001 - a case's value
    out, _ = speak("prod", level)
    messages = [json.loads(line)["message"] for line in out.splitlines()]
    assert messages.count("whisper") == (2 if heard else 0)
    assert ("weights changed" in messages) is (level != "error")
    assert "failed" in messages
    assert not any("HTTP Request" in message for message in messages)


CHANGER = """
import logging
import structlog
from golb.logs import configure_logs, set_log_level

own, other = structlog.get_logger(), logging.getLogger("other")
configure_logs("prod", "info")
for level in ("info", "debug", "error", "warning"):
    set_log_level(level)
    for log in (own, other):
        for method in ("debug", "info", "warning", "error"):
            getattr(log, method)(level)
"""


def test_another_level_counts_for_loggers_that_have_logged_before(tmp_path: Path) -> None:
    script = tmp_path / "changer.py"
    script.write_text(CHANGER)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=30, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["message"], line["level"]) for line in lines] == [
        *2 * [("info", level) for level in ("info", "warning", "error")],
        *2 * [("debug", level) for level in ("debug", "info", "warning", "error")],
        *2 * [("error", "error")],
        *2 * [("warning", level) for level in ("warning", "error")],
    ]


def test_all_that_a_whole_golb_logs_has_that_form(tmp_path: Path) -> None:
    weights = tmp_path / "weights.json"
    weights.write_text('{"f": {"ips": ["127.0.0.1:1"], "weights": [1]}, "g": 7, "h": {"ips": [], "weights": []}}')
    variables = {"weight_updater": "file", "weights_file": str(weights), "log_level": "debug"}
    with GolbProcess(**variables, colour="x", zon="y") as golb:
        with closing(http.client.HTTPConnection("127.0.0.1", golb.port, timeout=10)) as client:
            client.request("GET", "/function/f")
            assert client.getresponse().status == 502
        assert golb.stop() == 0
        lines = golb.log()
    assert all(line.keys() >= FIELDS for line in lines)
    assert [(line["level"], line["message"]) for line in lines] == [
        ("warning", "unknown variable"),
        ("warning", "unknown variable"),
        ("debug", "weights changed"),
        ("warning", "refused"),
        ("debug", "weights changed"),
        ("info", "weights read"),
        ("info", "serving"),
        ("warning", "endpoint rests"),
        ("warning", "call failed"),
        ("debug", "called"),
        ("info", "stopping"),
        ("info", "stopped"),
    ]
    assert [line.get("did_you_mean") for line in lines[:2]] == [None, "eb_go_lb_zone"]
    assert {line["caller"].rpartition(":")[0] for line in lines} >= {"service/single.py", "updaters/table.py"}


UNREAD = """
import os, sys
import structlog
from golb.logs import configure_logs

reader, writer = os.pipe()
os.dup2(writer, 1)
configure_logs("prod", "info")
log = structlog.get_logger()
for length in (200, 3000, 6000, 200):
    for _ in range(500):
        log.info("unread", text="x" * length)
read = os.read(reader, 1 << 20)
log.info("read")
sys.stderr.buffer.write(read + os.read(reader, 1 << 20))
"""


def test_lines_that_nobody_reads_are_dropped_and_told_of_as_soon_as_somebody_does(tmp_path: Path) -> None:
    script = tmp_path / "unread.py"
    script.write_text(UNREAD)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=30, check=True)
    *unread, told, read = (json.loads(line) for line in done.stderr.splitlines() if line.endswith(b"}"))
    assert {line["message"] for line in unread} == {"unread"}
    assert told["message"] == "log lines dropped, nobody read them in time"
    assert len(unread) + told["lines"] == 4 * 500
    assert read["message"] == "read"

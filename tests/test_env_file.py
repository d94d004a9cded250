"""The file whose variables stand in for those of the environment: what a line sets, and what is said of one that is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from golb.env_file import ACCEPTS, VARIABLE, parse_env_file, read_env_file, with_env_file
from golb.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("eb_go_lb_x=1", "1"),
        ("eb_go_lb_x=", ""),
        ("  eb_go_lb_x=1\t", "1"),
        ("eb_go_lb_x= 1", "1"),
        ("eb_go_lb_x=1\r\n", "1"),
        ("\n# eb_go_lb_x=0\n\neb_go_lb_x=1\n#eb_go_lb_x=2", "1"),
        ("eb_go_lb_x=a # b", "a # b"),
        ("eb_go_lb_x=a=b", "a=b"),
        ("eb_go_lb_x=$HOME ${y} \\n", "$HOME ${y} \\n"),
        ("eb_go_lb_x=\" a 'b' \"", " a 'b' "),
        ("eb_go_lb_x=' a \"b\" '", ' a "b" '),
        ('eb_go_lb_x=""', ""),
        ("eb_go_lb_x=it's", "it's"),
        ("eb_go_lb_x=größe", "größe"),
        ("eb_go_lb_x=a\x0bb\u2028c", "a\x0bb\u2028c"),
    ],
)
def test_a_line_sets_a_variable(text: str, value: str) -> None:
    assert parse_env_file(text) == ({"eb_go_lb_x": value}, [])


@pytest.mark.parametrize(
    "line",
    [
        "eb_go_lb_x",
        "eb_go_lb_x =1",
        "eb_go_lb_x 1",
        "eb_go_lb_x: 1",
        "export eb_go_lb_x=1",
        "eb_go_lb_=1",
        "eb_go_lb_größe=1",
        "OTEL_SERVICE_NAME=golb",
        "x=1",
        "=1",
        "; eb_go_lb_x=1",
    ],
)
def test_what_sets_no_variable_of_golb_is_told_of_by_its_number(line: str) -> None:
    assert parse_env_file(f"\n{line}\neb_go_lb_y=1") == ({"eb_go_lb_y": "1"}, ["whose line 2 is no eb_go_lb_...=value"])


@pytest.mark.parametrize("value", ['"', '"a', "'a\"", '"a" b', '"a" "b"', '"a"b"'])
def test_a_quote_that_is_not_closed_by_the_end_of_its_line_is_told_of(value: str) -> None:
    problem = "whose line 1 sets eb_go_lb_x to what begins with a quote and does not end with its pair"
    assert parse_env_file(f"eb_go_lb_x={value}") == ({}, [problem])


def test_a_variable_that_is_set_twice_and_the_file_itself_are_told_of() -> None:
    assert parse_env_file(f"eb_go_lb_x=1\neb_go_lb_x=2\n{VARIABLE}=other") == (
        {"eb_go_lb_x": "1"},
        [
            "whose line 2 sets eb_go_lb_x a second time",
            f"whose line 3 sets {VARIABLE}, which only the environment can",
        ],
    )


def test_the_file_wins_over_the_environment_also_where_it_sets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "golb.env"
    path.write_text("eb_go_lb_mode=prod\neb_go_lb_gateways=\n", "utf-8")
    environ = {
        VARIABLE: f" {path} ",
        "eb_go_lb_mode": "dev",
        "eb_go_lb_gateways": "10.0.3.1",
        "eb_go_lb_zone": "zone-a",
    }
    assert with_env_file(environ) == environ | {"eb_go_lb_mode": "prod", "eb_go_lb_gateways": ""}


def test_without_a_file_the_environment_is_all_there_is() -> None:
    environ = {VARIABLE: " ", "eb_go_lb_zone": "zone-a"}
    assert with_env_file(environ) is environ


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        read_env_file(path)
    return str(refused.value)


def test_a_file_that_is_not_there_or_is_none_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "missing", tmp_path, pipe):
        assert refusal(path) == f"{VARIABLE} is {str(path)!r}; it accepts {ACCEPTS}, and there is none"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golb.env"
    path.write_bytes(b"eb_go_lb_x=\xff\n")
    assert refusal(path) == f"{VARIABLE} is {str(path)!r}, which is not UTF-8; it accepts {ACCEPTS}"


def test_each_bad_line_has_a_line_of_the_refusal_and_shows_none_of_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "golb.env"
    path.write_text("eb_go_lb_etcd_password s3cret\n\neb_go_lb_etcd_password='s3cret\n")
    first, second = refusal(path).splitlines()
    assert first.startswith(f"{VARIABLE} is {str(path)!r}, whose line 1 is no eb_go_lb_...=value; it accepts the path ")
    assert ", whose line 3 sets eb_go_lb_etcd_password to what begins with a quote " in second
    assert "s3cret" not in first + second

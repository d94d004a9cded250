"""What is compiled (pyproject.toml, the hook mypyc), and what mypyc makes otherwise than Python. `make test-compiled` runs all tests on it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

_HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"][
    "mypyc"
]
INCLUDED: list[str] = _HOOK["include"]

_WAITS = (ast.Await, ast.AsyncWith, ast.AsyncFor, ast.Yield, ast.YieldFrom)


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def _functions(path: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_what_is_compiled_is_named_by_its_file_once_and_in_order() -> None:
    assert [path for path in INCLUDED if not (ROOT / path).is_file()] == []
    assert sorted(set(INCLUDED)) == INCLUDED


def test_what_has_to_be_beside_it_is_not_compiled() -> None:
    assert "golb/mypyc.py" not in INCLUDED


def test_nothing_is_compiled_unless_asked_for() -> None:
    assert _HOOK["enable-by-default"] is False


@pytest.mark.parametrize("path", ["Dockerfile", "Makefile", "benchmarks/compiled.py"])
def test_whoever_compiles_lets_functions_call_each_other_without_a_detour(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    asking = [line for line in lines if "HATCH_BUILD_HOOK_ENABLE_MYPYC" in line]
    assert len(asking) == 1
    assert re.search(r"CFLAGS\W+-fno-semantic-interposition\b", asking[0])


def test_all_of_it_is_compiled_or_nothing() -> None:
    for path in INCLUDED:
        import_module(path.removesuffix(".py").replace("/", "."))
    loaded = {name: module.__file__ or "" for name, module in sys.modules.items() if name.partition(".")[0] == "golb"}
    compiled = {name for name, path in loaded.items() if path.endswith(".so")}
    assert compiled in (set(), {path.removesuffix(".py").replace("/", ".") for path in INCLUDED})


@pytest.mark.parametrize("path", INCLUDED)
def test_no_finally_and_no_handler_of_an_exception_waits(path: str) -> None:
    """The reason stands in golb/mypyc.py."""
    bodies = [
        node.finalbody if isinstance(node, ast.Try) else node.body
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Try | ast.ExceptHandler)
    ]
    waits = [each for body in bodies for part in body for each in ast.walk(part) if isinstance(each, _WAITS)]
    assert [each.lineno for each in waits] == []


@pytest.mark.parametrize("path", INCLUDED)
def test_exceptions_of_different_types_have_different_names_in_a_function(path: str) -> None:
    """The first one's type is checked of all."""
    for function in _functions(path):
        types: dict[str, set[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name is not None and node.type is not None:
                types.setdefault(node.name, set()).add(ast.unparse(node.type))
        assert {name: found for name, found in types.items() if len(found) > 1} == {}, function.name

"""The map of DESIGN, section 1, held by the imports: they point down, never sideways, and the rules stay pure."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1] / "golb"

# From the top. A room, which is a module or a package, may import those further down, and itself.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"commands", "service"},
    {"admin", "handlers", "server", "takeover", "updaters", "upstream", "workers"},
    {"access_log", "config", "deadlines", "logs", "observed", "sockets", "tracing", "trio_etcd"},
    {"env_file", "fibers", "forwarding", "poller", "texts"},
    {"plugins"},
    {"addresses", "routes"},
    {"calls", "history"},
    {"endpoints", "header_lines", "weights"},
    {"headers", "health", "limits", "line_budget", "pipes", "schedule", "stats", "sums"},
    {"asgi", "cores", "errors", "memo", "mypyc", "networks", "__init__"},
]
DEPTHS = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}

PURE = {
    "addresses",
    "calls",
    "endpoints",
    "forwarding",
    "header_lines",
    "headers",
    "health",
    "history",
    "limits",
    "line_budget",
    "memo",
    "networks",
    "routes",
    "schedule",
    "stats",
    "sums",
    "weights",
}
# Types and exceptions are values too.
PURE_MAY_IMPORT = PURE | {"asgi", "errors"}

# Each package that golb stands on is known in few rooms; structlog and attrs may be everywhere that is not pure.
KNOWN_IN = {
    "trio": {
        "access_log",
        "admin",
        "cli",
        "commands",
        "service",
        "handlers",
        "server",
        "takeover",
        "updaters",
        "upstream",
        "workers",
        "deadlines",
        "fibers",
        "sockets",
        "poller",
        "tracing",
        "trio_etcd",
    },
    "httpx": {"trio_etcd"},
    "starlette": {"admin"},
    "prometheus_client": {"admin"},
    "click": {"commands"},
    "rich": {"commands"},
    "hypercorn": {"server"},
    "httptools": {"server", "trio_etcd", "upstream"},
    "opentelemetry": {"tracing"},
    "structlog": {
        "__main__",
        "access_log",
        "cli",
        "service",
        "server",
        "takeover",
        "updaters",
        "upstream",
        "workers",
        "handlers",
        "logs",
        "poller",
    },
}


def files() -> Iterator[tuple[str, Path]]:
    """Yield each file of golb with its room."""
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).with_suffix("").parts[0], path


@cache
def nodes(path: Path) -> tuple[ast.Import | ast.ImportFrom | ast.Attribute, ...]:
    """Return what a file says of other modules, also for its types only or inside a function."""
    kinds = (ast.Import, ast.ImportFrom, ast.Attribute)
    return tuple(node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the full name of each module that a file imports."""
    package = ("golb", *path.relative_to(ROOT).parts[:-1])
    found: list[str] = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            full = [*package[: len(package) - node.level + 1], *module] if node.level else module
            found += (".".join([*full, alias.name]) for alias in node.names)
    return frozenset(found)


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path) if name.split(".")[0] == "golb")
    return {name[1] if len(name) > 1 and name[1] in DEPTHS else "__init__" for name in names}


def packages_imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"golb"}


FILES = [pytest.param(room, path, id=str(path.relative_to(ROOT))) for room, path in files()]


def test_every_room_is_on_the_map() -> None:
    assert {room for room, _ in files()} <= set(DEPTHS)


@pytest.mark.parametrize(("room", "path"), FILES)
def test_imports_point_down_the_map(room: str, path: Path) -> None:
    below = {other for other, depth in DEPTHS.items() if depth > DEPTHS[room]}
    assert rooms_imported(path) <= below | {room}


@pytest.mark.parametrize(("room", "path"), [param for param in FILES if param.values[0] in PURE])
def test_the_pure_modules_import_the_standard_library_attrs_and_each_other(room: str, path: Path) -> None:
    assert packages_imported(path) <= {"attrs"}
    assert rooms_imported(path) <= PURE_MAY_IMPORT
    assert not {name.split(".")[0] for name in imports(path)} & {"os", "socket", "time", "datetime", "threading"}


@pytest.mark.parametrize(("room", "path"), [param for param in FILES if param.values[0] == "trio_etcd"])
def test_the_etcd_client_could_be_published_as_it_stands(room: str, path: Path) -> None:
    assert packages_imported(path) <= {"trio", "httpx", "httptools", "attrs"}
    assert rooms_imported(path) <= {"trio_etcd"}


@pytest.mark.parametrize(("room", "path"), FILES)
def test_each_package_that_golb_stands_on_is_known_in_few_rooms(room: str, path: Path) -> None:
    assert {package for package in packages_imported(path) if room not in KNOWN_IN.get(package, {room})} == set()


def test_only_the_service_joins_the_packages_and_only_updaters_and_commands_know_etcd() -> None:
    joined = LAYERS[3]
    # The commands have the etcd client that the updaters make of the configuration; which of several workers a process is
    # has to be known before all else.
    may_import = {"commands": {"updaters"}, "cli": {"workers"}}
    for room, path in files():
        imported = rooms_imported(path) - {room}
        if room != "service":
            assert imported & joined <= may_import.get(room, set())
        if room not in {"updaters", "commands"}:
            assert "trio_etcd" not in imported


def test_only_the_main_module_looks_at_the_environment() -> None:
    for room, path in files():
        used = imports(path) | {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
        assert room == "__main__" or not used & {"os.environ", "os.environb", "os.getenv"}

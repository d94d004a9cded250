"""Weights from a real file: replaced, rewritten, broken, missing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs
from support.following import Following, wait_for_logs

from golb.config import Config
from golb.updaters import FileWeightUpdater
from golb.weights import Endpoint, Weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import trio
    from support.following import Logs

A = Endpoint("10.0.0.1", 80)


def table(**weight_by_function: float) -> str:
    return json.dumps({name: {"ips": ["10.0.0.1"], "weights": [w]} for name, w in weight_by_function.items()})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.json"


@pytest.fixture
async def following(path: Path, nursery: trio.Nursery) -> AsyncIterator[Following]:
    config = Config.from_environ(
        {"eb_go_lb_zone": "zone-a", "eb_go_lb_weight_updater": "file", "eb_go_lb_weights_file": str(path)}
    )
    following = Following()
    nursery.start_soon(FileWeightUpdater(config).run, following.publish)
    yield following
    nursery.cancel_scope.cancel()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


def replace(path: Path, content: str | bytes) -> None:
    """Put another file in its place, as a careful writer does."""
    new = path.with_suffix(".new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.replace(path)


def write(path: Path, content: str) -> None:
    """Write into the file that is there, or make one."""
    path.write_text(content)


def remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()


def make_directory(path: Path) -> None:
    path.mkdir()


def times(path: Path) -> tuple[int, int]:
    return path.stat().st_atime_ns, path.stat().st_mtime_ns


async def test_the_whole_table_comes_first_and_then_what_changes(path: Path, following: Following) -> None:
    write(path, table(f=1, g=2))
    assert await following.next_call() == {"f": Weights({A: 1}), "g": Weights({A: 2})}
    replace(path, table(f=1, g=3, h=4))
    assert await following.next_call() == {"g": Weights({A: 3}), "h": Weights({A: 4})}
    replace(path, table(g=3, h=4))
    assert await following.next_call() == {"f": None}
    replace(path, "{}")
    assert await following.next_call() == {"g": None, "h": None}


async def test_a_file_that_is_rewritten_in_place_is_followed(path: Path, following: Following) -> None:
    write(path, table(f=1))
    await following.next_call()
    write(path, table(f=1, g=1))
    assert await following.next_call() == {"g": Weights({A: 1})}


async def test_a_rewrite_that_leaves_size_and_times_as_they_were_is_seen_too(path: Path, following: Following) -> None:
    write(path, table(f=1))
    times_ns = times(path)
    assert await following.next_call() == {"f": Weights({A: 1})}
    write(path, table(f=2))
    os.utime(path, ns=times_ns)
    assert await following.next_call() == {"f": Weights({A: 2})}


async def test_an_empty_object_is_a_table_too(path: Path, following: Following) -> None:
    write(path, "{}")
    assert await following.next_call() == {}


async def test_a_missing_file_is_waited_for(path: Path, logs: Logs, following: Following) -> None:
    (log,) = await wait_for_logs(logs, 1, event="weights file not taken", reason="[Errno 2] No such file or directory")
    assert log["path"] == str(path)
    assert log["log_level"] == "warning"
    assert not following.unread
    write(path, table(f=1))
    assert await following.next_call() == {"f": Weights({A: 1})}


async def test_while_the_file_is_gone_the_last_table_stands(path: Path, logs: Logs, following: Following) -> None:
    write(path, table(f=1, g=1))
    await following.next_call()
    logs.clear()
    remove(path)
    await wait_for_logs(logs, 1, reason="[Errno 2]")
    write(path, table(f=2, g=1))
    assert await following.next_call() == {"f": Weights({A: 2})}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is not JSON: Expecting value"),
        (b'{"f": ', "the file is not JSON: Expecting value"),
        (b"\xff", "the file is not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "the file is not JSON: maximum recursion depth exceeded"),
        (b"[]", "the file holds no object"),
        (b"null", "the file holds no object"),
    ],
)
async def test_a_file_that_is_no_table_changes_nothing_and_says_why_once(
    content: bytes, reason: str, path: Path, logs: Logs, following: Following
) -> None:
    write(path, table(f=1))
    await following.next_call()
    logs.clear()
    replace(path, content)
    (log,) = await wait_for_logs(logs, 1, event="weights file not taken")
    assert log["reason"].startswith(reason)
    replace(path, table(f=1, g=1))
    assert await following.next_call() == {"g": Weights({A: 1})}
    assert len(await wait_for_logs(logs, 1, event="weights file not taken")) == 1


async def test_a_problem_that_comes_back_is_told_again(path: Path, logs: Logs, following: Following) -> None:
    for number in (1, 2):
        replace(path, table(f=number))
        await following.next_call()
        logs.clear()
        remove(path)
        await wait_for_logs(logs, 1, event="weights file not taken", reason="[Errno 2]")


async def test_one_bad_value_or_name_is_refused_and_the_others_are_taken(
    path: Path, logs: Logs, following: Following
) -> None:
    write(
        path,
        json.dumps(
            {
                "good": {"ips": ["10.0.0.1"], "weights": [1]},
                "negative": {"ips": ["10.0.0.1"], "weights": [-1]},
                "number": 7,
                "a/b": {"ips": [], "weights": []},
                "": {"ips": [], "weights": []},
                "\ud800": {"ips": [], "weights": []},
                "surrogate": {"ips": ["\ud800"], "weights": [1]},
                "nan": {"ips": ["10.0.0.1"], "weights": [float("nan")]},
            }
        ),
    )
    assert await following.next_call() == {"good": Weights({A: 1})}
    refused = {log["name"]: log["reason"] for log in logs if log["event"] == "refused"}
    assert refused == {
        "negative": "weights[0] is -1; a weight is finite and not negative",
        "number": "the value is a number; an object with ips and weights is needed",
        "'a/b'": "a function's name is not empty and holds neither slashes nor control characters",
        "''": "a function's name is not empty and holds neither slashes nor control characters",
        r"'\ud800'": "a function's name is not empty and holds neither slashes nor control characters",
        "surrogate": r"ips[0] is '\ud800'; that is neither an address nor a host name",
        "nan": "the value holds NaN; a weight is finite",
    }


async def test_a_value_that_turns_bad_keeps_the_last_good_one(path: Path, following: Following) -> None:
    write(path, table(f=1, g=1))
    await following.next_call()
    replace(path, table(f=-1, g=2))
    assert await following.next_call() == {"g": Weights({A: 2})}
    replace(path, table(f=1, g=2, h=1))
    assert await following.next_call() == {"h": Weights({A: 1})}


async def test_a_value_may_name_only_addresses_where_endpoints_may_lie(
    path: Path, nursery: trio.Nursery, logs: Logs
) -> None:
    config = Config.from_environ(
        {
            "eb_go_lb_zone": "zone-a",
            "eb_go_lb_weight_updater": "file",
            "eb_go_lb_weights_file": str(path),
            "eb_go_lb_target_networks": "192.168.0.0/16",
        }
    )
    following = Following()
    write(path, table(f=1))
    nursery.start_soon(FileWeightUpdater(config).run, following.publish)
    assert await following.next_call() == {}
    (log,) = await wait_for_logs(logs, 1, event="refused")
    assert log["reason"] == "ips[0] is '10.0.0.1'; 10.0.0.1 lies in no network of eb_go_lb_target_networks"
    nursery.cancel_scope.cancel()


async def test_a_directory_in_its_place_is_a_problem_like_any_other(
    path: Path, logs: Logs, following: Following
) -> None:
    make_directory(path)
    await wait_for_logs(logs, 1, reason="[Errno 21] Is a directory")
    remove(path)
    write(path, table(f=1))
    assert await following.next_call() == {"f": Weights({A: 1})}

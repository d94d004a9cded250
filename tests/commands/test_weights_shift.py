"""shift: gradual, guarded at each step, and truthful about where it ended. Against a real etcd."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import trio
from commands.zones import value

from golb.commands.errors import Conflict, Interrupted
from golb.commands.shifting import Shifting
from golb.commands.values import Target
from golb.trio_etcd import EtcdClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from commands.zones import Zone

    from golb.commands.entries import Entry

DEADLINE_S = 20
OLD, NEW = "10.42.0.5:8080", "10.42.0.6:8080"


async def shift(
    zone: Zone, steps: int, before_step: Callable[[int], bool], part: Fraction = Fraction(1)
) -> tuple[list[tuple[int, str]], Entry | Exception]:
    """Shift from OLD to NEW; return what was told after each step, and the end."""
    told: list[tuple[int, str]] = []

    async def is_due(step: int) -> bool:
        await trio.lowlevel.checkpoint()
        return before_step(step)

    with trio.fail_after(DEADLINE_S):
        async with EtcdClient([zone.etcd.client_url]) as client:
            store = zone.store(client)
            entry = await store.get("hello")
            shifting = Shifting.begin(store, entry, Target.parse(OLD), Target.parse(NEW), part, steps)
            try:
                end = await shifting.run(is_due, lambda step, entry: told.append((step, entry.value_text)))
            except (Conflict, Interrupted) as exc:
                return told, exc
            return told, end


async def test_weight_moves_step_by_step_and_all_else_stays(zone: Zone) -> None:
    zone.put("hello", '{"by": "opt", "ips": ["10.42.0.5:8080", "10.42.0.7:8080"], "weights": [4, 33.30]}')
    seen: list[str | None] = []

    def before_step(_step: int) -> bool:
        seen.append(zone.get("hello"))
        return True

    told, _ = await shift(zone, 4, before_step, Fraction(1, 2))
    text = '{{"by": "opt", "ips": ["10.42.0.5:8080", "10.42.0.7:8080", "10.42.0.6:8080"], "weights": [{}, 33.30, {}]}}'
    steps = [text.format(*weights) for weights in ((3.5, 0.5), (3, 1), (2.5, 1.5), (2, 2))]
    assert told == list(enumerate(steps, 1))
    assert seen[1:] == steps[:-1]
    assert zone.get("hello") == steps[-1]


async def test_a_writer_that_interferes_ends_the_move_and_keeps_what_it_wrote(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 4}))
    theirs = value(**{"5": 9, "6": 9})

    def before_step(step: int) -> bool:
        if step == 3:
            zone.put("hello", theirs)
        return True

    told, end = await shift(zone, 4, before_step)
    assert [step for step, _ in told] == [1, 2]
    assert isinstance(end, Conflict)
    assert "hello was changed meanwhile, from revision" in str(end)
    assert "2 of 4 steps were taken, the last left 10.42.0.5:8080=2 (50.0 %), 10.42.0.6:8080=2 (50.0 %)" in str(end)
    assert zone.members("hello") == theirs


async def test_a_function_that_is_deleted_meanwhile_is_not_made_again(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 4}))

    def before_step(_step: int) -> bool:
        zone.delete("hello")
        return True

    told, end = await shift(zone, 4, before_step)
    assert told == []
    assert "hello was deleted meanwhile; nothing was written; before that no step of 4 was taken" in str(end)
    assert zone.get("hello") is None


async def test_a_move_that_is_stopped_says_what_it_has_left(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 4}))
    _, end = await shift(zone, 4, lambda step: step < 2)
    assert isinstance(end, Interrupted)
    assert zone.members("hello") == value(**{"5": 3, "6": 1})
    assert "1 of 4 steps were taken, the last left 10.42.0.5:8080=3 (75.0 %), 10.42.0.6:8080=1 (25.0 %)" in str(end)


async def test_a_move_that_is_stopped_says_what_is_left_to_shift(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 100}))
    _, end = await shift(zone, 5, lambda step: step < 3, Fraction(1, 2))
    assert str(end).endswith("; --percent 37.5 of it is the rest")
    _, end = await shift(zone, 1, lambda _step: True, Fraction("0.375"))
    assert not isinstance(end, Exception)
    assert zone.members("hello") == value(**{"5": 50, "6": 50})


def test_shift_as_a_command_tells_each_step_as_json(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 4, "6": 0}))
    ended = zone.weights("shift", "hello", OLD, NEW, "--percent", "50%", "--over", "40ms", "--every", "20ms", "--json")
    assert ended.code == 0
    steps = [json.loads(line) for line in ended.out.splitlines()]
    assert [(each["step"], each["steps"], each["from"]["weight"], each["to"]["weight"]) for each in steps] == [
        (1, 2, 3, 1),
        (2, 2, 2, 2),
    ]
    assert steps[-1]["from"] == {"target": OLD, "weight": 2, "share": 0.5}
    assert steps[-1]["revision"] == zone.weights("get", "hello", "--json").json["revision"]


def test_shift_at_once_shows_how_the_function_stands(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 4}))
    ended = zone.weights("shift", "hello", OLD, NEW, "--over", "0")
    assert ended.code == 0
    assert ended.rows == [[OLD, "0", "0.0 %"], [NEW, "4", "100.0 %"]]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nope", OLD, NEW], 1, "has no function nope"),
        (["hello", "10.42.0.9", NEW], 1, "hello has no target 10.42.0.9:80"),
        (["hello", NEW, OLD], 1, "has weight 0 in hello"),
        (["bad", OLD, NEW], 1, "golb refuses the value of bad"),
        (["hello", OLD, OLD], 2, "the same target"),
        (["hello", OLD, NEW, "--percent", "0"], 2, "no percentage above 0"),
        (["hello", OLD, NEW, "--percent", "101"], 2, "up to 100"),
        (["hello", OLD, NEW, "--percent", "nan"], 2, "up to 100"),
        (["hello", OLD, NEW, "--over", "soon"], 2, "a duration such as 10, 2.5s"),
        (["hello", OLD, NEW, "--every", "0"], 2, "--every is 0.01s at least"),
        (
            ["large", OLD, NEW, "--percent", "0.01"],
            1,
            "0.01 % of weight 1000, to the nearest whole one, is nothing to shift",
        ),
    ],
)
def test_shift_says_what_it_cannot_do(zone: Zone, arguments: list[str], code: int, says: str) -> None:
    zone.put("hello", before := value(**{"5": 4, "6": 0}))
    zone.put("bad", value(**{"5": -1}))
    zone.put("large", value(**{"5": 1000}))
    ended = zone.weights("shift", *arguments)
    assert ended.code == code
    assert says in ended.err
    assert zone.members("hello") == before


def test_ctrl_c_ends_a_move_after_a_whole_step(zone: Zone) -> None:
    zone.put("hello", value(**{"5": 1000}))
    command = [sys.executable, "-m", "golb", "weights", "shift", "hello", OLD, NEW, "--every", "50ms", "--json"]
    with subprocess.Popen(
        command, env=zone.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == 130
    steps: list[Any] = [json.loads(line) for line in lines + out.splitlines()]
    last = steps[-2]
    assert steps[-1]["error"]["kind"] == "interrupted"
    assert f"{last['step']} of 1200 steps were taken" in err
    assert zone.members("hello") == value(**{"5": last["from"]["weight"], "6": last["to"]["weight"]})
    assert last["from"]["weight"] + last["to"]["weight"] == 1000

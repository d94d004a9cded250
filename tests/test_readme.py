"""The README's table of variables is that of the configuration."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields

from golb.config import PREFIX, Config

README = Path(__file__).parents[1] / "README.md"
ROW = re.compile(r"\| `(eb_go_lb_\w+)`( ↻)? \|")


def test_it_has_every_variable_in_order_and_marks_those_that_can_change_at_run_time() -> None:
    rows = [match.groups() for line in README.read_text("utf-8").splitlines() if (match := ROW.match(line))]
    assert rows == [
        (PREFIX + variable.name, " ↻" if variable.metadata["at_run_time"] else None) for variable in fields(Config)
    ]

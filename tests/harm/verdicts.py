"""What a scenario comes to: a row for each promise, with what was seen of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable


@frozen
class Verdict:
    """One promise, and whether it was kept."""

    promise: str
    seen: str
    """The figures by which it was judged."""
    kept: bool


def table(title: str, verdicts: Iterable[Verdict]) -> str:
    """Return the rows as Markdown, under the scenario's title."""
    rows = [f"| {item.promise} | {item.seen} | {'PASS' if item.kept else 'FAIL'} |" for item in verdicts]
    return "\n".join([f"**{title}**", "", "| promised | seen | |", "|---|---|---|", *rows])


def share_text(part: int, whole: int) -> str:
    """Say how many of how many, as in `3 of 12,000`."""
    return f"{part:,} of {whole:,}"

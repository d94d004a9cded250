"""The chart: CPU time for each request, one panel for each scenario, cheapest first, golb's bar in colour.

The scale of a panel ends at its longest bar, but not past four times the panel's median: else one slow proxy would
make all the others look alike. A bar that is longer is cut, shows the cut, and still says its number.
"""

from __future__ import annotations

import statistics
from html import escape
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.figures import Figure

OURS = "golb"
_COLUMNS = 3
_PANEL_WIDTH = 400
_NAME_WIDTH = 112
_BAR_WIDTH = 200
_ROW_HEIGHT = 22
_BAR_HEIGHT = 14
_PANEL_TITLE = 34
_PANEL_GAP = 18
_MARGIN = 24
_HEADER = 74
_CUT_AT_MEDIANS = 4.0

_STYLE = """\
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 12px; fill: #24292f; }
.title { font-size: 18px; font-weight: 600; }
.note { fill: #57606a; }
.panel { font-size: 13px; font-weight: 600; }
.ours { font-weight: 700; }
.bar { fill: #afb8c1; }
.bar-ours { fill: #1f6feb; }
.range { stroke: #24292f; stroke-width: 1.2; }
.cut { stroke: #ffffff; stroke-width: 3; }
"""


@frozen
class Panel:
    """One scenario."""

    title: str
    figures: Mapping[str, Figure]
    """By peer."""

    def height(self) -> int:
        """Return its height in pixels."""
        return _PANEL_TITLE + _ROW_HEIGHT * len(self.figures) + _PANEL_GAP


def to_svg(panels: Sequence[Panel], subtitle: str) -> str:
    """Return the picture."""
    shown = [panel for panel in panels if panel.figures]
    columns = max(1, min(_COLUMNS, len(shown)))
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    width = max(2 * _MARGIN + columns * _PANEL_WIDTH, 760)
    body: list[str] = []
    top = _HEADER
    for row in rows:
        for column, panel in enumerate(row):
            body += _panel(panel, _MARGIN + column * _PANEL_WIDTH, top)
        top += max(panel.height() for panel in row)
    height = top + _MARGIN // 2
    size = f'width="{width}" height="{height}"'
    label = 'role="img" aria-label="CPU time of the proxy for each request"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" {label}>',
        f"<style>\n{_STYLE}</style>",
        f'<rect {size} rx="6" fill="#ffffff"/>',
        _text(_MARGIN, 32, "CPU time of the proxy for each request, µs (less is better)", "title"),
        _text(_MARGIN, 54, subtitle, "note"),
    ]
    return "\n".join([*head, *body, "</svg>", ""])


def scale_end(figures: Mapping[str, Figure]) -> float:
    """Return the value at which the longest bar of a panel ends."""
    medians = [figure.median for figure in figures.values()]
    limit = _CUT_AT_MEDIANS * statistics.median(medians)
    return max(median for median in medians if median <= limit) or 1.0


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    lines = [_text(left, top + 16, panel.title, "panel")]
    end = scale_end(panel.figures)
    cheapest_first = sorted(panel.figures.items(), key=lambda item: item[1].median)
    for number, (peer, figure) in enumerate(cheapest_first):
        lines += _row(peer, figure, end, left, top + _PANEL_TITLE + number * _ROW_HEIGHT)
    return lines


def _row(peer: str, figure: Figure, end: float, left: int, top: int) -> list[str]:
    ours = peer == OURS
    start = left + _NAME_WIDTH
    length = min(1.0, figure.median / end) * _BAR_WIDTH
    middle = top + _BAR_HEIGHT / 2
    style = "bar-ours" if ours else "bar"
    place = f'x="{start}" y="{top}" width="{length:.1f}" height="{_BAR_HEIGHT}"'
    lines = [
        _text(start - 8, top + 11.5, peer, "ours" if ours else "", anchor="end"),
        f'<rect class="{style}" {place}><title>{escape(_sentence(peer, figure))}</title></rect>',
    ]
    label = start + length
    if figure.median > end:
        cut = start + _BAR_WIDTH - 14
        lines.append(f'<path class="cut" d="M{cut} {top + _BAR_HEIGHT + 1} l6 -{_BAR_HEIGHT + 2}"/>')
    elif figure.rounds > 1:
        low, high = (start + min(1.08, value / end) * _BAR_WIDTH for value in (figure.low, figure.high))
        lines.append(f'<path class="range" d="M{low:.1f} {middle} H{high:.1f}"/>')
        label = max(label, high)
    number = f"{figure.median:,.0f}" if figure.median >= 100 else f"{figure.median:.1f}"
    lines.append(_text(label + 6, top + 11.5, number + (" ⚠" if figure.noisy else ""), "ours" if ours else ""))
    return lines


def _sentence(peer: str, figure: Figure) -> str:
    return f"{peer}: {figure.median:,.1f} µs ({figure.low:,.1f} to {figure.high:,.1f})"


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'

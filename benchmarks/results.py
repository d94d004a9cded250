"""Everything that came out of one run, and what a reader has to know to judge it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import asdict, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.compare import Comparison, Pace
    from benchmarks.figures import Figure
    from benchmarks.growth import Growth
    from benchmarks.machine import Machine
    from benchmarks.scenarios import Scenario

DISTURBED_SHARE = 0.05
"""Where other things had more of the proxy's core than this, the result says so."""


@frozen(kw_only=True)
class Results:
    """One run."""

    machine: Machine
    pace: Pace
    scenarios: Sequence[Scenario]
    comparison: Comparison
    growth: Growth | None
    workers: Comparison | None = None
    """The same proxies with one worker and with two, in `WORKERS_SCENARIO`."""

    def to_json(self) -> str:
        """Return all of it."""
        return json.dumps(asdict(self) | {"remarks": self.remarks()}, indent=1, ensure_ascii=False) + "\n"

    def peers(self) -> list[str]:
        """Return the peers that were measured, in their order."""
        return list(self.comparison.versions)

    def cpu_us(self, scenario: Scenario) -> dict[str, Figure]:
        """Return the main figure of a scenario, by peer."""
        return {name: one.cpu_us for name, one in self.comparison.summaries.get(scenario.key, {}).items()}

    def remarks(self) -> list[str]:
        """Return what makes the figures worth less, one sentence each."""
        remarks = [f"{name} is left out: {why}" for name, why in self.comparison.left_out.items()]
        if self.workers is not None:
            remarks += [f"{name} is left out: {why}" for name, why in self.workers.left_out.items()]
        if self.growth is not None:
            remarks += [f"Not measured: {why}" for why in self.growth.failed]
        if self.pace.rounds == 1:
            remarks.append("One round only: nothing tells how far the figures spread.")
        if self.machine.proxy_core in self.machine.load_cores:
            remarks.append("There is one core only: proxy, load and endpoints take turns, so latencies mean little.")
        for scenario in self.scenarios:
            by_peer = self.comparison.summaries.get(scenario.key, {})
            noisy = [
                f"{name} ({one.cpu_us.spread:.0%} in CPU time, {one.rps.spread:.0%} in requests/s)"
                for name, one in by_peer.items()
                if one.noisy
            ]
            disturbed = [
                f"{name} ({one.others_share.median:.0%} of the time)"
                for name, one in by_peer.items()
                if one.others_share.median > DISTURBED_SHARE
            ]
            errors = [f"{name} ({_kinds(one.errors_by_kind)})" for name, one in by_peer.items() if one.errors.high]
            for what, whom in (
                ("errors", errors),
                ("rounds too far apart", noisy),
                ("something else had the proxy's core", disturbed),
            ):
                if whom:
                    remarks.append(f"{scenario.title}: {what}: {', '.join(whom)}.")
        return remarks


def _kinds(errors: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in errors.items())

"""The order of endpoints for the Python proxies: smooth weighted round robin, worked out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def turns(weights: Mapping[str, int]) -> list[str]:
    """Return one cycle, in which each endpoint stands as often as its weight says, spread as nginx spreads them."""
    total = sum(weights.values())
    owed = dict.fromkeys(weights, 0)
    cycle = []
    for _ in range(total):
        for address, weight in weights.items():
            owed[address] += weight
        chosen = max(owed, key=lambda address: owed[address])
        owed[chosen] -= total
        cycle.append(chosen)
    return cycle


def parse_arguments(arguments: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Read `port host:port=weight ...`, as the Python proxies are told."""
    port, *endpoints = arguments
    return int(port), {address: int(weight) for address, _, weight in (text.partition("=") for text in endpoints)}


def to_arguments(port: int, weights: Mapping[str, int]) -> list[str]:
    """Write what `parse_arguments` reads."""
    return [str(port), *(f"{address}={weight}" for address, weight in weights.items())]

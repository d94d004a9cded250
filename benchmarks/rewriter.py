"""Rewrites the weights of many functions every second, by one plain put each, as the optimizers do.

`python -m benchmarks.rewriter ETCD_PORT ZONE FUNCTIONS ENDPOINT...`; ends when it is told to, or after ten minutes.
"""

from __future__ import annotations

import random
import sys
import time

from benchmarks.etcd import EtcdWriter, function_key, weights_value

_INTERVAL_S = 1.0
_LIMIT_S = 600.0


def main(arguments: list[str]) -> None:
    """Write all at the beginning of each second; what is not written by its end is not made up for."""
    port, zone, functions, *endpoints = arguments
    end = time.monotonic() + _LIMIT_S
    with EtcdWriter(int(port)) as writer:
        while (started := time.monotonic()) < end:
            for number in range(int(functions)):
                weights = {endpoint: random.randint(1, 100) for endpoint in endpoints}  # noqa: S311 - not a secret
                writer.put(function_key(zone, f"f{number}"), weights_value(weights))
            time.sleep(max(0.0, started + _INTERVAL_S - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1:])

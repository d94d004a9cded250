"""Rewrites the weights of many functions every second, as the optimizers do, and prints how many it has written so far.

Up to 1,000 functions each value is a plain put; for more these would take longer than the second, so they go in transactions.

`python -m benchmarks.rewriter ETCD_PORT ZONE FUNCTIONS ENDPOINT...`; ends when it is told to, or after ten minutes.
"""

from __future__ import annotations

import random
import sys
import time

from benchmarks.etcd import EtcdWriter, function_key, weights_value

_INTERVAL_S = 1.0
_LIMIT_S = 600.0
_MOST_PUTS = 1_000


def main(arguments: list[str]) -> None:
    """Write all at the beginning of each second; what is not written by its end is not made up for."""
    port, zone, count, *endpoints = arguments
    functions = int(count)
    written = 0
    end = time.monotonic() + _LIMIT_S
    with EtcdWriter(int(port)) as writer:
        while (started := time.monotonic()) < end:
            values = ((function_key(zone, f"f{number}"), _value(endpoints)) for number in range(functions))
            if functions > _MOST_PUTS:
                writer.put_all(values)
            else:
                for key, value in values:
                    writer.put(key, value)
            written += functions
            sys.stdout.write(f"{written}\n")
            sys.stdout.flush()
            time.sleep(max(0.0, started + _INTERVAL_S - time.monotonic()))


def _value(endpoints: list[str]) -> str:
    return weights_value({endpoint: random.randint(1, 100) for endpoint in endpoints})  # noqa: S311 - not a secret


if __name__ == "__main__":
    main(sys.argv[1:])

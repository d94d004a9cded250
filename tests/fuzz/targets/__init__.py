"""The targets: each a function of bytes that returns, or raises what is a finding. None of them knows a fuzzer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz.targets import answers, connection, etcd, weights

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS: dict[str, Callable[[bytes], None]] = {
    "answers": answers.fuzz_one,
    "connection": connection.fuzz_one,
    "etcd": etcd.fuzz_one,
    "weights": weights.fuzz_one,
}

"""What keeps a part of the benchmark from being measured."""

from __future__ import annotations


class BenchmarkError(Exception):
    """Base of what the benchmark raises on purpose; its text is a sentence for the reader of the results."""


class ToolMissing(BenchmarkError):
    """Something without which nothing can be measured is not there. Say what to install, and exit 1."""


class PeerFailed(BenchmarkError):
    """A proxy cannot be started, does other work than the others, or has ended. Leave it out, saying so."""


class LoadFailed(BenchmarkError):
    """The load generator did not do its work. Nothing was measured."""

"""What `golb doctor` has found: a verdict, what is so, and what to do about it. No I/O.

Rule: the members of a finding's object are what scripts rely on. Members may be added; none is taken away or renamed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_LINES = 20
"""Findings of one kind: a zone with a thousand bad values has one fault, not a thousand."""


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """golb runs, but maybe not as it was meant to."""
    WRONG = "wrong"
    """golb does not start, or does not serve what it should."""
    SKIPPED = "skipped"
    """It could not be looked at, or there is nothing to look at."""


class Check(StrEnum):
    """What is looked at, in this order."""

    VARIABLES = "variables"
    ETCD = "etcd"
    CLOCK = "clock"
    GATEWAY_API = "gateway-api"
    LOGIN = "login"
    ZONE = "zone"
    VALUES = "values"
    TARGETS = "targets"
    GATEWAYS = "gateways"
    LIMITS = "limits"
    LISTEN = "listen"
    ADMIN = "admin"


def _printable(text: str) -> str:
    # Names in etcd and answers of strangers are in it, and a terminal obeys control characters.
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


@frozen
class Finding:
    """One line."""

    check: Check
    verdict: Verdict
    text: str = field(converter=_printable)
    """What is so, on one line."""
    advice: str = ""
    """What to do about it; empty if there is nothing to do."""


@define
class Report:
    """The findings so far, in the order of the checks."""

    findings: list[Finding] = field(factory=list)

    def ok(self, check: Check, text: str) -> None:
        """Say that something is as it should be."""
        self.findings.append(Finding(check, Verdict.OK, text))

    def warn(self, check: Check, text: str, advice: str) -> None:
        """Say that something may not be as it was meant."""
        self.findings.append(Finding(check, Verdict.WARNING, text, advice))

    def wrong(self, check: Check, text: str, advice: str) -> None:
        """Say that something keeps golb from its work."""
        self.findings.append(Finding(check, Verdict.WRONG, text, advice))

    def skip(self, check: Check, why: str) -> None:
        """Say that something was not looked at."""
        self.findings.append(Finding(check, Verdict.SKIPPED, why))

    def all_of(self, check: Check, verdict: Verdict, texts: Sequence[str], advice: str) -> None:
        """Say the same of several things, of which no more than `MOST_LINES` are named."""
        self.findings += [Finding(check, verdict, text, advice) for text in texts[:MOST_LINES]]
        if len(texts) > MOST_LINES:
            self.findings.append(Finding(check, verdict, f"{len(texts) - MOST_LINES:,} more of the same kind", advice))

    def has(self, check: Check, *verdicts: Verdict) -> bool:
        """Tell whether a check has come to one of these verdicts."""
        return any(each.check is check and each.verdict in verdicts for each in self.findings)

    @property
    def verdict(self) -> Verdict:
        """The worst there is: `WRONG`, `WARNING` or `OK`."""
        found = {each.verdict for each in self.findings}
        return next((each for each in (Verdict.WRONG, Verdict.WARNING) if each in found), Verdict.OK)

    def as_object(self) -> dict[str, Any]:
        """Return the object of `--json`."""
        counts = {verdict.value: sum(each.verdict is verdict for each in self.findings) for verdict in Verdict}
        return {
            "verdict": self.verdict.value,
            "counts": counts,
            "findings": [asdict(each) for each in self.findings],
        }

"""One run of `golb doctor`: what a check goes by, and what it hands on to the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from golb.commands.doctor_report import Report
    from golb.commands.doctor_variables import Setup
    from golb.config import Config
    from golb.weights import Refused, Weights


@frozen
class Known:
    """A function, or a key that should name one, as its source has it."""

    name: str
    """Of the function; of a key that names none, the key."""
    weights: Weights | None
    """None: golb refuses it."""
    refused: Refused | None
    """Why, if it does."""
    is_function: bool = True


@define
class Visit:
    """What is known so far."""

    setup: Setup
    report: Report
    members: list[str] = field(factory=list)
    """URLs of those that answer as etcd does, and from then on of those whose JSON API can be used."""
    table: list[Known] | None = None
    """What the zone has; None: it is not known."""
    is_running: bool = False
    """Whether a golb has the port to listen on."""

    @property
    def config(self) -> Config:
        return self.setup.config

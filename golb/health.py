"""Which endpoints rest because they have failed, and when a request tries them again; no I/O and no clock.

Rule: an endpoint rests at once if no connection to it can be had, since such a failure says nothing of the request. It
rests after several failures in a row if it fails after it got a request, since one of them may be the request's fault.
An answer of whatever status is no failure: what it says is between the function and its client.

A rest lasts a moment; each further one that follows without a success between lasts twice as long, less some jitter, so
that the load balancers of many nodes do not come back at once. Then requests try the endpoint, one at a time; the
first success ends the rest. What an endpoint still answers of requests that it got before it began to rest counts
for nothing: a process that shuts down in order does so, and takes no new connection all the same.

Sources: gRFC A50 (outlier detection); Envoy's outlier detection and its panic threshold.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A rest is shorter by a random part of it, of this at most.
_JITTER = 0.2


@frozen(kw_only=True)
class RestPolicy:
    """When endpoints rest, and for how long."""

    is_on: bool = True
    min_s: float = 1.0
    """The first rest, in seconds, above 0."""
    max_s: float = 30.0
    """The longest one."""
    after: int = 5
    """So many failures in a row after a request was sent."""

    @property
    def panic_s(self) -> float:
        """The longest one where too many endpoints rest: twice the first.

        Once that, each of two that are dead would take every hundredth of 100 requests a second, and make that the slowest.
        """
        return min(2 * self.min_s, self.max_s)


@define(eq=False)
class Health:
    """What is known of one endpoint."""

    name: str
    failures: int = 0
    """In a row, since the last success."""
    rests: int = 0
    """In a row, without a success between."""
    is_resting: bool = False
    ends_s: float = 0.0
    """When it rests: when that is over, in seconds of the caller's clock."""
    due_s: float = 0.0
    """The same, put off while a request tries it."""
    panic_due_s: float = 0.0
    """The same, where too many endpoints rest."""
    trials: int = 0
    """Requests under way that were sent to it although it rests."""
    cause: str = ""
    """Of the last failure."""
    is_gone: bool = False
    """It is not used any more."""


class RestingEndpoints:
    """All endpoints of a process that rest.

    Args:
        policy: when they do.
        on_change: told of each endpoint that begins to rest, and for how many seconds, or serves again (0).
        random: for the jitter.
    """

    def __init__(
        self,
        policy: RestPolicy,
        on_change: Callable[[Health, float], object] | None = None,
        random: Random | None = None,
    ) -> None:
        self.policy = policy
        """Set to another one, it holds for rests that begin from then on; `end_all` ends the others."""
        self._on_change = on_change
        self._random = random or Random()  # noqa: S311 - a pause is no secret
        self._resting: dict[Health, None] = {}
        self.epoch = 0
        """Grows whenever an endpoint has begun to rest, has failed again, or serves again."""
        self.changes = 0
        """Grows only where it makes a difference to who rests; trials come far more often, and concern a few endpoints."""
        self.begun = 0
        """How often an endpoint has begun to rest."""

    def __len__(self) -> int:
        return len(self._resting)

    def __iter__(self) -> Iterator[Health]:
        """Iterate over those that rest now."""
        return iter(list(self._resting))

    def postpone(self, health: Health, now_s: float) -> None:
        """Let nobody else try an endpoint for now, since a request has been chosen to, which may begin a moment later."""
        health.due_s = now_s + self._rest_s(health)
        health.panic_due_s = now_s + self.policy.panic_s
        self.epoch += 1

    def begin_trial(self, health: Health, now_s: float) -> None:
        """Take note that a request goes to an endpoint that rests. If it hangs there, the next one goes a rest later."""
        health.trials += 1
        self.postpone(health, now_s)

    def end_trial(self, health: Health) -> None:
        """Take note that such a request is over; what it has shown is told by `fail` or `succeed`, before."""
        health.trials -= 1
        self.epoch += 1

    def fail(self, health: Health, now_s: float, cause: str, *, unsent: bool, trial: bool) -> None:
        """Count a failure.

        Args:
            health: whose it is.
            now_s: the time, in seconds.
            cause: in words.
            unsent: no byte of the request was sent.
            trial: the endpoint rested when the request was sent to it.
        """
        if not self.policy.is_on or health.is_gone:
            return
        health.failures += 1
        health.cause = cause
        if health.is_resting and not trial:
            return  # a request from before, whose failure the rest has foreseen
        # A trial may last so long that another one has ended the rest meanwhile: then it is a failure among others.
        if not (unsent or health.is_resting or health.failures >= self.policy.after):
            return
        # A trial that came before the rest was over makes the next one no longer.
        if not health.is_resting or now_s >= health.ends_s:
            rest_s = self._rest_s(health) * (1 - _JITTER * self._random.random())
            health.rests += 1
            health.ends_s = now_s + rest_s
            if self._on_change is not None:
                self._on_change(health, rest_s)
        health.due_s = health.ends_s
        health.panic_due_s = now_s + self.policy.panic_s
        self.epoch += 1
        if not health.is_resting:
            health.is_resting = True
            self.begun += 1
            self.changes += 1
            self._resting[health] = None

    def succeed(self, health: Health, *, trial: bool) -> None:
        """Count a success; to be called only where `failures` is not 0."""
        if health.is_resting and not trial:
            return
        health.failures = health.rests = 0
        if health.is_resting:
            self._end_rest(health)
            if self._on_change is not None:
                self._on_change(health, 0.0)

    def forget(self, health: Health) -> None:
        """Let go of an endpoint that is not used any more."""
        health.is_gone = True
        if health.is_resting:
            self._end_rest(health)

    def end_all(self) -> None:
        """Let all endpoints serve again, as if they had not failed."""
        for health in self:
            health.failures = health.rests = 0
            self._end_rest(health)
            if self._on_change is not None:
                self._on_change(health, 0.0)

    def _end_rest(self, health: Health) -> None:
        health.is_resting = False
        del self._resting[health]
        self.changes += 1
        self.epoch += 1

    def _rest_s(self, health: Health) -> float:
        # Beyond 2**30 a float of seconds is for ever, and the power would grow without bound.
        return min(self.policy.min_s * 2.0 ** min(health.rests, 30), self.policy.max_s)

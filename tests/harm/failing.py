"""Scenario `failing`: of three endpoints one is killed and one hangs, under load; both come back.

The load is steady from before the faults until the last endpoint has its share again. Three times are told apart: before
the faults; from the moment on at which golb lets the bad ones rest until they come back; and what is in between, in
which a POST to the one that hangs must fail, since it was delivered and cannot be sent again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from attrs import evolve, frozen

from harm.arena import open_arena
from harm.calls import (
    Call,
    begun_within,
    calm_from,
    delivered_twice,
    failures,
    first_answer_of,
    has_shares,
    p99_s,
)
from harm.traffic import LATE_S, Load, reasons
from harm.verdicts import Verdict, share_text
from harm.vitals import telling_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from demo.etcd import EtcdProcess
    from harm.arena import Arena

P99_FACTOR = 1.5
RETURN_S = 35.0
_LOOK_EVERY_S = 0.25


@frozen(kw_only=True)
class Options:
    """What is done; the defaults are the issue's."""

    weights: tuple[float, ...] = (1, 1, 1)
    """The last but one is killed, the last one is stopped."""
    seconds: float = 30.0
    """From the first call until the endpoints come back; the faults come after a third of it."""
    rate_rps: float = 200.0
    response_timeout_s: float = 1.0
    """golb's eb_go_lb_response_timeout: by it golb finds out that an endpoint hangs."""
    share_window_s: float = 3.0
    noise_s: float = 0.0
    """By how much more than the factor p99 may grow: what a machine that does other work adds by itself."""
    late_s: float = LATE_S
    """By how much a call may begin too late."""
    pinned: bool = True
    """Whether golb has a core to itself."""

    def scaled(self, scale: float) -> Options:
        """Return the same with other times."""
        return evolve(self, seconds=self.seconds * scale, share_window_s=max(1.0, self.share_window_s * scale))


@frozen(kw_only=True)
class Seen:
    """A run, as it was seen from outside. Moments are seconds of the monotonic clock."""

    calls: Sequence[Call]
    delivered: Sequence[tuple[int, str]]
    """Id and method of each call that an endpoint got."""
    began: float
    struck: float
    returned: float
    back: float | None
    """When a window began in which all had their shares again; None if none did."""


async def run_failing(
    etcd: EtcdProcess, options: Options, say: Callable[[str], None], variables: Mapping[str, str]
) -> list[Verdict]:
    """Run it, and judge what was seen."""
    settings = {"response_timeout": f"{options.response_timeout_s:g}", **variables}
    async with open_arena(etcd, options.weights, settings, pinned=options.pinned) as arena:
        load = Load(arena.golb.port, options.rate_rps)
        with telling_turns(arena.golb, say):
            async with trio.open_nursery() as nursery:
                await nursery.start(load.run)
                seen = await _strike(arena, load, options, say)
                load.stop()
        # Whoever was stopped has to have read what was sent to it: by then it has answered newer calls.
        seen = evolve(seen, calls=sorted(load.calls, key=lambda call: call.began), delivered=arena.deliveries())
        for endpoint in arena.endpoints[-2:]:
            first = first_answer_of(seen.calls, endpoint.authority, seen.returned)
            when = "not again" if first is None else f"{first - seen.returned:.1f} s after it was back"
            say(f"first answer of {endpoint.authority}: {when}")
    for line in reasons(failures(seen.calls, "GET")):
        say(line)
    return [load.verdict(options.late_s), *judge(seen, options)]


async def _strike(arena: Arena, load: Load, options: Options, say: Callable[[str], None]) -> Seen:
    *_, killed, stopped = arena.endpoints
    weights = dict(zip((item.authority for item in arena.endpoints), options.weights, strict=True))
    began = time.monotonic()
    await trio.sleep(options.seconds / 3)
    struck = time.monotonic()
    killed.kill()
    stopped.pause()
    say(f"kill -9 of {killed.authority}, SIGSTOP of {stopped.authority}")
    await trio.sleep(options.seconds * 2 / 3)
    stopped.resume()
    await killed.start()
    returned = time.monotonic()
    say("both are there again")
    back = await _wait_for_shares(load, returned, weights, options.share_window_s)
    return Seen(calls=(), delivered=(), began=began, struck=struck, returned=returned, back=back)


async def _wait_for_shares(load: Load, since: float, weights: Mapping[str, float], window_s: float) -> float | None:
    while (now := time.monotonic()) < since + RETURN_S + window_s:
        if now >= since + window_s and has_shares(begun_within(load.calls, now - window_s, now), weights):
            return now - window_s
        await trio.sleep(_LOOK_EVERY_S)
    return None


def judge(seen: Seen, options: Options) -> list[Verdict]:
    """Say of each promise whether it was kept."""
    return [_no_get_failed(seen), _no_post_delivered_twice(seen), *_latency(seen, options), _shares_back(seen)]


def _no_get_failed(seen: Seen) -> Verdict:
    gets = [call for call in seen.calls if call.method == "GET"]
    failed, posts = failures(seen.calls, "GET"), failures(seen.calls, "POST")
    text = f"{share_text(len(failed), len(gets))} failed ({len(posts)} POST did)"
    return Verdict("no GET fails", text, kept=bool(gets) and not failed)


def _no_post_delivered_twice(seen: Seen) -> Verdict:
    posts = [number for number, method in seen.delivered if method == "POST"]
    twice = delivered_twice(posts)
    again = delivered_twice(number for number, method in seen.delivered if method == "GET")
    text = f"{share_text(len(twice), len(posts))} twice ({len(again)} GET were)"
    return Verdict("no POST is delivered twice", text, kept=bool(posts) and not twice)


def _latency(seen: Seen, options: Options) -> list[Verdict]:
    promise = f"p99 once they rest is within {P99_FACTOR:g} times of before"
    calm = calm_from(seen.calls, seen.struck, seen.returned, options.response_timeout_s / 2)
    if calm is None:
        return [Verdict(promise, "the bad ones never rested", kept=False)]
    before_s = p99_s(begun_within(seen.calls, seen.began, seen.struck))
    after_s = p99_s(begun_within(seen.calls, calm, seen.returned))
    text = f"{before_s * 1e3:.1f} ms before, {after_s * 1e3:.1f} ms after; they rested after {calm - seen.struck:.1f} s"
    return [Verdict(promise, text, kept=after_s <= before_s * P99_FACTOR + options.noise_s)]


def _shares_back(seen: Seen) -> Verdict:
    promise = f"they get their shares again within {RETURN_S:g} s"
    if seen.back is None:
        return Verdict(promise, f"not within {RETURN_S:g} s", kept=False)
    return Verdict(promise, f"after {seen.back - seen.returned:.1f} s", kept=seen.back - seen.returned <= RETURN_S)

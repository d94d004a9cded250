"""The faults: each does to etcd, or to golb's way there, what real life does, for a while; then all is well again."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import frozen
from support.golb_process import GolbProcess

from chaos.arena import PASSWORD, TOKEN_TTL_S, USER, LogTail, running
from chaos.promises import RECOVERY_S, Broken, Reach, Window
from chaos.traffic import PUT_EVERY_S, Caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support.etcd_cluster import Member

    from chaos.arena import Arena

Run: TypeAlias = "Callable[[Arena, Window], Awaitable[None]]"

# golb saves its table every few seconds at most.
_SAVED_WITHIN_S = 10.0
_SERVES_AT_ONCE_S = 1.0
_AWAY_AT_START_S = 3.0


@frozen
class Fault:
    """One kind of fault."""

    name: str
    reach: Reach
    run: Run
    """Does it and ends it; sets the moments of the window, all but `began`."""


FAULTS: dict[str, Fault] = {}
"""All of them, by name."""


def _fault(name: str, reach: Reach) -> Callable[[Run], Run]:
    def add(run: Run) -> Run:
        FAULTS[name] = Fault(name, reach, run)
        return run

    return add


# Members that die


@_fault("kill -9 of a member", Reach.SOME)
async def _kill_member(arena: Arena, window: Window) -> None:
    await _kill(arena, window, arena.some_member())


@_fault("kill -9 of the leader", Reach.SOME)
async def _kill_leader(arena: Arena, window: Window) -> None:
    await _kill(arena, window, await arena.cluster.leader())


@_fault("loss of quorum", Reach.NONE)
async def _lose_quorum(arena: Arena, window: Window) -> None:
    await _kill(arena, window, *arena.chosen.sample(arena.members, 2))


@_fault("kill -9 of all members", Reach.NONE)
async def _kill_all(arena: Arena, window: Window) -> None:
    await _kill(arena, window, *arena.members)


async def _kill(arena: Arena, window: Window, *members: Member) -> None:
    _say(arena, "kill -9 of", members)
    await arena.kill(*members)
    await _in_force(window, arena.chosen.uniform(1.0, 3.0) if window.reach is Reach.SOME else arena.outage_s())
    await arena.start(*members)
    window.well = time.time()


@_fault("wiped member", Reach.SOME)
async def _wipe(arena: Arena, window: Window) -> None:
    member = arena.some_member()
    _say(arena, "disk lost of", [member])
    await arena.kill(member)
    await _in_force(window, arena.chosen.uniform(0.2, 1.5))
    await arena.cluster.wipe(member)
    arena.heal(member)
    await arena.cluster.wait_until_healthy(member)
    window.well = time.time()


@_fault("snapshot restored", Reach.NONE)
async def _restore(arena: Arena, window: Window) -> None:
    # Without a put afterwards: nothing but a list tells golb what is true now.
    await _restore_snapshot(arena, window, as_new_cluster=arena.chosen.random() < 0.5, is_cut_off=False)
    window.ending = window.well = time.time()


@_fault("snapshot restored while cut off", Reach.NONE)
async def _restore_while_away(arena: Arena, window: Window) -> None:
    # When golb is back, the revision has gone beyond the one it knows. If the cluster's id were the same too, nothing
    # would tell that the store is not what it was.
    beyond = await _restore_snapshot(arena, window, as_new_cluster=True, is_cut_off=True)
    while (await arena.writer.read()).revision <= beyond:
        await arena.writer.put_once()
    window.ending = time.time()
    arena.heal()
    window.well = time.time()


async def _restore_snapshot(arena: Arena, window: Window, *, as_new_cluster: bool, is_cut_off: bool) -> int:
    """Go back to before golb has learnt of a function; return the revision before that.

    The writer is held from then on.
    """
    snapshot = arena.folder / f"snapshot-{len(arena.writer.puts)}"
    await arena.writer.hold()
    await arena.cluster.snapshot(snapshot)
    await arena.writer.put_once()
    await arena.writer.put_lost()
    now = time.time()
    await arena.wait_for_truth(Window("a put while all is well", Reach.ALL, now, well=now))
    before = await arena.writer.read()
    window.began = time.time()
    if is_cut_off:
        for relay in arena.relays.values():
            relay.refuse()
    window.went_back = True
    await arena.cluster.restore(snapshot, as_new_cluster=as_new_cluster)
    window.in_force = time.time()
    await arena.cluster.wait_until_healthy()
    truth = await arena.writer.read()
    # golb may have listed the restored store long before this process has.
    arena.writer.note_lost(truth.number, window.began)
    whose = "of another cluster" if as_new_cluster else "of the same cluster"
    arena.say(f"  a snapshot restored: revision {before.revision} to {truth.revision}, {whose}")
    return before.revision


# Members that hang


@_fault("SIGSTOP of a member", Reach.SOME)
async def _pause_member(arena: Arena, window: Window) -> None:
    await _pause(arena, window, arena.some_member())


@_fault("SIGSTOP of the leader", Reach.SOME)
async def _pause_leader(arena: Arena, window: Window) -> None:
    await _pause(arena, window, await arena.cluster.leader())


@_fault("SIGSTOP of all members", Reach.NONE)
async def _pause_all(arena: Arena, window: Window) -> None:
    await _pause(arena, window, *arena.members)


async def _pause(arena: Arena, window: Window, *members: Member) -> None:
    _say(arena, "SIGSTOP of", members)
    await arena.pause(*members)
    await _in_force(window, arena.failover_s() if window.reach is Reach.SOME else arena.outage_s())
    await arena.resume(*members)
    window.well = time.time()


# The way to the members


@_fault("partition from a member", Reach.SOME)
async def _refuse_one(arena: Arena, window: Window) -> None:
    member = arena.some_member()
    _say(arena, "refused by", [member])
    arena.relays[member].refuse()
    await _heal_after(arena, window, arena.chosen.uniform(1.0, 3.0))


@_fault("partition from all members", Reach.NONE)
async def _refuse_all(arena: Arena, window: Window) -> None:
    for relay in arena.relays.values():
        relay.refuse()
    await _heal_after(arena, window, arena.outage_s())


@_fault("half-open to a member", Reach.SOME)
async def _half_open_one(arena: Arena, window: Window) -> None:
    member = arena.some_member()
    _say(arena, "half-open to", [member])
    arena.relays[member].stop_reading()
    await _heal_after(arena, window, arena.failover_s())


@_fault("half-open to all members", Reach.NONE)
async def _half_open_all(arena: Arena, window: Window) -> None:
    for relay in arena.relays.values():
        relay.stop_reading()
    await _heal_after(arena, window, arena.outage_s())


@_fault("connections forgotten", Reach.SOME)
async def _forget(arena: Arena, window: Window) -> None:
    for relay in arena.relays.values():
        relay.forget()
    await _heal_after(arena, window, arena.failover_s())


@_fault("connections cut", Reach.ALL)
async def _cut(arena: Arena, window: Window) -> None:
    for relay in arena.relays.values():
        relay.cut()
    await _heal_after(arena, window, 0.0)


@_fault("slow network", Reach.ALL)
async def _delay(arena: Arena, window: Window) -> None:
    delay_s = arena.chosen.uniform(0.05, 0.15)
    arena.say(f"  {1000 * delay_s:.0f} ms later in each direction")
    for relay in arena.relays.values():
        relay.delay(delay_s)
    await _heal_after(arena, window, 2.5)


@_fault("partition between members", Reach.SOME)
async def _cut_member_off(arena: Arena, window: Window) -> None:
    member = arena.some_member()
    _say(arena, "cut off from the others:", [member])
    await arena.cut_off(member)
    await _in_force(window, arena.failover_s())
    await arena.rejoin(member)
    window.well = time.time()


async def _heal_after(arena: Arena, window: Window, seconds: float) -> None:
    await _in_force(window, seconds)
    arena.heal()
    window.well = time.time()


# The store


@_fault("compaction", Reach.ALL)
async def _compact(arena: Arena, window: Window) -> None:
    await arena.cluster.compact((await arena.writer.read()).revision)
    await _in_force(window, 0.5)
    window.well = time.time()


@_fault("compaction while cut off", Reach.NONE)
async def _compact_while_away(arena: Arena, window: Window) -> None:
    for relay in arena.relays.values():
        relay.refuse()
    window.in_force = time.time()
    # What golb would ask for next is gone when it comes back.
    await arena.wait_for_puts(2)
    await arena.cluster.compact((await arena.writer.read()).revision)
    await arena.wait_for_puts(1)
    window.ending = time.time()
    arena.heal()
    window.well = time.time()


@_fault("defragmentation", Reach.ALL)
async def _defragment(arena: Arena, window: Window) -> None:
    window.in_force = window.ending = time.time()
    for member in arena.members:
        await arena.cluster.defragment(member)
    window.well = time.time()


# Authentication


@_fault("tokens expired", Reach.NONE)
async def _expire_tokens(arena: Arena, window: Window) -> None:
    for relay in arena.relays.values():
        relay.refuse()
    await _heal_after(arena, window, TOKEN_TTL_S + 1.0)


@_fault("tokens revoked", Reach.ALL)
async def _revoke_tokens(arena: Arena, window: Window) -> None:
    await arena.cluster.change_password(USER, PASSWORD)
    for relay in arena.relays.values():
        relay.cut()  # a watch is asked for its token when it is opened only
    await _in_force(window, 0.5)
    window.well = time.time()


@_fault("auth revision changed", Reach.ALL)
async def _change_auth_revision(arena: Arena, window: Window) -> None:
    if arena.chosen.random() < 0.5:
        name = f"user-{len(arena.writer.puts)}"
        arena.say(f"  {name} is added")
        await arena.cluster.add_user(name, PASSWORD, f"{name}/")
    else:
        arena.say("  authentication is switched off and on")
        await arena.cluster.switch_auth(on=False)
        await arena.cluster.switch_auth(on=True)
    arena.relays[arena.some_member()].cut()
    await _in_force(window, 0.5)
    window.well = time.time()


# golb itself


@_fault("golb restarted while etcd is away", Reach.NONE)
async def _restart_golb(arena: Arena, window: Window) -> None:
    state_dir = arena.folder / f"state-{len(arena.writer.puts)}"
    state_dir.mkdir()
    variables = arena.variables | {"state_dir": str(state_dir), "node_name": "eb-b-controller"}
    is_killed = arena.chosen.random() < 0.5
    async with running(GolbProcess(**variables)) as before:
        await arena.wait_for_puts(1)
        if is_killed:
            await _wait_for_saved_table(arena, state_dir)
        window.began = time.time()
        await arena.kill(*arena.members)
        window.in_force = time.time()
        newest = arena.writer.newest_acknowledged()
        arena.say(f"  etcd is away, another golb ends by {'SIGKILL' if is_killed else 'SIGTERM'} and starts again")
        await trio.to_thread.run_sync(before.stop, signal.SIGKILL if is_killed else signal.SIGTERM)
    async with running(GolbProcess(**variables)) as after:
        await _look_at_saved_table(arena, after, newest, _SAVED_WITHIN_S if is_killed else PUT_EVERY_S)
        await trio.sleep(_AWAY_AT_START_S)
        window.ending = time.time()
        await arena.start(*arena.members)
        window.well = time.time()
        arena.golbs.append(after)
        await arena.wait_for_truth(window)
        arena.golbs.remove(after)
        await trio.to_thread.run_sync(after.stop)


async def _wait_for_saved_table(arena: Arena, state_dir: Path) -> None:
    with trio.move_on_after(_SAVED_WITHIN_S) as scope:
        while all(name.endswith(".tmp") for name in await trio.to_thread.run_sync(os.listdir, state_dir)):  # noqa: ASYNC110 - golb tells nobody that it has saved
            await trio.sleep(0.05)
    if scope.cancelled_caught:
        arena.broken.append(Broken(time.time(), "the table is saved within seconds", f"{state_dir} is empty"))


async def _look_at_saved_table(arena: Arena, golb: GolbProcess, newest: int, may_lack_s: float) -> None:
    caller = Caller(golb.port, arena.broken)
    began = time.time()
    response = await caller.call("marker")
    await caller.aclose()
    if response is None:
        return
    if time.time() - began > _SERVES_AT_ONCE_S:
        arena.broken.append(Broken(began, "a golb with a saved table serves at once", "its first answer was late"))
    # It may have learnt of a put whose answer was lost, and that has a larger number.
    number = arena.writer.number_of(response.values("X-Final-Host")[-1])
    if number < newest - may_lack_s / PUT_EVERY_S:
        evidence = f"it serves put {number}, and put {newest} was in force"
        arena.broken.append(Broken(began, "a golb with a saved table serves what it served last", evidence))
    found = [line for line in LogTail(golb).read() if line.event == "weights from disk"]
    if not found or not 0 <= float(found[0].fields["age_s"]) <= _SAVED_WITHIN_S + RECOVERY_S:
        evidence = found[0].text if found else "nothing said"
        arena.broken.append(Broken(began, "weights from disk are said to be, with their age", evidence))


def _say(arena: Arena, what: str, members: tuple[Member, ...] | list[Member]) -> None:
    watched = arena.watched()
    names = (f"{member.name}{' (watched)' if member is watched else ''}" for member in members)
    arena.say(f"  {what} {', '.join(names)}")


async def _in_force(window: Window, seconds: float) -> None:
    """Note that the fault is complete, let it last, and note that its end begins."""
    window.in_force = time.time()
    await trio.sleep(seconds)
    window.ending = time.time()

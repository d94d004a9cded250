"""golb as a container's first process: another one takes its place, and the container goes on, or ends, with that one."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.successions import EXIT_TIMEOUT_S, around, told, wait_until, was_told
from handlers.around import get
from support.wire import connect

if TYPE_CHECKING:
    from support.container import Container

# A golb has several times as much.
BARE_KIB = 16 * 1024


def is_bare(pid: int) -> bool:
    """Tell whether a process is no golb any more, but waits for one."""
    return b"first_process.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def resident_kib(pid: int) -> int:
    (found,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found)


def descriptors_of(pid: int) -> set[str]:
    return {path.name for path in Path(f"/proc/{pid}/fd").iterdir()}


def has_only_successor(golb: Container) -> bool:
    """Tell whether the golb that has taken over last is the first process's only child."""
    return list(map(id_inside, golb.others())) == [told(golb, "successor serves")[-1]["pid"]]


def id_inside(pid: int) -> int:
    """Return a process's id inside; 0 if it has ended."""
    try:
        (found,) = re.findall(r"^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found)


async def test_it_is_replaced_again_and_again_and_what_is_left_of_it_passes_signals_on(tmp_path: Path) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.container(env_file=str(variables)) as golb:
            first = golb.first
            async with here.clients_call():
                for times, workers in enumerate((2, 1), 1):
                    variables.write_text(f"eb_go_lb_workers={workers}")
                    os.kill(first, signal.SIGUSR2)
                    await wait_until(partial(was_told, golb, "successor serves", times))
                    await wait_until(lambda: is_bare(first))
                    await here.clients_are_answered()
                # The second one has ended and was reaped; the third one is its child now.
                await wait_until(lambda: has_only_successor(golb))
                assert descriptors_of(first) == {"0", "1", "2"}
                assert resident_kib(first) < BARE_KIB
                variables.write_text("eb_go_lb_workers=1\neb_go_lb_queue=5")
                os.kill(first, signal.SIGHUP)
                await wait_until(partial(was_told, golb, "reloaded"))
                await here.clients_are_answered()
            assert golb.stop() == 0
            assert was_told(golb, "stopped", 3)


async def test_it_and_what_is_left_of_it_reap_orphans_and_the_container_ends_as_the_successor_does(
    tmp_path: Path,
) -> None:
    async with around(tmp_path) as here:
        with here.container() as golb:
            await end_orphan(golb)
            os.kill(golb.first, signal.SIGUSR2)
            await wait_until(lambda: is_bare(golb.first))
            await end_orphan(golb)
            (successor,) = golb.others()
            os.kill(successor, signal.SIGKILL)
            assert golb.process is not None
            assert golb.process.wait(EXIT_TIMEOUT_S) == 128 + signal.SIGKILL


async def end_orphan(golb: Container) -> None:
    """Have a process that has lost its parent end, and wait until it was reaped."""
    before = golb.others()
    golb.run("sleep 1000 >/dev/null 2>&1 &")
    (orphan,) = set(golb.others()) - set(before)
    os.kill(orphan, signal.SIGKILL)
    await wait_until(lambda: golb.others() == before)


async def test_the_successor_is_told_to_stop_while_the_first_process_still_drains(tmp_path: Path) -> None:
    async with around(tmp_path) as here:
        here.endpoint.does = "hang"
        with here.container() as golb:
            slow = await connect(here.port)
            await slow.send(get("f"))
            await here.endpoint.called(1)
            os.kill(golb.first, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "successor serves"))
            os.kill(golb.first, signal.SIGTERM)
            await wait_until(partial(was_told, golb, "stopped"))  # the successor, which has no calls
            here.endpoint.released.set()
            assert (await slow.read_response()).head.status == 200
            await slow.close()
            assert golb.process is not None
            assert golb.process.wait(EXIT_TIMEOUT_S) == 0
            assert was_told(golb, "stopped", 2)


async def test_taken_over_by_another_container_it_waits_for_its_end_and_takes_nothing_back(tmp_path: Path) -> None:
    async with around(tmp_path) as here:
        with ExitStack() as stack:
            old = stack.enter_context(here.container(takeover="on"))
            # Its own successor ends with 0 too, when the golb of another container takes over from that.
            os.kill(old.first, signal.SIGUSR2)
            await wait_until(lambda: is_bare(old.first))
            async with here.clients_call():
                await wait_until(here.is_offered)
                new = stack.enter_context(here.container(takeover="on"))
                await wait_until(lambda: old.others() == [])
                await here.clients_are_answered()
                assert old.process is not None
                assert old.process.poll() is None
                assert old.stop() == 0
                await here.clients_are_answered()
            assert new.stop() == 0

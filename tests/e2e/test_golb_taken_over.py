"""golb as a process whose place another one takes, while clients go on calling: not one of their calls may fail."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from e2e.successions import EXIT_TIMEOUT_S, around, told, wait_until, was_told
from handlers.around import get
from support.wire import connect

if TYPE_CHECKING:
    from pathlib import Path


async def test_sigusr2_starts_a_golb_that_takes_over_with_as_many_workers_as_it_shall_have(tmp_path: Path) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.golb(env_file=str(variables)) as golb:
            serving = golb.pid
            async with here.clients_call():
                for times, workers in enumerate((2, 1), 1):
                    variables.write_text(f"eb_go_lb_workers={workers}")
                    os.kill(serving, signal.SIGUSR2)
                    await wait_until(partial(was_told, golb, "successor serves", times))
                    serving = told(golb, "successor serves")[-1]["pid"]
                    await wait_until(partial(here.are_left, workers + (workers > 1)))
                    assert await here.told_workers() == list(here.family.workers(serving).values())
                    await here.clients_are_answered()
                assert golb.process is not None
                assert golb.process.wait(EXIT_TIMEOUT_S) == 0

                variables.write_text("eb_go_lb_queue=many")
                os.kill(serving, signal.SIGUSR2)
                await wait_until(partial(was_told, golb, "successor failed"))
                assert told(golb, "successor failed")[0]["exit"] == 2
                assert "eb_go_lb_queue is 'many'" in golb.log_path.read_text()
                await here.clients_are_answered()
                assert here.family.pids() == [serving]
            os.kill(serving, signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))


async def test_who_is_told_to_stop_ends_its_successor_too_and_lets_calls_finish(tmp_path: Path) -> None:
    async with around(tmp_path) as here:
        with here.golb() as golb:
            os.kill(golb.pid, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "successor started"))
            os.kill(golb.pid, signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))
            assert was_told(golb, "serving")  # once: the first one
        here.endpoint.does = "hang"
        with here.golb() as golb:
            slow = await connect(here.port)
            await slow.send(get("f"))
            await here.endpoint.called(1)
            os.kill(golb.pid, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "successor serves"))
            os.kill(golb.pid, signal.SIGTERM)  # as a pod's end is told, though it drains already
            await wait_until(lambda: len(told(golb, "stopping")) == 2)
            here.endpoint.released.set()
            assert (await slow.read_response()).head.status == 200
            await slow.close()
            os.kill(told(golb, "successor serves")[0]["pid"], signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))


async def test_a_successor_that_is_told_to_stop_before_it_is_ready_leaves_the_service_to_the_old_one(
    tmp_path: Path,
) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.golb(env_file=str(variables)) as golb:
            for times, workers in enumerate((1, 2), 1):
                missing = tmp_path / f"later-{workers}.json"
                variables.write_text(f"eb_go_lb_workers={workers}\neb_go_lb_weights_file={missing}")
                os.kill(golb.pid, signal.SIGUSR2)
                await wait_until(partial(was_told, golb, "weights file not taken", times))
                successor = told(golb, "successor started")[-1]["pid"]
                os.kill(successor, signal.SIGUSR2)
                await wait_until(partial(was_told, golb, "no successor started, golb does not serve yet", times))
                os.kill(successor, signal.SIGTERM)
                await wait_until(partial(was_told, golb, "successor failed", times))
                assert here.family.pids() == [golb.pid]
            missing.write_text((tmp_path / "weights.json").read_text())
            async with here.clients_call():
                await here.clients_are_answered()
            assert not told(golb, "is gone, though it was ready")
            assert golb.stop() == 0


async def test_a_successor_without_a_table_serves_all_the_same_if_the_old_one_dies(tmp_path: Path) -> None:
    variables = tmp_path / "golb.env"
    variables.write_text("")
    async with around(tmp_path) as here:
        with here.golb(env_file=str(variables)) as golb:
            variables.write_text(f"eb_go_lb_weights_file={tmp_path / 'missing.json'}")
            os.kill(golb.pid, signal.SIGUSR2)
            await wait_until(partial(was_told, golb, "weights file not taken"))
            os.kill(golb.pid, signal.SIGKILL)
            await wait_until(partial(was_told, golb, "the golb to take over from is gone"))
            async with await connect(here.port) as client:
                await client.send(get("f"))
                assert (await client.read_response()).status == 503
            os.kill(told(golb, "successor started")[0]["pid"], signal.SIGTERM)
            await wait_until(partial(here.are_left, 0))


async def test_a_new_golb_takes_over_from_the_one_that_it_finds(tmp_path: Path) -> None:
    async with around(tmp_path) as here:
        with ExitStack() as stack:
            old = stack.enter_context(here.golb(takeover="on"))
            async with here.clients_call():
                for workers in (2, 1):
                    await wait_until(here.is_offered)
                    new = stack.enter_context(here.golb(takeover="on", workers=str(workers)))
                    await wait_until(partial(here.are_left, workers + (workers > 1)))
                    assert old.process is not None
                    assert old.process.wait(EXIT_TIMEOUT_S) == 0
                    assert await here.told_workers() == list(here.family.workers(new.pid).values())
                    await here.clients_are_answered()
                    old = new
            assert old.stop() == 0

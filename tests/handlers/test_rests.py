"""Endpoints that rest under a running golb: what lets them, who tries them again, and what they come back to."""

from __future__ import annotations

import trio
from handlers.around import HEAVY, Around, Endpoint, around_golb, final_host, get, post
from support.wire import connect

# An endpoint that hangs is found out fast. golb looks at its clocks every 0.05 s.
IMPATIENT = {"response_timeout": "0.1"}


async def rest_after_failures(around: Around, failing: Endpoint) -> None:
    """Fail five times, by what costs an endpoint nothing but that."""
    failing.does = "reset"
    for _ in range(5):
        assert (await around.call(post())).status == 502


async def test_five_failures_in_a_row_rest_an_endpoint() -> None:
    async with around_golb(2) as around:
        failing, good = around.endpoints
        around.put({failing: HEAVY, good: 1})
        await rest_after_failures(around, failing)
        assert around.destination(failing).health.is_resting
        assert final_host(await around.call(post())) == good.authority
        assert len(failing.requests) == 5


async def test_an_answer_between_failures_begins_the_count_anew() -> None:
    async with around_golb(2) as around:
        failing, good = around.endpoints
        around.put({failing: HEAVY, good: 1})
        for _ in range(3):
            failing.does = "reset"
            for _ in range(4):
                await around.call(post())
            failing.does = "answer"
            assert (await around.call(post())).status == 200
        assert not around.destination(failing).health.is_resting


async def test_after_its_rest_one_request_tries_an_endpoint_and_a_success_brings_back_its_share() -> None:
    async with around_golb(3, 1) as around:
        back, *others = around.endpoints
        await around.call()
        around.put(dict.fromkeys(around.endpoints, 1))
        await around.let_serve(back)
        back.does = "hang"
        around.let_rest_be_over(back)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(around.call)
            await back.called(1)
            for other in others:
                await other.called(4)
            assert len(back.requests) == 1
            back.does = "answer"
            back.released.set()
        assert not around.destination(back).health.is_resting
        for _ in range(30):
            assert (await around.call()).status == 200
        assert len(back.requests) in (10, 11, 12)


async def test_a_trial_that_fails_is_sent_elsewhere_and_lengthens_the_rest() -> None:
    async with around_golb(2, 1, rest_min="10", rest_max="30") as around:
        down, good = around.endpoints
        await around.call(post())
        health = around.destination(down).health
        around.put({down: 1, good: 1})
        around.let_rest_be_over(down)
        assert final_host(await around.call()) == good.authority
        assert health.rests == 2
        assert 15 <= health.due_s - around.golb.upstream.now_s <= 20


async def test_a_trial_whose_client_goes_away_leaves_nothing_behind_and_is_followed_by_another_one() -> None:
    async with around_golb(2, 1) as around:
        back, good = around.endpoints
        await around.call()
        around.put({back: 1, good: 1})
        back.does = "hang"
        await around.let_serve(back)
        around.let_rest_be_over(back)
        async with await connect(around.golb.port) as client:
            await client.send(get())
            await back.called(1)
        await around.quiet()
        assert around.destination(back).health.is_resting
        back.does = "answer"
        around.let_rest_be_over(back)
        assert final_host(await around.call()) == back.authority
        assert not around.destination(back).health.is_resting


async def test_where_all_rest_all_are_asked_and_the_first_that_is_back_serves() -> None:
    async with around_golb(3, 3) as around:
        for _ in range(3):
            assert (await around.call()).status == 502
        await around.let_serve(around.endpoints[1])
        for _ in range(5):
            response = await around.call(post())
            assert (response.status, final_host(response)) == (200, around.endpoints[1].authority)


async def test_where_more_than_half_rest_one_that_is_back_is_found_before_its_time() -> None:
    async with around_golb(3, 2, rest_min="100ms") as around:
        around.put(dict.fromkeys(around.endpoints, 1))
        while len(around.golb.upstream.resting) < 2:
            assert (await around.call()).status == 200
        back = around.endpoints[0]
        await around.let_serve(back)
        while around.destination(back).health.is_resting:
            assert (await around.call()).status == 200
        assert len(around.golb.upstream.resting) == 1


async def test_new_weights_leave_a_rest_as_it_is_and_an_endpoint_that_comes_back_begins_anew() -> None:
    async with around_golb(3, 1) as around:
        down, good, other = around.endpoints
        await around.call()
        around.put({down: 5, good: 1, other: 7})
        assert around.destination(down).health.is_resting
        around.put({good: 1, other: 1})
        assert len(around.golb.upstream.resting) == 0
        around.put({down: HEAVY, good: 1, other: 1})
        assert not around.destination(down).health.is_resting
        await around.let_serve(down)
        assert final_host(await around.call(post())) == down.authority


async def test_an_endpoint_that_leaves_and_comes_back_while_it_is_tried_is_not_harmed_by_its_past() -> None:
    async with around_golb(2, 1, **IMPATIENT) as around:
        back, good = around.endpoints
        await around.call()
        around.put({back: 1, good: 1})
        back.does = "hang"
        await around.let_serve(back)
        around.let_rest_be_over(back)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(around.call)  # it is late at `back`, and goes to `good` then
            await back.called(1)
            around.put({good: 1})
            around.put({back: 1, good: HEAVY})
        health = around.destination(back).health
        assert (health.failures, health.trials, health.is_resting) == (0, 0, False)
        assert len(good.requests) == 2


async def test_weights_that_change_while_a_request_is_on_its_way_elsewhere_do_not_lose_it() -> None:
    async with around_golb(3, **IMPATIENT) as around:
        silent, old, new = around.endpoints
        silent.does = "hang"
        around.put({silent: HEAVY, old: 1})
        async with trio.open_nursery() as nursery:
            responses = []

            async def call() -> None:
                responses.append(await around.call())

            nursery.start_soon(call)
            await silent.called(1)
            around.put({new: 1})
        assert [final_host(response) for response in responses] == [new.authority]


async def test_a_function_that_is_deleted_while_its_request_is_on_its_way_elsewhere_still_answers_it() -> None:
    async with around_golb(2, **IMPATIENT) as around:
        silent, old = around.endpoints
        silent.does = "hang"
        around.put({silent: HEAVY, old: 1})
        async with trio.open_nursery() as nursery:
            responses = []

            async def call() -> None:
                responses.append(await around.call())

            nursery.start_soon(call)
            await silent.called(1)
            around.delete()
        assert [final_host(response) for response in responses] == [old.authority]

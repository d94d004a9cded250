"""What clients send, case by case, through a real golb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smuggling.case import fill_in
from smuggling.corpus import REQUESTS, params
from smuggling.rig import expect_close, probe, read_body, read_head

if TYPE_CHECKING:
    from support.wire import Wire

    from smuggling.case import RequestCase
    from smuggling.rig import Rig


@pytest.mark.parametrize("case", params(REQUESTS))
async def test_a_request_is_refused_or_arrives_as_its_case_says(case: RequestCase, rig: Rig) -> None:
    arrivals = list(case.arrivals)
    async with rig.endpoint() as endpoint:
        async with await rig.connect() as client:
            await client.send(fill_in(case.data, case.name))
            if case.then:
                await endpoint.head_arrived.wait()
                await client.send(fill_in(case.then, case.name))
            if case.ends:
                await client.send_eof()
            await check_answers(client, case)
            if case.closes:
                await expect_close(client, may_break=case.ends)
            else:
                arrivals.append(await probe(client))
        async with await rig.connect() as client:
            arrivals.append(await probe(client))
    rig.check(endpoint.arrivals(), arrivals, case.name)


async def check_answers(client: Wire, case: RequestCase) -> None:
    """Read the answers: as many, of these statuses, the last one saying whether the connection ends."""
    methods = [arrival.line.split(b" ")[0] for arrival in case.arrivals]
    methods += [b"GET"] * (len(case.statuses) - len(methods))
    if case.is_told_to_continue:
        assert (await client.read_head()).status == 100
    heads = []
    for method in methods[: len(case.statuses)]:
        _, head = await read_head(client)
        await read_body(client, head, method)
        heads.append(head)
    assert tuple(head.status for head in heads) == case.statuses
    closing = [head.values(b"Connection") == [b"close"] for head in heads]
    assert closing == [case.closes and head is heads[-1] for head in heads]

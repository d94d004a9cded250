"""What endpoints answer, case by case, through a real golb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from smuggling.arrived import MARK, NODE
from smuggling.case import fill_in
from smuggling.corpus import ANSWERS, params
from smuggling.rig import GOLB_NAMES, expect_close, probe, read_body, read_head

if TYPE_CHECKING:
    from support.wire import Head, Wire

    from smuggling.case import AnswerCase
    from smuggling.rig import Rig

_FRAMING = {b"Content-Length", b"Transfer-Encoding", b"Connection"}


@pytest.mark.parametrize("case", params(ANSWERS))
async def test_an_answer_is_refused_or_passed_on_as_its_case_says(case: AnswerCase, rig: Rig) -> None:
    probes = []
    method = case.request.split(b" ")[0]
    async with rig.endpoint(case) as endpoint:
        async with await rig.connect() as client:
            await client.send(fill_in(case.request, case.name))
            interim, head = await read_head(client)
            assert interim == case.interim
            check_head(head, case, rig)
            if case.rest:
                await endpoint.send(fill_in(case.rest, case.name), ends=case.ends)
            await check_body(client, head, method, case)
            if case.request_rest:
                await client.send(fill_in(case.request_rest, case.name))
            if case.later:
                await endpoint.send(fill_in(case.later, case.name), ends=False)
            if case.closes:
                await expect_close(client)
            elif not case.breaks:
                probes.append(await probe(client))
        async with await rig.connect() as client:
            probes.append(await probe(client))
    asked, *others = endpoint.arrivals()
    assert asked.line.startswith(method + fill_in(b" /c0ffee00", case.name))
    rig.check(others, probes, case.name)
    assert len(endpoint.connections) == (1 if case.kept else 2)


def check_head(head: Head, case: AnswerCase, rig: Rig) -> None:
    """Compare the head with what its case says, and with what holds for each answer to a function call."""
    assert head.status == case.status
    connection = [b"Upgrade"] if case.status in (101, 426) else [b"close"] if case.closes else []
    assert head.values(b"Connection") == connection
    own = {name: head.values(name)[:1] for name in GOLB_NAMES}
    assert own[b"X-Final-Host"] == [rig.authority]
    assert own[b"X-Forwarded-For"] == [NODE]
    assert len(head.values(MARK)) == 1
    lines = list(head.headers)
    for name, values in own.items():
        lines.remove((name, values[0]))
    found = sorted(b": ".join(line) for line in lines if line[0] not in _FRAMING)
    expected = [b"Content-Type: text/plain; charset=utf-8"] if case.body is None else case.has
    assert found == sorted(expected)


async def check_body(client: Wire, head: Head, method: bytes, case: AnswerCase) -> None:
    """Read the body and compare it with what its case says."""
    if case.breaks:
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await read_body(client, head, method)
        return
    message = await read_body(client, head, method)
    if case.body is None:
        assert message.body.startswith(b"golb: function f ")
    else:
        assert message.body == fill_in(case.body, case.name)
    assert tuple(b": ".join(line) for line in message.trailers) == case.trailers

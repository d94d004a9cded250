"""One run of a command against etcd, and its end by Ctrl-C."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

from golb.commands.errors import Interrupted
from golb.commands.session import Session

if TYPE_CHECKING:
    from golb.commands.store import Store


def test_ctrl_c_within_a_nursery_is_an_interruption_too() -> None:
    async def connect(_store: Store) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    session = Session.from_environ({"eb_go_lb_zone": "zone-a"})
    with pytest.raises(Interrupted, match=r"may have been made$"):
        session.run(connect)

"""One golb for the whole corpus: a case that harms it fails the cases behind it too."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from support.golb_process import GolbProcess

from smuggling.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A golb of its own process; when all is done, it has to end in order and to have logged no exception."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.setblocking(False)
        weights = tmp_path_factory.mktemp("smuggling") / "weights.json"
        weights.write_text(json.dumps({"f": {"ips": [f"127.0.0.1:{listener.getsockname()[1]}"], "weights": [1]}}))
        with GolbProcess(weight_updater="file", weights_file=str(weights)) as golb:
            yield Rig(golb.port, listener)
            assert golb.stop() == 0
            assert [line for line in golb.log() if "exception" in line] == []

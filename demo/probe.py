"""Whether a golb tells the truth yet: for each function an endpoint of that function answers, and golb names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import trio

from demo.errors import PartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.layout import Endpoint
    from demo.processes import Golb

READY_TIMEOUT_S = 30
RETRY_DELAY_S = 0.05
REQUEST_TIMEOUT_S = 5


async def wait_until_truthful(golb: Golb, endpoints: Sequence[Endpoint]) -> None:
    """Return when golb has answered truthfully for each function.

    Raises:
        PartFailed: it does not within READY_TIMEOUT_S.
    """
    wrong = "nothing was asked yet"
    with trio.move_on_after(READY_TIMEOUT_S) as scope:
        # trust_env=False: no proxy stands between the demo and its own processes.
        async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
            for function in dict.fromkeys(endpoint.function for endpoint in endpoints):
                url = f"http://{golb.address}/function/{function}/"
                while (found := await _ask(client, url, function, endpoints)) is not None:
                    wrong = f"{url}: {found}"
                    await trio.sleep(RETRY_DELAY_S)
    if scope.cancelled_caught:
        raise PartFailed(golb.part, f"no true answer within {READY_TIMEOUT_S} s, the last was: {wrong}", golb.log)


async def _ask(client: httpx.AsyncClient, url: str, function: str, endpoints: Sequence[Endpoint]) -> str | None:
    """Return what is wrong with the answer, or None."""
    try:
        response = await client.get(url)
    except httpx.HTTPError as exc:
        return repr(exc)
    if response.status_code != httpx.codes.OK:
        return f"{response.status_code} {response.text.strip()}"
    final_hosts = response.headers.get_list("X-Final-Host")
    said = response.text.partition(" ")[0]
    asked = [endpoint for endpoint in endpoints if endpoint.function == function and endpoint.name == said]
    if [endpoint.address for endpoint in asked] != final_hosts[-1:]:
        return f"{said!r} answered, and X-Final-Host names {final_hosts}"
    return None

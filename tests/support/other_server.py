"""An ASGI server that is not golb's own: it hands over the parts of a request alone, and as ASGI has them, not as golb does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from golb.asgi import Application, Event


async def ask(application: Application, body: bytes = b"", **parts: Any) -> list[Event]:
    """Send a request, whose client stays, and return the events of its response.

    Args:
        application: answers.
        body: comes as a whole.
        parts: of the scope, where they are not those of a GET of the function `f`.
    """
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "raw_path": b"/function/f",
        "query_string": b"",
        "headers": [[b"host", b"golb"]],  # lists, as ASGI has them
        "client": ["10.0.0.9", 50000],
    } | parts
    received: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Event] = []

    async def receive() -> Event:
        if not received:
            await trio.sleep_forever()  # nobody goes away
        return received.pop()

    async def send(event: Event) -> None:
        sent.append(event)

    await application(scope, receive, send)
    return sent

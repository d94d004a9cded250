"""A handler that answers every request by itself, to try a node without functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golb.handlers.base import Handler

if TYPE_CHECKING:
    from golb.asgi import Receive, Scope, Send
    from golb.weights import WeightUpdate


class DummyHandler(Handler):
    """Answers 200 with the URL and the host that it was called by."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its body, if it has one, is not read."""
        del receive
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served here")
        query = scope["query_string"]
        target = scope.get("golb.target", scope["raw_path"] + (b"?" + query if query else b""))
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        text = b"Dummy response, URL: %b, Host: %b" % (target, host)
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})

    def handle_weight_update(self, update: WeightUpdate) -> None:
        """There is nothing to weigh."""

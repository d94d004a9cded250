"""ASGI applications of many manners: they read the request or do not, answer early, late, in part, or raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define

from golb.errors import AnswerBroken, ClientGone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golb.asgi import Application, Event, Receive, Scope, Send

_BODILESS = (204, 304)
# Some of golb's timeouts pass meanwhile.
_PATIENCE_S = 0.2


@define
class Sent:
    """What an application has sent for one request."""

    is_bodiless: bool = False
    status: int = 0
    body: bytes = b""
    is_whole: bool = False


class ManneredApplication:
    """Behaves differently from request to request.

    Args:
        manners: one for each request, from the first again when all have been used.
    """

    def __init__(self, manners: Sequence[Application]) -> None:
        self.sent: list[Sent] = []
        self.failures: list[str] = []
        """What golb has raised and should not have."""
        self._manners = manners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = Sent(is_bodiless=scope["method"] == "HEAD")
        self.sent.append(sent)
        manner = self._manners[len(self.sent) % len(self._manners)]
        await manner(scope, self._watched(receive), self._recorded(send, sent))

    def _watched(self, receive: Receive) -> Receive:
        async def watched() -> Event:
            try:
                return await receive()
            except ClientGone:
                raise
            except Exception as exc:
                self.failures.append(f"receive: {exc!r}")
                raise

        return watched

    def _recorded(self, send: Send, sent: Sent) -> Send:
        async def recorded(event: Event) -> None:
            try:
                await send(event)
            except ClientGone:
                raise
            except Exception as exc:
                self.failures.append(f"send: {exc!r}")
                raise
            if event["type"] == "http.response.start":
                sent.status = event["status"]
                sent.is_bodiless = sent.is_bodiless or sent.status in _BODILESS
            elif event["type"] == "http.response.body":
                sent.body += event["body"]
                sent.is_whole = not event.get("more_body", False) and sent.status != 101

        return recorded


def _start(*headers: tuple[bytes, bytes], status: int = 200, **more: object) -> Event:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def _body(data: bytes = b"", *, more: bool = False) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _read(receive: Receive) -> bytes | None:
    """Return the body of a request, None if its client went away."""
    parts: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        parts.append(event["body"])
        if not event["more_body"]:
            return b"".join(parts)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await _read(receive)
    if body is not None:
        await send(_start((b"content-length", b"%d" % len(body))))
        await send(_body(body))


async def echo_in_chunks(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start((b"x-a", b"b"), trailers=True))
    body = await _read(receive)
    if body is not None:
        for begin in range(0, len(body), max(1, len(body) // 3)):
            await send(_body(body[begin : begin + max(1, len(body) // 3)], more=True))
        await send(_body())
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1"), (b"host", b"a")]})


async def answer_unread(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start((b"content-length", b"2"), status=201))
    await send(_body(b"ok"))


async def answer_half_read(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(_start(status=203))
    await send(_body(b"ok"))


async def answer_without_body(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start(status=204))
    await send(_body())


async def inform(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "golb.informational", "status": 103, "headers": [(b"link", b"a")]})
    await answer_unread(scope, receive, send)


async def watch_client(scope: Scope, receive: Receive, send: Send) -> None:
    with trio.move_on_after(_PATIENCE_S):
        while (await receive())["type"] != "http.disconnect":
            pass


async def go_away(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def break_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start((b"content-length", b"5")))
    await send(_body(b"ab", more=True))
    raise AnswerBroken("on purpose")


async def break_off_in_chunks(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start())
    await send(_body(b"ab", more=True))
    raise AnswerBroken("on purpose")


async def refuse_to_begin(scope: Scope, receive: Receive, send: Send) -> None:
    await _read(receive)
    raise AnswerBroken("on purpose")


async def tunnel(scope: Scope, receive: Receive, send: Send) -> None:
    if "golb.tunnel" not in scope["extensions"]:
        await echo(scope, receive, send)
        return
    await send(_start((b"upgrade", b"x"), status=101))
    # golb lets tunnels be silent for as long as both ends are there, so one of them has to end.
    with trio.move_on_after(_PATIENCE_S):
        while (event := await receive())["type"] != "http.disconnect":
            await send(_body(event["body"], more=event["more_body"]))
            if not event["more_body"]:
                break
        return
    await send(_body(b"", more=False))


MANNERS: tuple[Application, ...] = (
    echo,
    echo_in_chunks,
    answer_unread,
    answer_half_read,
    answer_without_body,
    inform,
    watch_client,
    go_away,
    break_off,
    break_off_in_chunks,
    refuse_to_begin,
    tunnel,
)

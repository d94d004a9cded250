"""The types of ASGI, by which the server and the handlers meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
# What may stand for bytes in the events of an application that is not golb's.
Buffer = bytes | bytearray | memoryview
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
# Moves a piece of a request's body into a `golb.pipes.Pipe`; see `golb.server.connection`.
ReceiveInto = Callable[[Any], Awaitable[int]]

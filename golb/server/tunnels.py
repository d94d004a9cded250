"""Connections that have left HTTP: a drain gives them a time of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.asgi import Application, Event, Receive, Scope, Send


class Tunnels:
    """The tunnels of a server. What cancels its connections leaves them alone; `cut` ends them."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._are_cut = False

    def __len__(self) -> int:
        return len(self._scopes)

    async def call(
        self, application: Application, scope: Scope, receive: Receive, send: Send, is_tunnel: Callable[[], bool]
    ) -> None:
        """Call an application which may begin a tunnel; `is_tunnel` tells whether it has."""
        cancel_scope = trio.CancelScope()

        async def send_and_look(event: Event) -> None:
            await send(event)
            if is_tunnel() and not self._are_cut and not cancel_scope.shield:
                cancel_scope.shield = True
                self._scopes.add(cancel_scope)

        try:
            with cancel_scope:
                await application(scope, receive, send_and_look)
        finally:
            self._scopes.discard(cancel_scope)

    def cut(self) -> None:
        """End all of them, and let there be no others."""
        self._are_cut = True
        for cancel_scope in self._scopes:
            cancel_scope.cancel()

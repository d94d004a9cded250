"""A token for a user and a password: fetched when first needed, and again when etcd no longer takes it.

Rule: the password goes into the body of one request and nowhere else; neither it nor the token is in a repr.
A password in a file is read for each token, since it may have been changed.
etcd's tokens live five minutes after their last use by default, and none survives a restart or a change of roles, so
when to renew one is learnt from its refusal (https://etcd.io/docs/v3.5/op-guide/authentication/rbac/).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from ._errors import InvalidCredentials, ServerError
from ._wire import decode_token

if TYPE_CHECKING:
    from ._transport import Transport

_NO_TOKEN = ""


@define
class Auth:
    """Who asks, and the token that shows it. Shared by all requests of a client."""

    transport: Transport
    user: str | None
    _password: str | Path | None = field(repr=False)
    """A path is that of a file with the password; a line end at its end is left out."""
    _token: str | None = field(default=None, init=False, repr=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False, repr=False)

    async def get_token(self) -> str | None:
        """Return the token to send, None if there is no user; the first call fetches it.

        Raises:
            InvalidCredentials: etcd knows no such user, or the password is wrong, or its file cannot be read.
            EtcdError: as for any request.
        """
        return await self.renew(None) if self._token is None and self.user is not None else self._token

    async def renew(self, refused: str | None) -> str | None:
        """Return a token in place of `refused`; of several tasks with the same one, one authenticates for all.

        Raises:
            EtcdError: as `get_token`.
        """
        async with self._lock:
            if self._token == refused:
                self._token = await self._authenticate()
            return self._token

    def forget(self) -> None:
        """Do not send the token again: no member has answered to it, or one may have been started anew.

        A simple token names the Raft index at which it was issued, and etcd lets who sends it wait until that index is
        reached (server/auth/simple_token.go, isValidSimpleToken). One from before a restore of the store waits for ever.
        """
        self._token = None

    async def _authenticate(self) -> str:
        body = {"name": self.user, "password": self._read_password()}
        try:
            answer = await self.transport.post("/v3/auth/authenticate", body, None, repeatable=True)
        except ServerError as exc:
            if "authentication is not enabled" in exc.message:
                # Whoever switches it on later makes etcd refuse the requests without a token, and then one is fetched.
                return _NO_TOKEN
            raise
        return decode_token(answer)

    def _read_password(self) -> str | None:
        if not isinstance(self._password, Path):
            return self._password
        try:
            text = self._password.read_bytes().decode()
        except OSError as exc:
            raise InvalidCredentials(f"the password's file {self._password}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            # Its text holds what could not be decoded.
            raise InvalidCredentials(f"the password's file {self._password} is not UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r")

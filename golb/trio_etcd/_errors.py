"""What can go wrong, named by what the caller does next.

Rule: no httpx error and no OSError leaves this package, and no password or token stands in an error's text.
Source of the codes and texts: etcd, api/v3rpc/rpctypes/error.go. The gateway passes on only gRPC's code and the text,
and etcd uses one code for several things (3 is a bad request, a wrong password and a missing token), so the text decides first.
"""

from __future__ import annotations

_LONGEST_MESSAGE = 500  # characters; the peer chooses the text, and it ends in logs

# gRPC's codes for: cancelled, deadline exceeded, internal, unavailable. etcd's Go client retries the last two
# (client/v3/client.go, isHaltErr); the first two come from an etcd that is stopping or has no quorum.
_TRY_AGAIN_CODES = frozenset({1, 4, 13, 14})
_PERMISSION_DENIED_CODE = 7
_UNAUTHENTICATED_CODE = 16


class EtcdError(Exception):
    """Base of every error this package raises on purpose."""


class Unavailable(EtcdError):
    """etcd cannot be reached, or broke off before it had answered. Wait a little and try again.

    `sent` is False if the request surely did not reach etcd. If it is True, a write may have been applied.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class TlsFailed(Unavailable):
    """No TLS could be spoken with a member: one side does not trust the other, or a file is not what it should be.

    Trying again helps only once a certificate or a file has changed.
    """


class Unauthenticated(EtcdError):
    """etcd does not accept who is asking. Trying again does not help; change the user, the password or the roles."""


class InvalidCredentials(Unauthenticated):
    """etcd knows no such user, or the password is wrong. Correct them."""


class InvalidAuthToken(Unauthenticated):
    """The token is missing, has expired or was issued before the roles changed. Authenticate, then try again.

    A client with a user does so by itself, so from there this says that no user was given, or that a fresh token was refused.
    """


class PermissionDenied(Unauthenticated):
    """The user's roles do not cover the keys asked for. Grant one that does."""


class Compacted(EtcdError):
    """The revision asked for is gone. Read the present state, then watch from one after its revision.

    `compact_revision` is the oldest revision that etcd still has, or None if it did not say: only a watch tells it.
    """

    def __init__(self, compact_revision: int | None = None) -> None:
        since = "" if compact_revision is None else f"; the oldest one left is {compact_revision}"
        super().__init__(f"the revision asked for has been compacted{since}")
        self.compact_revision = compact_revision


class WatchCancelled(EtcdError):
    """etcd ended this watch and `reason` is why, in etcd's words. Open it again, unless the reason speaks against it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"etcd cancelled the watch: {reason or 'no reason given'}")
        self.reason = reason


class LeaseNotFound(EtcdError):
    """The lease has expired or was revoked, and its keys are gone. Grant a new one."""


class MalformedAnswer(EtcdError):
    """The answer is not JSON, or not of the shape etcd gives: there may be something else at this address. Tell the operator."""


class AnswerTooLong(MalformedAnswer):
    """The answer is longer than is read. Ask for less at once."""


class ServerError(EtcdError):
    """etcd refused the request for a reason without a class of its own. Read `code` (gRPC's) and `message`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (gRPC code {code})")
        self.code = code
        self.message = message


# The texts are stable: etcd's own clients match them too (rpctypes, errStringToClientError).
_ERROR_BY_TEXT: dict[str, type[EtcdError]] = {
    "required revision has been compacted": Compacted,
    "requested lease not found": LeaseNotFound,
    "authentication failed": InvalidCredentials,
    "invalid auth token": InvalidAuthToken,
    "user name is empty": InvalidAuthToken,
    "revision of auth store is old": InvalidAuthToken,
    "permission denied": PermissionDenied,
}


def error_from_status(code: int, message: str) -> EtcdError:
    """Return the error that a gRPC status stands for."""
    message = message[:_LONGEST_MESSAGE]
    known = _error_from_text(message)
    if known is not None:
        return known
    if code in _TRY_AGAIN_CODES:
        return Unavailable(f"etcd cannot answer now: {message}")
    if code == _UNAUTHENTICATED_CODE:
        return InvalidAuthToken(message)
    if code == _PERMISSION_DENIED_CODE:
        return PermissionDenied(message)
    return ServerError(code, message)


def error_from_cancelled_watch(compact_revision: int, reason: str) -> EtcdError:
    """Return the error that a watch's end stands for; `compact_revision` is 0 if compaction is not the cause."""
    if compact_revision > 0:
        return Compacted(compact_revision)
    reason = reason[:_LONGEST_MESSAGE]
    return _error_from_text(reason) or WatchCancelled(reason)


def _error_from_text(message: str) -> EtcdError | None:
    for text, error in _ERROR_BY_TEXT.items():
        if text in message:
            return Compacted() if error is Compacted else error(message)
    return None

"""Why a connection failed, in words: dug out of the errors of httpx and of Trio, which wrap one another."""

from __future__ import annotations

import ssl


def is_tls_refusal(exc: BaseException | None) -> bool:
    """Tell whether TLS could not be spoken; a connection that was cut is no such case."""
    while exc is not None:
        # A connection that is cut is one of its errors too.
        if isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def reason(exc: Exception) -> str:
    """Return the error's kind, and the first text on the way to its origin."""
    # What is wrong with a certificate, httpx and Trio leave to the errors behind theirs, which are without a text.
    cause: BaseException | None = exc
    while isinstance(cause, Exception) and not str(cause):
        cause = cause.__cause__ or cause.__context__
    name = type(exc).__name__
    return f"{name}: {cause}" if isinstance(cause, Exception) else name

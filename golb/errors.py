"""Every error golb raises on purpose: one base, named by what the caller does next.

Rule: a library's error is translated where the library is called, once, `from exc`; no OSError and no parser
error leaves the package that caused it.
"""

from __future__ import annotations


class GolbError(Exception):
    """Base of every error golb raises on purpose."""


class ConfigError(GolbError):
    """A variable holds what it cannot. Print the one line and exit 2.

    The text names the variable, what it holds and what it accepts.
    """


class ListenError(GolbError):
    """A socket cannot be opened where the configuration wants it. Print the one line and exit 1."""


class WeightsError(GolbError):
    """A value from a weight source is refused; the text is the reason. Keep the last good weights."""


class NoFunction(GolbError):
    """No function of that name is known. Answer 404, or wait for one."""


class NoEndpoint(GolbError):
    """No endpoint has a positive weight. Answer 503 with Retry-After."""


class Overloaded(GolbError):
    """As much is under way as may be, and the request cannot wait, or has waited too long. Answer 503 with Retry-After."""


class UpstreamError(GolbError):
    """An endpoint could not be asked or its answer could not be used. Answer `status`, if no byte of an answer was sent."""

    status = 502


class LocalError(UpstreamError):
    """This node lacks what a connection takes: descriptors, memory, ports. No fault of the endpoint: answer 503, and hold nothing against it."""

    status = 503


class NoConnection(UpstreamError):
    """No connection to an endpoint could be had, so nothing was sent. Ask another one, whatever the method."""

    def __init__(self, text: str, *, quick: bool = True) -> None:
        super().__init__(text)
        self.quick = quick
        """The endpoint, or its host, has refused at once: the request has lost no time by it."""


class UpstreamTimeoutError(UpstreamError):
    """An endpoint did not answer in time. Answer 504."""

    status = 504


class AnswerBroken(GolbError):
    """An endpoint's answer broke off after part of it was passed on. End the client's connection visibly."""


class ClientGone(GolbError, OSError):
    """The client closed its connection or stopped reading: there is nobody left to answer. Stop what was done for it.

    An OSError as well, since that is what an ASGI application may expect of `send` (ASGI 2.4, disconnected client).
    """

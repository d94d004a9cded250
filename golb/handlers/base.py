"""What a handler is: whoever answers requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golb.asgi import Receive, Scope, Send
    from golb.config import Config
    from golb.forwarding import Call
    from golb.health import Health, RestingEndpoints
    from golb.history import Change
    from golb.weights import Endpoint, WeightUpdate


class Pool(Protocol):
    """The connections to one endpoint."""

    @property
    def endpoint(self) -> Endpoint:
        """Where they lead."""

    @property
    def health(self) -> Health:
        """Whether the endpoint rests because it failed, and until when."""


class Upstream(Protocol):
    """The way to endpoints; see `golb.upstream.Upstream`."""

    @property
    def resting(self) -> RestingEndpoints:
        """Those that rest; `forward` keeps them."""

    @property
    def now_s(self) -> float:
        """The time by which they rest, in seconds."""

    def open(self, endpoint: Endpoint) -> Pool:
        """Begin to use an endpoint."""

    def close(self, pool: Any) -> None:
        """End using it; answers under way go on."""

    async def forward(self, pool: Any, call: Call) -> None:
        """Send a request to an endpoint, and the answer to the client.

        Raises:
            NoConnection: the endpoint cannot be reached, and got nothing.
            UpstreamError: no answer could be had, and nothing was sent to the client.
            AnswerBroken: the answer broke off; the client must see that.
            ClientGone: nobody is there to answer.
        """


@frozen
class HandlerContext:
    """What a handler is made from."""

    config: Config
    upstream: Upstream


class Handler(ABC):
    """An ASGI application that also takes weight updates.

    One instance serves all requests of a process. Its class is found by name in the entry-point group `golb.handlers`.
    """

    runs_in_fibers = False
    """It heeds the rule of `golb.fibers`, so that the server need not attach the fiber in which it calls it; and it reads
    `golb.target` in the scope, which has no `path`, `raw_path` and `query_string` then."""

    def __init__(self, context: HandlerContext) -> None:
        self.context = context

    @abstractmethod
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; ASGI 3.0, `http` scopes.

        What golb's own HTTP/1.1 server adds to ASGI is in `golb.server.connection`. An exception before the response
        has begun is answered by 500, one after it ends the client's connection visibly.
        """

    @abstractmethod
    def handle_weight_update(self, update: WeightUpdate) -> None:
        """Take new weights of one function into account.

        Called between requests, in the thread that serves them, so it must not take long. The first updates are the
        whole table. States between two calls may have been skipped, the newest one never is.
        """

    def handle_weights_loaded(self) -> None:  # noqa: B027 - whoever does not need to know ignores it
        """Learn that the whole table has been handed over, once, after its last update."""

    def handle_config(self, config: Config) -> None:  # noqa: B027 - see above
        """Take over what may change while golb runs; `golb.config` says which variables these are, the others are equal.

        Called between requests, as `handle_weight_update` is. Calls under way are not harmed. It must not fail: whatever
        may be wrong with a configuration has been found by then.
        """

    # What a handler tells of itself, to the admin port; golb/handlers/reports.py shows the form. One that counts nothing leaves it.

    def function_names(self) -> list[str]:
        """Return the names of all functions that are known now, the newest last; the list is for reading only."""
        return []

    def function_report(self, function: str) -> dict[str, Any] | None:
        """Tell of one function; None: it is not known. `endpoints` may be any iterable, which is gone through once."""
        del function
        return None

    def weight_changes(self, function: str) -> Sequence[Change]:
        """Return a function's weights of late, oldest first; the last one is in force."""
        del function
        return ()

    def totals(self) -> dict[str, Any]:
        """Tell of all functions together."""
        return {}

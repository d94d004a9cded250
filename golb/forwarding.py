"""What a request becomes on its way to an endpoint: its header lines, its framing, and what its marks say. No I/O.

A client's own `Host`, `X-Final-Host` and hop-by-hop headers end here; its `X-Forwarded-For` grows by this node's name
and the peer's address, and its `X-Forwarded-Host-<Node>` marks by this node's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from golb.errors import ClientGone
from golb.header_lines import written_lines
from golb.headers import (
    HOP_BY_HOP,
    LINE_STARTS,
    MARK_PREFIX,
    X_FINAL_HOST,
    X_FORWARDED_FOR,
    by_name,
    canonical,
    connection_options,
    dashed,
    droppable,
    frame_chunk,
    names_a_node,
    protocols,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from golb.asgi import Event, Receive, ReceiveInto, Send
    from golb.headers import Headers

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods of requests that do no harm if they are carried out twice (RFC 9110, 9.2.2)."""

_SPECIAL: Final = HOP_BY_HOP | {b"content-length", b"expect", X_FORWARDED_FOR}
_REPLACED: Final = frozenset({b"host", X_FINAL_HOST})
_MARK_LINE_START: Final = b"\r\n" + canonical(MARK_PREFIX)


def _start_of(name: bytes) -> bytes | None:
    """Return how the line of what goes on as it is begins, nothing for what does not, None for what needs a closer look.

    What golb replaces does not go on, nor what an endpoint could take for a field that golb reads or writes.
    """
    start = LINE_STARTS[name]  # of a mark too, since it refuses what is no name
    if name in _REPLACED:
        return b""
    if name in _SPECIAL or name.startswith(MARK_PREFIX):
        return None
    alike = dashed(name)
    if alike in _REPLACED or alike in _SPECIAL or alike.startswith(MARK_PREFIX):
        return b""
    return start


_STARTS: Final = by_name(_start_of)
_LINES: Final = written_lines(_STARTS.__getitem__)


class RequestHeaders:
    """The headers of a request, read once.

    Args:
        headers: pairs, names in lower case.
        own_mark: the name, in lower case, of this node's mark.

    Raises:
        ValueError: a name or a value could not stand in a line; only a server that is no HTTP/1.1 server lets one through.
    """

    # The defaults stand in the class: most requests have nothing of all this, and `is_plain` says so.
    length: int | None = None
    """Of the body, in bytes."""
    chunked = False
    expects_continue = False
    upgrade = b""
    """The protocols that the client would switch to."""
    te_trailers = False
    """The client understands trailers."""
    forwarded_for = b""
    """The chain so far."""
    forwarded = False
    """Another load balancer of this family sent the request: no gateway may be chosen again."""
    has_own_mark = False
    """It has passed this node before: it is in a loop."""
    doubtful_marks: tuple[bytes, ...] = ()
    """The marks of a peer that is not trusted, as `lines` has those of others."""

    def __init__(self, headers: Iterable[Any], own_mark: bytes) -> None:
        self.lines: list[bytes] = []
        """Those that go on as they are, each with the end of the line before."""
        self.is_plain = True
        """All of them do, and there is no body."""
        lines = self.lines
        special: Headers = []
        for header in headers:
            # Some servers and middleware have lists; what is remembered needs tuples.
            pair = header if isinstance(header, tuple) else tuple(header)
            line = _LINES.get(pair)
            if line is None:
                line = _LINES[pair]
            if line:
                lines.append(line)
            elif line is None:
                special.append(pair)
        if special:
            self.is_plain = False
            self._read_special(special, headers, own_mark)

    def _read_special(self, special: Headers, headers: Iterable[Any], own_mark: bytes) -> None:
        added: list[bytes] = []
        connection: list[bytes] = []
        for name, value in special:
            if b"\n" in value or b"\r" in value:
                raise ValueError("a header value holds a line break")
            if name == b"content-length":
                self.length = int(value)
            elif name == b"transfer-encoding":
                self.chunked = True
            elif name == b"connection":
                connection.append(value)
            elif name == X_FORWARDED_FOR:
                self.forwarded_for = self.forwarded_for + b", " + value if self.forwarded_for else value
            elif name.startswith(MARK_PREFIX):
                self.forwarded = True
                self.has_own_mark = self.has_own_mark or name == own_mark
                added.append(b"\r\n" + canonical(name) + b": " + value)
            elif name == b"expect":
                # Beside it HTTP/2 may bring what in HTTP/1.1 is refused, and where an endpoint might find it too.
                if b"100-continue" in value.lower():
                    self.expects_continue = True
                else:
                    added.append(b"\r\nExpect: " + value)
            elif name == b"upgrade":
                self.upgrade = self.upgrade + b", " + value if self.upgrade else value
            elif name == b"te":
                self.te_trailers = self.te_trailers or b"trailers" in connection_options([value])
        if self.forwarded_for and not self.forwarded:
            self.forwarded = names_a_node(self.forwarded_for)
        if connection:
            options = connection_options(connection)
            self.upgrade = protocols(self.upgrade) if b"upgrade" in options else b""
            dropped = droppable(options)
            if dropped:
                self.lines = [line for name, value in headers if name not in dropped and (line := _LINES[name, value])]
        self.lines += added

    def distrust(self) -> None:
        """Believe nothing that the peer says of the way so far; the chain begins anew.

        `has_own_mark` stays as it is. Whoever forges it stops a call of their own, but a loop that it did not stop
        would harm everyone; so gateways get the doubtful marks too, by which each node finds its own.
        """
        self.forwarded_for = b""
        self.forwarded = False
        self.doubtful_marks = tuple(line for line in self.lines if line.startswith(_MARK_LINE_START))
        self.lines = [line for line in self.lines if not line.startswith(_MARK_LINE_START)]

    def chain(self, node: bytes, peer: Sequence[Any] | None) -> bytes:
        """Return the value of X-Forwarded-For for the endpoint: the chain so far, this node, who has called it."""
        chain = self.forwarded_for + b", " + node if self.forwarded_for else node
        return chain + b", " + peer[0].encode() if peer else chain

    def head(
        self,
        start: list[bytes],
        *,
        upgrade: bool,
        expects_continue: bool,
        to_gateway: bool = False,
    ) -> bytes:
        """Write the head of the request as the endpoint gets it.

        Args:
            start: request line and the headers that golb sets itself, in pieces, without the last one's line end.
            upgrade: ask the endpoint to switch protocols as the client does.
            expects_continue: ask it for a 100 before the body is sent.
            to_gateway: it is another load balancer, which has to see all marks.
        """
        parts = [*start, *self.lines]
        if not self.is_plain:
            self._add_special(parts, upgrade=upgrade, expects_continue=expects_continue)
            if to_gateway:
                parts += self.doubtful_marks
        parts.append(b"\r\n\r\n")
        return b"".join(parts)

    def _add_special(self, parts: list[bytes], *, upgrade: bool, expects_continue: bool) -> None:
        options = []
        if self.te_trailers:
            parts += (b"\r\nTE: ", b"trailers")
            options.append(b"TE")
        if upgrade:
            parts += (b"\r\nUpgrade: ", self.upgrade)
            options.append(b"Upgrade")
        if options:
            parts += (b"\r\nConnection: ", b", ".join(options))
        if expects_continue:
            parts += (b"\r\nExpect: ", b"100-continue")
        if self.length is not None:
            parts += (b"\r\nContent-Length: ", b"%d" % self.length)
        elif self.chunked:
            parts += (b"\r\nTransfer-Encoding: ", b"chunked")


class Call:
    """One request on its way to an endpoint, and the client that waits for the answer.

    Args:
        method: of the request.
        lead: X-Final-Host, X-Forwarded-For and this node's mark, in this order: they go in front of the answer's headers.
        receive: the client's side of the ASGI application.
        send: likewise.
        extensions: of the ASGI scope.
        began_s: when it came; this and all times, by `time.perf_counter`.
    """

    # As in `RequestHeaders`: most calls leave most of this as it is.
    lead_lines: Sequence[bytes] = ()
    """`lead` as pieces of lines, each line with the end of the line before, for a server that takes an answer's lines; empty: it does not."""
    sent_s: float = 0.0
    """When all was ready to be sent."""
    head: bytes = b""
    """Request line and headers, with the empty line behind them."""
    body: bytes = b""
    """What has arrived of the body, as it is to be sent."""
    more_body: bool = False
    """More of it is to come, by `receive`."""
    bytes_left: int | None = 0
    """Of the body, to come by `receive`; None: it goes out in chunks, however long it is."""
    expects_continue: bool = False
    """The head says that a 100 is waited for before the body is sent; only with `more_body`."""
    body_bytes: int = 0
    """Length of `body`, without chunks around it."""
    upgrade: bytes = b""
    """The protocols that the head asks to switch to; empty: it does not."""
    receive_into: ReceiveInto | None = None
    """Moves the next piece of a body of known length into a pipe, where the server can; `receive` comes first."""
    answered_s: float = 0.0
    """When the head of the answer had come; 0: it has not."""
    status: int = 0
    """Of the answer, once its head has come."""
    came_whole: bool = False
    """The answer had come to its end by then."""
    bytes_in: int = 0
    """Of the request's body, that have been passed on; chunks and trailers do not count."""
    bytes_out: int = 0
    """Of the answer's body, likewise."""

    def __init__(
        self,
        method: str,
        lead: Headers,
        receive: Receive,
        send: Send,
        extensions: dict[str, Any],
        began_s: float = 0.0,
    ) -> None:
        self.method = method
        self.lead = lead
        self.receive = receive
        self.send = send
        self.extensions = extensions
        self.began_s = self.ready_s = began_s
        """When golb began to work on it, or went on after a wait, a failed endpoint's included."""

    def forget_answer(self) -> None:
        """Make ready to be sent again."""
        self.answered_s = 0.0
        self.status = self.bytes_in = self.bytes_out = 0
        self.came_whole = False

    def frame(self, event: Event) -> bytes:
        """Return the bytes to send for a piece of the body, and take note of whether it is the last.

        Raises:
            ClientGone: the client went away, or the body has not the length that its head says.
        """
        if event["type"] == "http.disconnect":
            raise ClientGone("the client went away in the middle of its request")
        body = event.get("body", b"")
        self.more_body = bool(event.get("more_body", False))
        self.bytes_in += len(body)
        if self.bytes_left is None:
            return frame_chunk(body, None if self.more_body else event.get("trailers", []))
        self._count(len(body))
        return bytes(body)

    def pass_body(self, count: int) -> None:
        """Take note of a piece of a body of known length that goes by a pipe; 0: the client went away."""
        if not count:
            raise ClientGone("the client went away in the middle of its request")
        assert self.bytes_left is not None  # noqa: S101 - a pipe is for nothing else
        self.more_body = count < self.bytes_left
        self.bytes_in += count
        self._count(count)

    def _count(self, count: int) -> None:
        assert self.bytes_left is not None  # noqa: S101 - the callers have looked
        self.bytes_left -= count
        if self.bytes_left < 0 or (self.bytes_left and not self.more_body):
            raise ClientGone("the request's body has not the length that its head says")

"""Header rules: what stays on its hop, how names are written, and the marks that load balancers of this family leave.

Rule: header names arrive in any case, travel through golb in lower case (as ASGI has them) and leave it in canonical
MIME case, which the readers look up case-sensitively.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from golb.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from golb.asgi import Buffer

V = TypeVar("V")

Headers = list[tuple[bytes, bytes]]
"""As golb has them. Where they come from an application or a server of others they are any iterable of pairs (ASGI)."""

# RFC 9110, 7.6.1, the two fields that speak to the next proxy only, and what goes with an upgrade to h2c (RFC 7540, 3.2.1).
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Options of `Connection` that name no header.
_CONNECTION_OPTIONS: Final = frozenset({b"close", b"keep-alive"})
X_FINAL_HOST: Final = b"x-final-host"
X_FORWARDED_FOR: Final = b"x-forwarded-for"
MARK_PREFIX: Final = b"x-forwarded-host-"

_NOT_IN_INTERIM: Final = HOP_BY_HOP | {b"content-length", b"host", b"trailer", X_FINAL_HOST, X_FORWARDED_FOR}
# What a head has decided, and a recipient that merges trailers into it would decide again (RFC 9110, 6.5.1, after the
# list of RFC 7230, 4.1.2): framing, routing, request modifiers, credentials, control data, how to read the content.
_NOT_IN_TRAILERS: Final = _NOT_IN_INTERIM | {
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"location",
    b"max-forwards",
    b"pragma",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"vary",
    b"warning",
    b"www-authenticate",
}
_NO_TRAILER_BEGINS: Final = (MARK_PREFIX, b"if-")

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

_REMEMBERED_NAME_BYTES: Final = 128


def canonical(name: bytes) -> bytes:
    """Write a header name in canonical MIME case: `x-forwarded-host-eb-a` becomes `X-Forwarded-Host-Eb-A`."""
    return b"-".join(part.capitalize() for part in name.split(b"-"))


# The characters of a token that are neither letter nor digit, but for the dash.
_LIKE_A_DASH = b"!#$%&'*+.^_`|~"
_TO_DASHES: Final = bytes.maketrans(_LIKE_A_DASH, b"-" * len(_LIKE_A_DASH))


def dashed(name: bytes) -> bytes:
    """Return the name for which an endpoint may take `name`: it may not tell a dash from `_`, `.` and the like.

    CGI and what follows it (WSGI, PHP) give both one name: RFC 3875, 4.1.18.
    """
    return name.translate(_TO_DASHES)


def by_name(work_out: Callable[[bytes], V]) -> Memo[bytes, V]:
    """Return what becomes of header names, each worked out once."""
    return Memo(work_out, lambda name: len(name) <= _REMEMBERED_NAME_BYTES)


def _line_start(name: bytes) -> bytes | None:
    if name.lower() in HOP_BY_HOP:
        return None
    if not TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    return b"\r\n" + canonical(name) + b": "


LINE_STARTS: Final = by_name(_line_start)
"""How the line of a header begins, with the end of the line before: `\\r\\nName: ` in canonical case, for a name in any
case; None for one that stays on its hop."""


def join_lines(parts: list[bytes], lines: int) -> bytes:
    """Join the parts of a head, which are to make so many lines; the last line gets no end yet.

    Raises:
        ValueError: a value would have added a line of its own.
    """
    joined = b"".join(parts)
    breaks = lines - 1
    if joined.count(b"\n") != breaks or joined.count(b"\r") != breaks:
        raise ValueError("a header value holds a line break")
    return joined


def trailer_section(trailers: Iterable[Any]) -> bytes:
    """Write the last chunk of a body and the trailers behind it."""
    parts = [b"0"]
    for name, value in trailers:
        start = LINE_STARTS[name]
        if start is not None:
            parts += (start, value)
    return join_lines(parts, 1 + len(parts) // 2) + b"\r\n\r\n"


def frame_chunk(body: Buffer, trailers: Iterable[Any] | None) -> bytes:
    """Write a piece of a chunked body; `trailers`, if not None, say that it is the last.

    What must not stand in trailers is left out.
    """
    chunk = b"%x\r\n%b\r\n" % (len(body), bytes(body)) if body else b""  # an empty chunk would be the end
    return chunk if trailers is None else chunk + trailer_section(proper_trailers(trailers))


def with_lead(lead: Headers, headers: Headers, final_hosts: Headers, forwarded_for: Headers) -> Headers:
    """Put golb's own headers in front of those of an answer, lines of one name side by side, golb's first.

    Args:
        lead: X-Final-Host, X-Forwarded-For and the node's mark, in this order.
        headers: the answer's, without the next two.
        final_hosts: its X-Final-Host lines, if another load balancer has answered.
        forwarded_for: its X-Forwarded-For lines, likewise.
    """
    final_host, node, mark = lead
    return [final_host, *final_hosts, node, *forwarded_for, mark, *headers]


def connection_options(values: Iterable[bytes]) -> set[bytes]:
    """Return the options of all `Connection` values, in lower case."""
    return {option.strip().lower() for value in values for option in value.split(b",")} - {b""}


def droppable(options: set[bytes]) -> frozenset[bytes]:
    """Return which of the fields that `Connection` names are to be removed.

    Not those by which golb and its like recognise loops, nor the framing: a client must not be able to strip them.
    """
    kept = {b"host", b"content-length", X_FINAL_HOST, X_FORWARDED_FOR}
    return frozenset(
        option for option in options - kept - HOP_BY_HOP - _CONNECTION_OPTIONS if not option.startswith(MARK_PREFIX)
    )


def protocols(upgrade: bytes) -> bytes:
    """Return what of an `Upgrade` value an endpoint may be asked for; empty if that is nothing.

    Not h2c, which is no more (RFC 9113, 3.1): requests in it would pass golb by, in a tunnel.
    """
    asked = [protocol.strip(b" \t") for protocol in upgrade.split(b",")]
    return b", ".join([protocol for protocol in asked if protocol and protocol.lower() != b"h2c"])


def switches_as_asked(granted: Iterable[bytes], asked: bytes) -> bool:
    """Tell whether the `Upgrade` values of a 101 name protocols, and only such as `asked`, another such value, names too.

    RFC 9110, 7.8: a server must not switch to anything else.
    """
    names = {name for value in granted for name in _protocol_names(value)}
    return bool(names) and names <= _protocol_names(asked)


def _protocol_names(upgrade: bytes) -> set[bytes]:
    return {protocol.strip(b" \t").lower() for protocol in upgrade.split(b",")} - {b""}


def _trailer_name(name: bytes) -> bytes | None:
    alike = dashed(name.lower())
    return None if alike in _NOT_IN_TRAILERS or alike.startswith(_NO_TRAILER_BEGINS) else name


_TRAILER_NAMES: Final = by_name(_trailer_name)


def proper_trailers(trailers: Iterable[Any]) -> Headers:
    """Return what of trailers, names in any case, may go on."""
    return [(name, value) for name, value in trailers if _TRAILER_NAMES[name] is not None]


def without_hop_by_hop(headers: Headers) -> Headers:
    """Return the headers of an interim answer as they may go on."""
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in _NOT_IN_INTERIM and not name.lower().startswith(MARK_PREFIX)
    ]


def mark_name(node: str) -> bytes:
    """Return the name, in lower case, of the header by which `node` marks what it forwards."""
    return MARK_PREFIX + node.lower().encode("ascii")


def names_a_node(forwarded_for: bytes) -> bool:
    """Tell whether the first entry of an X-Forwarded-For value is a node's name, as load balancers of this family write."""
    first = forwarded_for.partition(b",")[0].strip().decode("latin-1")
    if not first or first.lower() == "unknown" or first.startswith("_"):  # RFC 7239, 6: unknown, obfuscated
        return False
    host = first[1:].partition("]")[0] if first.startswith("[") else first
    if host.count(":") == 1:  # an IPv4 address with a port, as some proxies write
        host = host.partition(":")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False

"""Marks that a client forges: golb's own lines stand, and nobody's loop guard is blinded."""

from __future__ import annotations

from smuggling.case import RequestCase, arrives, forwarded, get

_CHAIN = "the chain grows at its end; what a client says of itself stays in front"
_OWN = "golb says which endpoint it is; a client cannot"
_ONE_LINE = "RFC 9110, 5.3: lines of one list are joined in order"


def looped(name: str, *lines: bytes) -> RequestCase:
    return RequestCase(
        name=name, why="a request with this node's mark is in a loop", data=get(*lines), statuses=(508,), closes=False
    )


CASES = [
    looped("own-mark", b"X-Forwarded-Host-Eb-A-Controller: 1.0"),
    looped("own-mark-in-capitals", b"X-FORWARDED-HOST-EB-A-CONTROLLER: 1.0"),
    looped("own-mark-empty", b"X-Forwarded-Host-Eb-A-Controller:"),
    looped("own-mark-among-others", b"X-Forwarded-Host-Eb-B: 1.0", b"x-forwarded-host-eb-a-controller: junk"),
    looped(
        "own-mark-named-in-connection",
        b"Connection: X-Forwarded-Host-Eb-A-Controller",
        b"X-Forwarded-Host-Eb-A-Controller: 1.0",
    ),
    forwarded(
        "another-mark", _OWN, get(b"X-Forwarded-Host-Eb-B: junk"), arrives(has=(b"X-Forwarded-Host-Eb-B: junk",))
    ),
    forwarded("mark-of-no-node", _OWN, get(b"X-Forwarded-Host-: 1.0"), arrives(has=(b"X-Forwarded-Host-: 1.0",))),
    forwarded(
        "mark-longer-than-own",
        _OWN,
        get(b"X-Forwarded-Host-Eb-A-Controller2: 1.0"),
        arrives(has=(b"X-Forwarded-Host-Eb-A-Controller2: 1.0",)),
    ),
    forwarded("final-host", _OWN, get(b"X-Final-Host: 6.6.6.6:80"), arrives()),
    forwarded("final-host-twice", _OWN, get(b"X-Final-Host: 6.6.6.6:80", b"x-final-host: 7.7.7.7:80"), arrives()),
    forwarded(
        "chain-of-an-address",
        _CHAIN,
        get(b"X-Forwarded-For: 6.6.6.6"),
        arrives(has=(b"X-Forwarded-For: 6.6.6.6, eb-a-controller, 127.0.0.1",)),
    ),
    forwarded(
        "chain-of-a-node",
        _CHAIN,
        get(b"X-Forwarded-For: eb-b"),
        arrives(has=(b"X-Forwarded-For: eb-b, eb-a-controller, 127.0.0.1",)),
    ),
    forwarded(
        "chain-of-junk",
        _CHAIN,
        get(b'X-Forwarded-For: "; ,, \\'),
        arrives(has=(b'X-Forwarded-For: "; ,, \\, eb-a-controller, 127.0.0.1',)),
    ),
    forwarded(
        "chain-empty", _CHAIN, get(b"X-Forwarded-For:"), arrives(has=(b"X-Forwarded-For: eb-a-controller, 127.0.0.1",))
    ),
    forwarded(
        "chain-on-two-lines",
        _ONE_LINE,
        get(b"X-Forwarded-For: 6.6.6.6", b"x-forwarded-for: 7.7.7.7"),
        arrives(has=(b"X-Forwarded-For: 6.6.6.6, 7.7.7.7, eb-a-controller, 127.0.0.1",)),
    ),
    forwarded("chain-of-this-node", _CHAIN, get(b"X-Forwarded-For: eb-a-controller, 127.0.0.1"), arrives()),
    forwarded("chain-long", _CHAIN, get(b"X-Forwarded-For: " + b", ".join([b"6.6.6.6"] * 1000)), arrives()),
]

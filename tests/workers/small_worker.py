"""A worker in a few lines and without golb, so that it is there at once: a program that speaks the link.

Its argument says how it behaves:
    serves      as a worker should
    dies        ends at once, with the exit code 3
    says_nothing  reads, and answers nothing
    reads_nothing
    leaves_one  like `serves`, with a program of its own that holds its output open for longer than it lives
    stays       like `serves`, but does not end when it is told to drain, or when its parent is gone

It tells of what it was told by the message that a worker tells of its endpoints' health with.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

PLACE: dict[str, Any] = json.loads(os.environ["_GOLB_WORKER"])
LINK = socket.socket(fileno=PLACE["link"])


def send(**message: Any) -> None:
    LINK.sendall(json.dumps(message).encode() + b"\n")


def tell(**data: Any) -> None:
    send(health=data)


def heed(message: dict[str, Any], *, stays: bool) -> None:
    match message:
        case {"ask_alive": _}:
            send(alive={"requests": 7})
        case {"weights": rows, "last": is_last}:
            tell(weights=rows)
            if is_last:
                send(taken=True)
        case {"serve": _}:
            send(serves=True)
        case {"publish": _}:
            tell(publish=True)
        case {"print": text}:
            os.write(1, text.encode())
        case {"drain": _}:
            tell(drain=True)
            send(drains=True)
            if not stays:
                sys.exit()
        case {"ask": number, "what": "twice", "details": details}:
            for _ in range(2):
                send(to=number, answer=details)
            send(to=number, answer=None)
        case {"ask": _, "what": "end"}:
            os.kill(os.getpid(), signal.SIGKILL)


def main(behaviour: str) -> None:
    if behaviour == "dies":
        os.write(2, b"cannot work\n")
        sys.exit(3)
    if behaviour == "leaves_one":
        tell(left=os.posix_spawnp("sleep", ["sleep", "60"], os.environ))
    tell(started=os.getpid(), place=PLACE)
    if behaviour in ("says_nothing", "reads_nothing"):
        with LINK.makefile("rb") as lines:
            for _ in lines if behaviour == "says_nothing" else ():
                pass
            signal.pause()
    with LINK.makefile("rb") as lines:
        for line in lines:
            heed(json.loads(line), stays=behaviour == "stays")
    if behaviour == "stays":
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])

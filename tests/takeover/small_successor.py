"""A successor in a few lines and without golb, so that it is there at once. Its argument says how it behaves:

serves      takes over, and tells who connects that it is the new one, until it is ended
dies        asks for the sockets, and ends with the exit code 3
dies_ready  ends when it has said that it is ready
hangs       asks for nothing
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

CHANNEL = socket.socket(fileno=int(os.environ["_GOLB_TAKEOVER"]))


def send(**message: Any) -> None:
    CHANNEL.send(json.dumps(message).encode())


def main(behaviour: str) -> None:
    if behaviour == "hangs":
        signal.pause()
    send(take={"pid": os.getpid(), "version": "next"})
    descriptors: list[int] = []
    while True:
        packet, received, _, _ = socket.recv_fds(CHANNEL, 65536, 253)
        descriptors += received
        if "all" in json.loads(packet):
            break
    if behaviour == "dies":
        sys.exit(3)
    send(ready=True)
    if behaviour == "dies_ready":
        sys.exit(3)
    if "yours" not in json.loads(CHANNEL.recv(65536)):
        sys.exit(4)
    listener = socket.socket(fileno=descriptors[0])
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.send(b"new")


if __name__ == "__main__":
    main(sys.argv[1])

"""The program of one endpoint: answers over HTTP/1.1, and keeps a ledger of the calls that it got.

    python -m harm.endpoint PORT LEDGER

`/call/<id>` is answered with the id, once it stands in the ledger: a line in a file, written by a single write(2), so
that what was got before a kill -9 is known after it. `/large` is answered with 1 MiB, and stands nowhere.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import trio
from support.wire import Wire

HOST = "127.0.0.1"
CALL_PATH = "/call/"
LARGE_PATH = "/large"
LARGE_BYTES = 1 << 20
READY = "ready"
"""Written to standard output once connections are accepted."""

_LARGE = b"x" * LARGE_BYTES


async def serve(ledger: int, stream: trio.SocketStream) -> None:
    """Answer the requests of one connection, one after the other, until it ends."""
    try:
        async with Wire(stream) as wire:
            while True:
                head = await wire.read_head()
                method, target = head.first_line.decode().split()[:2]
                if target.startswith(CALL_PATH):
                    # Before the body is read: what has come so far may have had its effect, so it counts as delivered.
                    os.write(ledger, f"{target.removeprefix(CALL_PATH)} {method}\n".encode())
                for length in head.values(b"Content-Length"):
                    await wire.read_exactly(int(length))
                if target == LARGE_PATH:
                    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES)
                    await wire.send(_LARGE)  # by itself: hundreds of readers may keep it waiting, and share it
                else:
                    body = target.removeprefix(CALL_PATH).encode()
                    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    except (EOFError, trio.BrokenResourceError):
        return  # whoever called is gone


async def main(port: int, ledger_path: str) -> None:
    ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    listeners = await trio.open_tcp_listeners(port, host=HOST)
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await trio.serve_listeners(partial(serve, ledger), listeners)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])

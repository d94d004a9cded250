"""The program of one endpoint: answers over HTTP/1.1, and keeps a ledger of the calls that it got.

    python -m harm.endpoint PORT LEDGER

`/call/<id>` is answered with the id, once it stands in the ledger: a line in a file, written by a single write(2), so
that what was got before a kill -9 is known after it. `/slow/<id>` likewise, but in pieces over 20 ms, so that an answer can
be cut in its middle. `/large` is answered with 1 MiB, and stands nowhere.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import trio
from support.wire import Wire

HOST = "127.0.0.1"
CALL_PATH = "/call/"
SLOW_PATH = "/slow/"
SLOW_S = 0.02
"""From the head of its answer until the last piece."""
LARGE_PATH = "/large"
LARGE_BYTES = 1 << 20
READY = "ready"
"""Written to standard output once connections are accepted."""

_LARGE = b"x" * LARGE_BYTES
_PIECES = 3
_PIECE_BYTES = 2048


def slow_body(number: int) -> bytes:
    """Return the whole answer to a slow call: it holds the call's id from end to end, so that no other one is like it."""
    return (b"%d " % number).ljust(16, b".") * (_PIECES * _PIECE_BYTES // 16)


async def serve(ledger: int, stream: trio.SocketStream) -> None:
    """Answer the requests of one connection, one after the other, until it ends."""
    try:
        async with Wire(stream) as wire:
            while True:
                head = await wire.read_head()
                method, target = head.first_line.decode().split()[:2]
                if target.startswith((CALL_PATH, SLOW_PATH)):
                    # Before the body is read: what has come so far may have had its effect, so it counts as delivered.
                    os.write(ledger, f"{target.rpartition('/')[2]} {method}\n".encode())
                for length in head.values(b"Content-Length"):
                    await wire.read_exactly(int(length))
                if target == LARGE_PATH:
                    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES)
                    await wire.send(_LARGE)  # by itself: hundreds of readers may keep it waiting, and share it
                elif target.startswith(SLOW_PATH):
                    await _send_slowly(wire, slow_body(int(target.removeprefix(SLOW_PATH))), is_chunked=method == "GET")
                else:
                    body = target.removeprefix(CALL_PATH).encode()
                    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    except (EOFError, trio.BrokenResourceError):
        return  # whoever called is gone


async def _send_slowly(wire: Wire, body: bytes, *, is_chunked: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
    await wire.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
    for begin in range(0, len(body), _PIECE_BYTES):
        piece = body[begin : begin + _PIECE_BYTES]
        await trio.sleep(SLOW_S / _PIECES)
        await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
    if is_chunked:
        await wire.send(b"0\r\n\r\n")


async def main(port: int, ledger_path: str) -> None:
    ledger = os.open(ledger_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    listeners = await trio.open_tcp_listeners(port, host=HOST)
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await trio.serve_listeners(partial(serve, ledger), listeners)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])

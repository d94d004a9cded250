"""An example function: it answers with the request that reached it, so that one sees what golb makes of it."""

# ruff: noqa: INP001 -- one file in a ConfigMap, no package

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """Answer every request with a JSON object of what came."""

    # golb keeps its connections to an endpoint open; HTTP/1.0, the default, would close each after one answer.
    protocol_version = "HTTP/1.1"
    # Head and body go out in two writes; Nagle's algorithm would hold the second back for 40 ms.
    disable_nagle_algorithm = True

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return body

    def _answer(self) -> None:
        seen = {
            "endpoint": os.environ.get("HOSTNAME", ""),
            "method": self.command,
            "target": self.path,
            "headers": self.headers.items(),
            "body": self._read_body().decode("utf-8", "replace"),
        }
        answer = json.dumps(seen, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815 -- http.server's names


if __name__ == "__main__":
    # As process 1 of a container Python would not be ended by SIGTERM: the kernel gives process 1 no default actions.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Echo).serve_forever()

"""What the demo's lines need of curl, for a machine that has none: `python -m demo.curl [-i] [-s] URL`."""

from __future__ import annotations

import argparse
import http.client
import sys
from urllib.parse import urlsplit

TIMEOUT_S = 30


def main(argv: list[str]) -> int:
    """Get a URL and write the answer to stdout, with `-i` after its head; `-s` hides what went wrong, as in curl."""
    parser = argparse.ArgumentParser(prog="python -m demo.curl", description=__doc__)
    parser.add_argument("-i", action="store_true", dest="head", help="write the answer's head too")
    parser.add_argument("-s", action="store_true", dest="silent", help="say nothing about errors")
    parser.add_argument("url")
    options = parser.parse_args(argv)
    url = urlsplit(options.url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as exc:
        if not options.silent:
            sys.stderr.write(f"demo.curl: {exc}\n")
        return 1
    finally:
        connection.close()
    if options.head:
        sys.stdout.write(f"HTTP/1.1 {response.status} {response.reason}\n")
        sys.stdout.writelines(f"{name}: {value}\n" for name, value in response.headers.items())
        sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

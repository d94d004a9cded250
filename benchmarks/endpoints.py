"""The endpoints: one nginx with a static answer, on as many loopback addresses as there are to be endpoints.

It answers the paths as an endpoint sees them and no others, so a proxy that does not strip `/function/echo` gets 404.
Each address names itself in a header, by which the shares are checked.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.children import child
from benchmarks.errors import ToolMissing
from benchmarks.install import find_program
from benchmarks.layout import ENDPOINT_HEADER, HOST, LARGE_BYTES, LARGE_PATH, SMALL_BYTES, SMALL_PATH, UPLOAD_PATH
from demo.ports import choose_ports

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path


def many_addresses(count: int, port: int) -> list[str]:
    """Return different loopback addresses, all with one port; not 127.0.0.1, where others may use it."""
    return [f"127.0.{1 + number // 250}.{1 + number % 250}:{port}" for number in range(count)]


def endpoints_config(addresses: Sequence[str], directory: Path, *, as_root: bool) -> str:
    """Return the configuration of the nginx that answers on all the addresses."""
    listens = "\n        ".join(f"listen {address};" for address in addresses)
    return f"""\
daemon off;
{"user root;" if as_root else ""}
worker_processes 1;
worker_rlimit_nofile 65536;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type application/octet-stream;
    server {{
        {listens}
        root {directory};
        add_header {ENDPOINT_HEADER} $server_addr:$server_port;
        location / {{ return 404; }}
        location = {SMALL_PATH} {{ return 200 "{"x" * SMALL_BYTES}"; }}
        location = {LARGE_PATH} {{ }}
        # An answer that comes before the body has been read makes proxies close connections. `return` does not read
        # bodies; `mirror` does. A file then refuses the POST, and the refusal is turned into the answer.
        location = {UPLOAD_PATH} {{
            client_body_buffer_size 2m;
            mirror /dropped;
            error_page 405 =200 {SMALL_PATH};
        }}
        location = /dropped {{ internal; return 204; }}
    }}
}}
"""


@contextmanager
def endpoints(addresses: Sequence[str], directory: Path, cores: Collection[int]) -> Iterator[None]:
    """Answer on the addresses while the block lasts.

    Raises:
        ToolMissing: there is no nginx.
        PeerFailed: it does not start.
    """
    nginx = find_program("nginx")
    if nginx is None:
        raise ToolMissing("the endpoints are an nginx: install nginx")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / LARGE_PATH[1:]).write_bytes(b"x" * LARGE_BYTES)
    (directory / UPLOAD_PATH[1:]).touch()
    config = directory / "nginx.conf"
    config.write_text(endpoints_config(addresses, directory, as_root=os.geteuid() == 0))
    command = [nginx, "-e", "stderr", "-p", str(directory), "-c", str(config)]
    with child("endpoints", command, cores=cores, log=directory / "log") as nginx_process:
        nginx_process.wait_until((directory / "nginx.pid").exists)
        yield


def free_addresses(count: int) -> list[str]:
    """Return addresses on 127.0.0.1 with ports of their own."""
    return [f"{HOST}:{port}" for port in choose_ports([None] * count)]

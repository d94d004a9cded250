"""nginx, with bodies streamed as the others stream them: neither collected before they are sent on, nor put on disk."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from benchmarks.install import first_line
from benchmarks.layout import HOST, IDLE_CONNECTIONS, PREFIX
from benchmarks.peers.base import ProgramPeer

if TYPE_CHECKING:
    from benchmarks.peers.base import Site


class Nginx(ProgramPeer):
    """nginx."""

    name = "nginx"
    install = "the Debian package nginx"
    executable = "nginx"

    def version(self) -> str:
        return re.sub(r"^.*nginx/", "", first_line([self.path(), "-v"]))

    def command(self, site: Site) -> list[str]:
        return [self.path(), "-e", "stderr", "-p", str(site.directory), "-c", str(site.directory / "nginx.conf")]

    def files(self, site: Site) -> dict[str, str]:
        return {"nginx.conf": nginx_config(site, as_root=os.geteuid() == 0, workers=self.workers)}


def nginx_config(site: Site, *, as_root: bool, workers: int = 1) -> str:
    """Return the configuration."""
    servers = "\n        ".join(f"server {address} weight={weight};" for address, weight in site.endpoints.items())
    directory = site.directory
    return f"""\
daemon off;
{"user root;" if as_root else ""}
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream functions {{
        {servers}
        keepalive {IDLE_CONNECTIONS * len(site.endpoints)};
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen {HOST}:{site.port}{" reuseport" if workers > 1 else ""};
        location {PREFIX}/ {{
            proxy_pass http://functions/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""

"""What is asked of each proxy: one scenario, one way in which clients call functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from benchmarks.layout import LARGE_BYTES, LARGE_PATH, PREFIX, SMALL_BYTES, SMALL_PATH, UPLOAD_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = (1, 16, 64, 256)

# What a browser sends with a request of a page's script: 30 headers, 1.6 KiB.
_BROWSER_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de-AT;q=0.8,de;q=0.7",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Cookie": "session=3f6f1ad0a5c24bb89c39c2b2f2d7ce8e; theme=dark; consent=analytics%3Dfalse; _ga=GA1.1.148.1700",
    "Referer": "https://shop.example.org/catalogue/images?page=3&sort=newest",
    "Origin": "https://shop.example.org",
    "DNT": "1",
    "Sec-GPC": "1",
    "Priority": "u=1, i",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-site",
    "Sec-Fetch-User": "?1",
    "Sec-CH-UA": '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
    "Sec-CH-UA-Arch": '"x86"',
    "Sec-CH-UA-Bitness": '"64"',
    "Sec-CH-UA-Full-Version": '"142.0.7444.59"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Model": '""',
    "Sec-CH-UA-Platform": '"Linux"',
    "Sec-CH-UA-Platform-Version": '"6.12.0"',
    "X-Requested-With": "XMLHttpRequest",
    "X-CSRF-Token": "b7c1d5f0e7d94d0c8f6d9a3f1c0e2b4a6d8f0a1c",
    "Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiIsImV4cCI6MTc2fQ.c2lnbmF0dXJl",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "If-None-Match": 'W/"5e15153d-120f"',
}


@frozen(kw_only=True)
class Scenario:
    """One kind of load."""

    key: str
    """In file names, on the command line and in the JSON."""
    title: str
    connections: int
    path: str = SMALL_PATH
    """As the endpoint sees it."""
    script: str = ""
    """Lua for wrk; empty for a plain GET."""

    @property
    def target(self) -> str:
        """The path as the proxy sees it."""
        return PREFIX + self.path


def _post(size_bytes: int) -> str:
    return f'wrk.method = "POST"\nwrk.body = string.rep("x", {size_bytes})\n'


def _with_headers(headers: dict[str, str]) -> str:
    return "".join(f"wrk.headers[{lua_string(name)}] = {lua_string(value)}\n" for name, value in headers.items())


def lua_string(text: str) -> str:
    """Quote a text for Lua."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def small_answers(connections: int) -> Scenario:
    """The common case: many small answers over connections that stay open."""
    plural = "s" if connections != 1 else ""
    return Scenario(
        key=f"c{connections}", title=f"{connections} connection{plural}, 1 KiB answers", connections=connections
    )


WORKERS_SCENARIO = small_answers(64)
"""In which one worker is compared with two."""

SCENARIOS: Sequence[Scenario] = (
    *map(small_answers, CONNECTIONS),
    Scenario(key="large-answers", title="8 connections, 1 MiB answers", connections=8, path=LARGE_PATH),
    Scenario(
        key="small-posts",
        title="64 connections, 1 KiB POST bodies",
        connections=64,
        path=UPLOAD_PATH,
        script=_post(SMALL_BYTES),
    ),
    Scenario(
        key="large-posts",
        title="8 connections, 1 MiB POST bodies",
        connections=8,
        path=UPLOAD_PATH,
        script=_post(LARGE_BYTES),
    ),
    Scenario(
        key="new-connections",
        title="64 clients, a new connection for each request",
        connections=64,
        script=_with_headers({"Connection": "close"}),
    ),
    Scenario(
        key="browser-headers",
        title="64 connections, 30 browser headers",
        connections=64,
        script=_with_headers(_BROWSER_HEADERS),
    ),
)

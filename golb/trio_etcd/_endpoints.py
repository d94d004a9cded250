"""Where etcd's members are, and which of them is asked now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._httpx import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PORTS = range(1, 1 << 16)


def parse_endpoint(url: str) -> str:
    """Return the URL of a member in the form that paths are appended to, such as http://[::1]:2379.

    Raises:
        ValueError: it is not http(s)://host[:port], and nothing more.
    """
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")  # as the resolver will: it refuses labels of more than 63 characters
    except (httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL()
    netloc = parsed.netloc.decode("ascii")
    is_bare = parsed.path in ("", "/") and not (parsed.userinfo or parsed.query or parsed.fragment)
    # httpx percent-encodes what cannot be in a host's name.
    is_host = bool(parsed.host) and "%" not in netloc and (parsed.port is None or parsed.port in _PORTS)
    if parsed.scheme not in ("http", "https") or not is_host or not is_bare:
        # Who writes user:password@ into a URL does not want it in a log.
        shown = "an endpoint with user information" if "@" in url else repr(url)
        raise ValueError(f"{shown} is no URL of an etcd member; give it as http://host:port or https://host:port")
    return f"{parsed.scheme}://{netloc}"


class Endpoints:
    """The members in the order given, and the current one, with which the next request starts."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(dict.fromkeys(parse_endpoint(url) for url in urls))
        if not self.urls:
            raise ValueError("no endpoints: give the URL of at least one etcd member")
        self._current = 0

    def round(self) -> Iterator[str]:
        """Yield each member once, from the current one on. Going on to the next one makes that the current one."""
        for url in self.urls[self._current :] + self.urls[: self._current]:
            yield url
            self.skip(url)

    def skip(self, url: str) -> None:
        """Make the next member the current one, if `url` still is: several requests that fail at once skip it once."""
        if self.urls[self._current] == url:
            self._current = (self._current + 1) % len(self.urls)

"""What the text of a variable may be, and the value that it stands for.

Each function returns the value, or raises ValueError or WeightsError; what is accepted stands in words beside the variable.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from golb.cores import usable_cores
from golb.headers import TOKEN
from golb.plugins import plugin_names
from golb.weights import split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WORKERS = 256

_DEFAULT_ETCD_PORT = 2379
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?", re.ASCII)
# RFC 6750, 2.1: what can stand in a header as it is.
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def zone(text: str) -> str:
    """A name that can be one part of etcd's keys."""
    if not text or "/" in text or not text.isprintable() or " " in text:
        raise ValueError(text)
    return text


def node_name(text: str) -> str:
    """What can stand in a header's name, and as one entry of a list."""
    if not TOKEN.fullmatch(text.encode()) or "," in text:
        raise ValueError(text)
    return text


def port(text: str) -> int:
    """1 to 65535."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(text)
    return int(text)


def host(text: str) -> str:
    """An address or a host name, without a port."""
    found, its_port = split_endpoint(text)
    if its_port is not None:
        raise ValueError(text)
    return found


def duration_s(text: str) -> float:
    """A number of seconds, or a number with the unit ms, s, m or h; in seconds."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNIT_S[match[2]] if match else math.inf
    if math.isinf(seconds):
        raise ValueError(text)
    return seconds


def positive_duration_s(text: str) -> float:
    """As `duration_s`, but not 0."""
    seconds = duration_s(text)
    if seconds <= 0:
        raise ValueError(text)
    return seconds


def one_line(text: str) -> str:
    """Any text of one line."""
    if len(text.splitlines()) > 1:
        raise ValueError(text)
    return text


def path(text: str) -> Path:
    """A path; whether something is there is not looked at."""
    return Path(one_line(text))


def secret(text: str) -> str:
    """Any text that UTF-8 can carry."""
    text.encode()  # UnicodeEncodeError, a ValueError: bytes that are not UTF-8
    return text


def bearer_token(text: str) -> str:
    """What can stand in an Authorization header as it is."""
    if not _BEARER_TOKEN.fullmatch(text):
        raise ValueError(text)
    return text


def number(text: str) -> int:
    """0, 1, 2 and so on."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def positive_number(text: str) -> int:
    """1, 2, 3 and so on."""
    count = number(text)
    if not count:
        raise ValueError(text)
    return count


def workers(text: str) -> int:
    """1 to 256, or `auto`: as many as there are usable cores."""
    count = usable_cores() if text.lower() == "auto" else positive_number(text)
    if count > MAX_WORKERS:
        raise ValueError(text)
    return count


def percent(text: str) -> float:
    """0 to 100, with or without %."""
    found = float(text.removesuffix("%"))
    if not (text[-1] in "%0123456789." and 0 <= found <= 100):
        raise ValueError(text)
    return found


def sample(text: str) -> float:
    """A percentage, or 1/n; in percent."""
    one, slash, of = text.partition("/")
    if not slash:
        return percent(text)
    if one.strip() != "1":
        raise ValueError(text)
    return 100 / positive_number(of.strip())


def etcd_urls(text: str) -> tuple[str, ...]:
    """Addresses of etcd, at least one, as `scheme://host:port`."""
    urls = tuple(_etcd_url(entry) for entry in re.split(r"[\s,]+", text) if entry)
    if not urls:
        raise ValueError(text)
    return urls


def _etcd_url(entry: str) -> str:
    scheme, separator, rest = entry.partition("://")
    if not separator:
        scheme, rest = "http", entry
    if scheme not in ("http", "https") or urlsplit(f"//{rest}").path.strip("/") or "@" in rest:
        raise ValueError(entry)
    found, its_port = split_endpoint(rest.rstrip("/"))
    return f"{scheme}://{f'[{found}]' if ':' in found else found}:{its_port or _DEFAULT_ETCD_PORT}"


def one_of(*choices: str) -> Callable[[str], str]:
    """Return what takes one of the choices, in any case, and returns it in lower case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(text)
        return text.lower()

    return parse


def switch(text: str) -> bool:
    """on, off, 1 or 0."""
    return one_of("off", "on", "0", "1")(text) in ("on", "1")


def plugin(group: str) -> Callable[[str], str]:
    """Return what takes the name of a plugin of a group."""

    def parse(text: str) -> str:
        return one_of(*plugin_names(group))(text)  # looked up when it is needed: it reads files

    return parse

r"""How a call becomes a line: JSON, or the Common Log Format with golb's own fields behind it. No I/O.

Rule: a line is printable ASCII and shorter than 4 KiB, whatever clients and endpoints have sent. So nobody can forge a
line, and a pipe takes a line whole beside those of other writers (pipe(7), PIPE_BUF).
Text is escaped as in JSON, in both forms; what is too long is cut, and ends in `...`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from golb.calls import CallRecord

# Characters of each text once it is escaped. The sum, and the names of the fields, stay below LINE_BYTES.
_FUNCTION, _ENDPOINT, _NODE, _CLIENT, _METHOD, _ID = 256, 264, 256, 64, 32, 128
_TARGET, _PATH, _ERROR, _VERSION = 1024, 512, 512, 8
LINE_BYTES = 4096

_CUT = "..."
_NOT_VISIBLE = re.compile(r"[^!#-\[\]-~]")  # nor what is used to quote and to escape


def json_line(record: CallRecord) -> bytes:
    """Write a call as an object of JSON."""
    return (
        f'{{"timestamp":"{_timestamp(record.began_s)}","message":"access"'
        f',"function":{_quoted(record.function, _FUNCTION)},"endpoint":{_quoted(record.endpoint, _ENDPOINT)}'
        f',"node":{_quoted(record.node, _NODE)},"path":{_quoted(record.path, _PATH)}'
        f',"client":{_quoted(record.client, _CLIENT)},"method":{_quoted(record.method, _METHOD)}'
        f',"target":{_quoted(record.target, _TARGET)},"http_version":{_quoted(record.http_version, _VERSION)}'
        f',"status":{record.status or "null"},"bytes_in":{record.bytes_in},"bytes_out":{record.bytes_out}'
        f',"duration_s":{record.duration_s:.6f},"first_byte_s":{_seconds(record.first_byte_s)}'
        f',"own_s":{_seconds(record.own_s)},"retries":{record.retries}'
        f',"request_id":{_quoted(record.request_id, _ID)},"traceparent":{_quoted_or_null(record.traceparent, _ID)}'
        f',"error":{_quoted_or_null(record.error, _ERROR)}}}\n'
    ).encode("ascii")


def common_line(record: CallRecord) -> bytes:
    """Write a call in the Common Log Format; behind it function, endpoint, seconds, retries and request id."""
    request = f"{record.method[:_METHOD]} {record.target} HTTP/{record.http_version[:_VERSION]}"
    return (
        f"{_bare(record.client, _CLIENT)} - - [{_common_time(int(record.began_s))}] "
        f"{_quoted(request, _TARGET)} {record.status or '-'} {record.bytes_out or '-'} "
        f"{_quoted(record.function, _FUNCTION)} {_bare(record.endpoint, _ENDPOINT)} "
        f"{record.duration_s:.6f} {record.retries} {_quoted(record.request_id, _ID)}\n"
    ).encode("ascii")


FORMS: dict[str, Callable[[CallRecord], bytes]] = {"json": json_line, "common": common_line}
"""By the names that `eb_go_lb_access_log` has for them."""


def _timestamp(unix_s: float) -> str:
    seconds, microseconds = divmod(round(unix_s * 1_000_000), 1_000_000)
    return f"{_iso_time(seconds)}.{microseconds:06}Z"


# Many calls begin in the same second.
@lru_cache(64)
def _iso_time(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(64)
def _common_time(unix_s: int) -> str:
    time = datetime.fromtimestamp(unix_s, UTC)
    return f"{time.day:02}/{_MONTHS[time.month - 1]}/{time:%Y:%H:%M:%S} +0000"


def _seconds(value_s: float | None) -> str:
    return "null" if value_s is None else f"{value_s:.6f}"


def _quoted_or_null(text: str | None, limit: int) -> str:
    return "null" if text is None else _quoted(text, limit)


def _quoted(text: str, limit: int) -> str:
    """Return the text in quotation marks, at most `limit` characters between them."""
    if len(text) <= limit:
        quoted: str = encode_basestring_ascii(text)
        if len(quoted) <= limit + 2:
            return quoted
    room = limit - len(_CUT)
    kept = text[:room]
    while len(quoted := encode_basestring_ascii(kept)) > room + 2:
        kept = kept[: len(kept) * room // len(quoted)]
    return f'{quoted[:-1]}{_CUT}"'


def _bare(text: str, limit: int) -> str:
    return _NOT_VISIBLE.sub("?", text[:limit]) or "-"

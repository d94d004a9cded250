"""Requests out of bytes: what a client of HTTP/1.1 may send, and the answer to what it may not. No I/O.

httptools (llhttp, strict) refuses what is malformed. It accepts some of what a proxy must not pass on, and knows no
limits; both are checked here, once a head is complete. A usual request, one that comes whole and by itself, has no body and
holds nothing that a parser would have to decide, passes the parser by: where its lines are remembered, `golb.header_lines` takes half of the time.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

import httptools
from attrs import frozen

from golb.header_lines import UnusualError, read_lines
from golb.headers import TOKEN, by_name, protocols

if TYPE_CHECKING:
    from golb.headers import Headers

MAX_HEAD_BYTES: Final = 65536
MAX_HEADERS: Final = 200
MAX_TARGET_BYTES: Final = 32768
# llhttp takes any number of zeros in front of 64 bits.
_LENGTH_DIGITS: Final = 20

# RFC 3986 reg-name, IPv4 or bracketed IP literal, and an optional port; no user information (RFC 9110, 4.2.4).
_AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
_ABSOLUTE_FORM: Final = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
# What has been looked at once need not be looked at again: a client says the same Host with each request.
_HOSTS: Final = by_name(lambda value: value if _AUTHORITY.fullmatch(value.strip(b" \t")) else None)
# To look for a byte by its number takes a tenth of the time that looking for a `bytes` of one takes.
_SLASH, _HASH = b"/#"
# What most requests are: what llhttp would find to be that, and no refusal below applies to.
_USUAL_BYTES: Final = 8192
# Of a first line: no idle connection is to hold a long one.
_REMEMBERED_BYTES: Final = 256
_GET: Final = b"GET"
_GET_AND_SPACE: Final = b"GET "
_USUAL_METHODS: Final = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})
# What is unusual in a target becomes a slash, all else stays. A table alone takes an eighth of the time that telling `translate`
# what to delete takes.
_USUAL_IN_TARGET: Final = bytes(
    byte if ord("!") <= byte <= ord("~") and byte != _HASH else _SLASH for byte in range(256)
)
_USUAL_END: Final = b" HTTP/1.1\r"
# What llhttp says of HTTP/1.2, and of the first bytes of HTTP/2.
_OTHER_VERSIONS: Final = frozenset({"Invalid HTTP version", "Pause on PRI/Upgrade"})
# llhttp keeps a connection for either.
_CONNECTION: Final = frozenset({b"connection", b"proxy-connection"})
_CHECKED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", *_CONNECTION})
_LINES: Final = read_lines({b"host", b"connection"}, unusual=_CHECKED - {b"host", b"connection"} | {b"upgrade"})
# What llhttp knows besides the methods of functions: a proxy's own, and in RTSP, which it takes for HTTP, those of RTSP.
_NOT_SERVED: Final = frozenset(
    {
        b"CONNECT",
        b"ANNOUNCE",
        b"DESCRIBE",
        b"FLUSH",
        b"GET_PARAMETER",
        b"PAUSE",
        b"PLAY",
        b"RECORD",
        b"REDIRECT",
        b"SETUP",
        b"SET_PARAMETER",
        b"TEARDOWN",
    }
)


@frozen
class Refusal:
    """Why a request is not served; the connection closes after the answer."""

    status: int
    reason: str
    """A sentence for the client: what was wrong and, where it helps, what would be right."""


_NONE: Final[Headers] = []  # for the many requests that have none; never added to


class Request:
    """One request of a connection, as far as it has arrived."""

    __slots__ = (
        "arrived",
        "body",
        "body_length",
        "chunked",
        "complete",
        "expects_continue",
        "headers",
        "http_1_0",
        "keep_alive",
        "method",
        "refusal",
        "target",
        "trailers",
        "upgrade",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        """In origin form; `*` for a request about the server as a whole."""
        self.headers: Headers = []
        """Names in lower case."""
        self.http_1_0 = False
        self.keep_alive = False
        self.upgrade = False
        """What follows the head is of another protocol, if the answer is 101."""
        self.expects_continue = False
        self.chunked = False
        self.body_length: int | None = None
        """In bytes, where the head says so."""
        self.body: list[bytes] = []
        """What has arrived and has not been taken."""
        self.arrived = 0
        """Bytes of the body that have arrived, taken or not."""
        self.complete = False
        """All of it has arrived."""
        self.trailers: Headers = _NONE
        self.refusal: Refusal | None = None


class RequestReader:
    """Turns the bytes of one connection into requests, in order; pipelined ones wait in `requests`.

    What it holds is bounded by the sizes of what is fed at once and of one head.
    """

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        """Those whose heads are complete, and a refused one, which is the last."""
        self.leftover = b""
        """Bytes behind the head of a request with `upgrade`, which is the last: give them to the tunnel, or `resume`."""
        self._parser = httptools.HttpRequestParser(self)
        self._current: Request | None = None
        self.in_head = False
        """A head has begun to arrive and is not complete."""
        self._head_bytes = 0
        self._body_came = False
        self._ended = False
        self._awaits_resume = False
        self._usual_first: bytes | None = None
        """The first line of the last usual request, unless it was long, and what it says."""
        self._usual_method = self._usual_target = b""

    def feed(self, data: bytes) -> None:
        """Take bytes in; never raises: what is wrong with them becomes the refusal of a request."""
        while data:
            if self._ended:
                if self._awaits_resume:
                    self.leftover += data
                return
            if not self.in_head and self._read_usual(data):
                return
            head = self._current if self.in_head else None  # only to tell it from one that begins now
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._take_upgrade(data[upgrade.args[0] :])
                continue
            except httptools.HttpParserError as exc:
                self._take_error(exc, data)
            self._count(data, head)
            return

    def _read_usual(self, data: bytes) -> bool:
        """Read a usual request; false, with nothing done: the parser has to."""
        before = self._current
        if before is not None and not (before.complete and before.keep_alive):
            return False
        if len(data) > _USUAL_BYTES or not data.endswith(b"\r\n\r\n"):
            return False
        lines = data[:-3].split(b"\n")
        if len(lines) - 1 > MAX_HEADERS:
            return False
        first, method, target = lines[0], self._usual_method, self._usual_target
        is_known = first == self._usual_first  # a client mostly calls again what it has called before
        if not is_known:
            call = _usual_call(first)
            if call is None:
                return False
            method, target = call
        headers: Headers = []
        hosts = 0
        try:
            for place in range(1, len(lines)):
                line = _LINES.get(lines[place]) or _LINES[lines[place]]
                if line.name == b"host":
                    hosts += 1
                    if (_HOSTS.get(line.value) or _HOSTS[line.value]) is None:
                        return False
                elif line.name and line.value != b"keep-alive":
                    return False
                headers.append(line.header)
        except UnusualError:
            return False
        if hosts != 1:
            return False
        self._current = request = Request()
        request.method, request.target = method, target
        request.headers = headers
        request.keep_alive = request.complete = True
        self.requests.append(request)
        if not is_known and len(first) <= _REMEMBERED_BYTES:
            self._usual_first, self._usual_method, self._usual_target = first, method, target
        return True

    def _count(self, data: bytes, head: Request | None) -> None:
        """Bound what is neither a body nor taken: `head` is the request whose head `data` has gone on with, if any."""
        request = self._current
        if self.in_head:
            # Only a head that takes several reads can be too long: one read is no longer than the limit.
            self._head_bytes = self._head_bytes + len(data) if request is head else self._size_so_far()
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_long_head()
        elif request is not None and not request.complete:
            # Between and behind the chunks of a body, their extensions and the trailers are as good as a head.
            self._head_bytes = 0 if self._body_came else self._head_bytes + len(data)
            self._body_came = False
            if self._head_bytes > MAX_HEAD_BYTES and request.refusal is None:
                self._ended = True
                request.refusal = Refusal(431, f"the trailers are longer than {MAX_HEAD_BYTES} bytes")

    @property
    def body_bytes_left(self) -> int | None:
        """How many bytes of the body under way may pass the parser by; None: feed them.

        A body of known length needs no parsing. Read no more than that, and give it to `take_body`.
        """
        request = self._current
        if request is None or request.complete or request.body_length is None:
            return None
        return request.body_length - request.arrived

    def resume(self) -> None:
        """Go on in HTTP behind a request with `upgrade` that was not granted."""
        rest, self.leftover = self.leftover, b""
        self._ended = self._awaits_resume = False
        self.feed(rest)

    def take_body(self, data: bytes) -> None:
        """Take bytes that were read by the measure of `body_bytes_left`."""
        assert self._current is not None  # noqa: S101 - body_bytes_left was not None
        self._current.body.append(data)
        self.pass_body(len(data))

    def pass_body(self, count: int) -> None:
        """Count bytes of the body, within that measure, that go another way."""
        request = self._current
        assert request is not None  # noqa: S101 - body_bytes_left was not None
        request.arrived += count
        if request.arrived == request.body_length:
            request.complete = True
            self._parser = httptools.HttpRequestParser(self)  # the old one waits for the body

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._ended:  # behind a refused request, or in a head of golb's own
            self._current = None
            return
        self._current = Request()
        self.in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        request = self._current
        if request is not None:
            request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._current
        if request is None:
            return
        if self.in_head:
            request.headers.append((name.lower(), value))
        else:
            request.trailers = request.trailers or []
            request.trailers.append((name.lower(), value))
            if request.refusal is None:
                _check_trailer(request)

    def on_headers_complete(self) -> None:
        request = self._current
        if request is None:
            return
        self.in_head = False
        parser = self._parser
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive()
        _check(request, parser)
        request.upgrade = parser.should_upgrade() and _may_upgrade(request)
        if self._head_bytes:
            if request.refusal is None and self._size_so_far() > MAX_HEAD_BYTES:
                request.refusal = _HEAD_TOO_LONG
            self._head_bytes = 0
        self.requests.append(request)

    def on_body(self, data: bytes) -> None:
        request = self._current
        if request is not None:
            request.body.append(data)
            request.arrived += len(data)
            self._body_came = True

    def on_message_complete(self) -> None:
        request = self._current
        if request is None:
            return
        if request.refusal is None:
            request.complete = True
        else:
            self._ended = True  # and the request stays as it is: nothing may follow it

    def _take_upgrade(self, rest: bytes) -> bytes:
        """Decide what the bytes behind an upgrade are; return those that are HTTP's."""
        request = self._current
        if request is None:
            return b""
        if request.chunked or request.body_length:
            # A request with a body cannot switch before the body has ended; it may be answered as if it had not asked
            # to (RFC 9110, 7.8). httptools takes the body for the other protocol's: read it with a parser of its own.
            request.upgrade = False
            request.complete = False
            length = request.body_length or 0
            framing = b"transfer-encoding: chunked" if request.chunked else b"content-length: %d" % length
            self._parser = httptools.HttpRequestParser(self)
            ended, self._ended = self._ended, True  # of this head nothing is wanted
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n\r\n")
            self._ended, self._current = ended, request
            return rest
        if request.upgrade:
            self.leftover = rest
            self._ended = self._awaits_resume = True
            return b""
        return rest

    def _take_error(self, exc: httptools.HttpParserError, data: bytes) -> None:
        if self._ended:
            return
        self._ended = True
        request = self._current
        if request is not None and not request.complete and not self.in_head:
            # In a body: it will never be whole.
            request.refusal = request.refusal or Refusal(400, f"the body is malformed: {exc}")
            return
        if request is not None and request.complete and not request.keep_alive:
            return  # whatever comes behind the last request of a connection is nothing to answer
        refusal = Refusal(400, f"the request is malformed: {exc}")
        if str(exc) in _OTHER_VERSIONS:
            refusal = Refusal(505, "this is another version of HTTP; HTTP/1.1 and HTTP/1.0 are served here")
        if isinstance(exc, httptools.HttpParserInvalidMethodError) and not self.requests:
            method = TOKEN.match(data.lstrip(b"\r\n"))
            if method is not None and data.lstrip(b"\r\n")[method.end() : method.end() + 1] == b" ":
                refusal = Refusal(501, f"the method {method[0].decode()[:32]} is not known here")
        self._refuse(refusal)

    def _refuse_long_head(self) -> None:
        request = self._current
        if request is not None and not request.headers and len(request.target) > MAX_TARGET_BYTES:
            self._refuse(_TARGET_TOO_LONG)
        else:
            self._refuse(_HEAD_TOO_LONG)

    def _refuse(self, refusal: Refusal) -> None:
        self._ended = True
        self.in_head = False
        request = Request()
        request.complete = True
        request.refusal = refusal
        self.requests.append(request)

    def _size_so_far(self) -> int:
        request = self._current
        if request is None:
            return 0
        return len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)


_HEAD_TOO_LONG: Final = Refusal(431, f"the head is longer than {MAX_HEAD_BYTES} bytes")
_TARGET_TOO_LONG: Final = Refusal(414, f"the request target is longer than {MAX_TARGET_BYTES} bytes")


def _usual_call(line: bytes) -> tuple[bytes, bytes] | None:
    """Return method and target of the first line of a usual request; None: it is not one."""
    if not line.endswith(_USUAL_END):
        return None
    if line.startswith(_GET_AND_SPACE):  # nearly all are, and a slice takes a third of what the rest takes
        method, target = _GET, line[len(_GET_AND_SPACE) : -len(_USUAL_END)]
    else:
        method, _, target = line[: -len(_USUAL_END)].partition(b" ")
        if method not in _USUAL_METHODS:
            return None
    if not target.startswith(b"/") or target.translate(_USUAL_IN_TARGET) != target:
        return None
    return method, target


def _check(request: Request, parser: httptools.HttpRequestParser) -> None:
    """Refuse what llhttp lets through but a proxy must not pass on; note how the body is framed."""
    headers = request.headers
    hosts = 0
    # Only HTTP/1.1 goes on without being told to, and to ask httptools for the version takes as long as to parse a head.
    is_1_1 = request.keep_alive
    for name, value in headers:
        if name in _CHECKED:
            if name == b"host":
                hosts += 1
                if _HOSTS[value] is None:
                    request.refusal = Refusal(400, "Host is no host name or address with an optional port")
            elif name == b"content-length":
                if len(value) > _LENGTH_DIGITS:
                    request.refusal = Refusal(400, f"Content-Length has more than {_LENGTH_DIGITS} digits")
                else:
                    request.body_length = int(value)
            elif name in _CONNECTION:
                is_1_1 = False
            elif name == b"expect":
                if not request.expects_continue and b"100-continue" in value.lower():
                    _check_expectations(request)
            else:
                request.chunked = True
                if value.strip(b" \t").lower() != b"chunked":
                    request.refusal = Refusal(501, "chunked is the only transfer coding that is understood here")
    if not is_1_1:
        _check_version(request, parser.get_http_version())
    if len(headers) > MAX_HEADERS:
        request.refusal = Refusal(431, f"there are {len(headers)} headers; {MAX_HEADERS} are accepted")
    elif hosts != 1 and (hosts or not request.http_1_0):
        request.refusal = request.refusal or Refusal(400, f"there are {hosts} Host headers; HTTP/1.1 has exactly one")
    target = request.target
    if len(target) > MAX_TARGET_BYTES:
        request.refusal = _TARGET_TOO_LONG
    elif request.method != b"GET" and request.method in _NOT_SERVED:  # most requests need one comparison, and no hash
        request.refusal = Refusal(501, f"{request.method.decode()} is not served here")
    elif target[0] != _SLASH:
        _check_target(request)
    elif _HASH in target:
        request.refusal = Refusal(400, "a request target has no fragment")


def _check_expectations(request: Request) -> None:
    """Refuse 100-continue as a part of more: there an endpoint may find it where golb does not, or the reverse."""
    request.expects_continue = True
    expectations = {value.strip(b" \t").lower() for name, value in request.headers if name == b"expect"}
    if expectations != {b"100-continue"}:
        request.refusal = Refusal(417, "100-continue is understood here only if nothing else is expected")


def _check_trailer(request: Request) -> None:
    """Refuse trailers, of which one more has come, that llhttp lets through but a proxy must not take."""
    if len(request.trailers) > MAX_HEADERS:
        request.refusal = Refusal(431, f"there are more than {MAX_HEADERS} trailers")
    elif request.trailers[-1][0] in _CONNECTION:
        # llhttp heeds it, and ends a connection that by the head goes on.
        request.refusal = Refusal(400, "Connection does not stand in trailers")


def _may_upgrade(request: Request) -> bool:
    """Tell whether the client asks for a protocol that it may get; RFC 9110, 7.8: in HTTP/1.0 it is ignored."""
    return not request.http_1_0 and any(protocols(value) for name, value in request.headers if name == b"upgrade")


def _check_version(request: Request, version: str) -> None:
    if version == "1.1":
        return
    request.http_1_0 = version == "1.0"
    if not request.http_1_0:
        request.refusal = Refusal(505, f"HTTP/{version} is not served here; HTTP/1.1 and HTTP/1.0 are")
    elif request.chunked:
        request.refusal = Refusal(400, "HTTP/1.0 has no Transfer-Encoding")
    request.expects_continue = False  # RFC 9110, 10.1.1: ignore it in HTTP/1.0


def _check_target(request: Request) -> None:
    absolute = _ABSOLUTE_FORM.match(request.target)
    if absolute is not None:
        if not absolute[1] or not _AUTHORITY.fullmatch(absolute[1]) or b"#" in request.target:
            request.refusal = request.refusal or Refusal(400, "the request target is malformed")
        # RFC 9112, 3.2.2: accept the absolute form. Its authority names golb, as Host does, and goes the same way.
        target = request.target[absolute.end() :]
        if not target and request.method == b"OPTIONS":  # RFC 9112, 3.2.4: it is about the server as a whole
            target = b"*"
        elif not target.startswith(b"/"):
            target = b"/" + target
        request.target = target
    elif not (request.target == b"*" and request.method == b"OPTIONS"):
        request.refusal = request.refusal or Refusal(400, "the request target is neither a path nor a URL")

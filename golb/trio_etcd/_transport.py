"""POST JSON to one of etcd's members and read the answer, by httpx; a streamed one by `_http_stream`.

Rule: every httpx error becomes an `EtcdError` here. A member that is not available is passed over for the next one, but
a request that changes something is sent again only if it surely was not received: a put that was applied and whose
answer was lost must not undo what another client has put since.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

import trio

from ._errors import AnswerTooLong, MalformedAnswer, TlsFailed, Unavailable
from ._http_stream import StreamedAnswer, open_streamed
from ._httpx import httpx
from ._reasons import is_tls_refusal, reason
from ._stream import LineSplitter
from ._tls import ALPN, RenewedContext, TlsFiles
from ._wire import Json, decode_answer, decode_error, encode_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._endpoints import Endpoints

MAX_ANSWER_BYTES = 64 << 20
"""The longest answer, or line of a streamed one, that is read. etcd's own limit for a request is 1.5 MiB by default."""

_CLOSE_TIMEOUT_S = 1.0

# etcd ends such a stream, and refuses such a request, on a member that knows no leader and so learns nothing new
# (server/etcdserver/api/v3rpc/interceptor.go). The gateway passes on what begins with Grpc-Metadata-.
_REQUIRE_LEADER = ("Grpc-Metadata-Hasleader", "true")

_PROBES = 3


def socket_options(peer_timeout_s: float) -> list[tuple[int, int, int]]:
    """Return what lets TCP find out within `peer_timeout_s` (> 0; 4 s are the least it can do) that the peer is gone.

    A member that loses power or a cable sends nothing, also no FIN: a watch would wait for it for ever. It is probed
    after a while of silence; the last option bounds unacknowledged data, which stops the probes.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if sys.platform == "linux":
        # The kernel takes whole seconds, of which 32,767 are the most (tcp(7), include/net/tcp.h).
        pause_s = min(max(int(peer_timeout_s / (_PROBES + 1)), 1), 32_767)
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause_s),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause_s),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (_PROBES + 1) * pause_s * 1000),
        ]
    return options


class _Body(httpx.AsyncByteStream):
    """A request's body, in one piece. httpx's own is a generator, which a cancelled request leaves to the garbage collector."""

    def __init__(self, content: bytes) -> None:
        self._parts = [content]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


class Answer:
    """An answer whose body is still to be read; whoever opened it closes it."""

    def __init__(self, response: httpx.Response, url: str) -> None:
        self.url = url
        self._response = response
        self._chunks = response.aiter_raw()

    async def receive_some(self) -> bytes | None:
        """Return the next part of the body, None at its end. Cancelled while it waits, it ends the answer.

        Raises:
            Unavailable: the answer broke off, or the read timeout passed.
        """
        with _translate(self.url):
            return await anext(self._chunks, None)

    async def aclose(self) -> None:
        """Close the connection, at once and also if cancelled; after a body read to its end there is nothing to close."""
        # httpx's and httpcore's generators are nested: closing the outer one would leave the inner ones to the garbage
        # collector, and Trio warns of that. A read that finds itself cancelled ends them all, from the inside out.
        with trio.CancelScope(shield=True) as scope, suppress(Unavailable):
            scope.cancel()
            while await self.receive_some() is not None:
                pass
        with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
            await self._response.aclose()


async def _receive_all(answer: Answer | StreamedAnswer) -> bytes:
    """Return the whole body.

    Raises:
        AnswerTooLong: it is longer than `MAX_ANSWER_BYTES`.
        Unavailable: it broke off, or the read timeout passed.
    """
    parts: list[bytes] = []
    length_bytes = 0
    while (part := await answer.receive_some()) is not None:
        parts.append(part)
        length_bytes += len(part)
        if length_bytes > MAX_ANSWER_BYTES:
            raise AnswerTooLong(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(parts)


async def _check_status(answer: Answer | StreamedAnswer, status: int) -> None:
    """Raise the error that an answer stands for, if it does."""
    if status != httpx.codes.OK:
        raise decode_error(status, await _receive_all(answer))


class Lines:
    """A streamed answer, line by line; whoever opened it closes it."""

    def __init__(self, answer: StreamedAnswer, endpoints: Endpoints) -> None:
        self._answer = answer
        self._endpoints = endpoints
        self._splitter = LineSplitter(MAX_ANSWER_BYTES)
        self._lines: deque[bytes] = deque()

    @property
    def member(self) -> str:
        """The URL of the member that sends the stream."""
        return self._answer.url

    async def wait_first(self) -> None:
        """Wait until a line is there to be received, or raise as `receive` does."""
        while not self._lines:
            part = await self._answer.receive_some()
            if part is None:
                with suppress(MalformedAnswer):
                    # The gateway ends a stream with etcd's reason, and without a line's end (grpc-gateway 1).
                    decode_answer(self._splitter.rest)
                raise Unavailable(f"{self._answer.url}: the stream has ended")
            self._lines.extend(self._splitter.feed(part))

    @property
    def at_hand(self) -> bool:
        """Whether `receive` has a line without waiting for it."""
        return bool(self._lines)

    async def receive(self) -> bytes:
        """Return the next line. Cancelled while it waits, it loses nothing.

        Raises:
            Unavailable: the stream has ended, between two lines or within one; or the read timeout passed.
            MalformedAnswer: a line is longer than `MAX_ANSWER_BYTES`.
        """
        await self.wait_first()
        return self._lines.popleft()

    def pass_over_member(self) -> None:
        """Let the next request start with another member than the one that sends this stream."""
        self._endpoints.skip(self._answer.url)

    async def aclose(self) -> None:
        """Close the connection, at once and also if cancelled."""
        await self._answer.aclose()


class Transport:
    """Connections to etcd's members. Starts no task; closed with `aclose`."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        dial_timeout_s: float,
        request_timeout_s: float,
        peer_timeout_s: float,
        tls: ssl.SSLContext | TlsFiles | None,
    ) -> None:
        self._endpoints = endpoints
        self._dial_timeout_s = dial_timeout_s
        self._request_timeout_s = request_timeout_s
        self._socket_options = socket_options(peer_timeout_s)
        self._streams: WeakSet[StreamedAnswer] = WeakSet()
        self._closed = False
        # Reading the system's certificates takes some 20 ms, so it is left to the first connection that needs them.
        self._tls = tls if isinstance(tls, ssl.SSLContext) else RenewedContext(tls or TlsFiles())
        self._tls.set_alpn_protocols(ALPN)
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=self._tls,
                trust_env=False,
                # A limit would let requests to a member that hangs block those to the others.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=4),
                socket_options=self._socket_options,
            ),
            trust_env=False,
        )

    async def post(
        self,
        path: str,
        body: Json,
        token: str | None,
        *,
        repeatable: bool,
        require_leader: bool = False,
        member: str | None = None,
    ) -> Json:
        """Return the answer of the first member that is available, or of `member`, if that is given (a member's URL).

        `repeatable` says that nothing is lost if the request is served twice. `require_leader` lets a member that knows
        no leader say so at once.

        Raises:
            EtcdError: what etcd answered instead, or `Unavailable` for all members tried.
        """
        failures: list[Unavailable] = []
        for url in self._endpoints.round() if member is None else (member,):
            try:
                return await self._post_to(url, path, body, token, require_leader=require_leader)
            except MalformedAnswer as exc:
                raise type(exc)(f"{url}: {exc}") from exc
            except Unavailable as exc:
                failures.append(exc)
                if exc.sent and not repeatable:
                    self._endpoints.skip(url)
                    break
        raise _joined(failures)

    async def open_stream(self, path: str, body: Json, token: str | None, *, read_timeout_s: float | None) -> Lines:
        """Return the streamed answer of the first member that is available, once its first line has arrived.

        A member that knows no leader is not available, and a stream ends when its member loses the leader.
        `read_timeout_s` is the longest silence allowed after that; None allows any.

        Raises:
            EtcdError: what etcd answered instead, or `Unavailable` for all members tried.
        """
        # The read timeout is for the stream, and may be none.
        open_timeout_s = self._dial_timeout_s + self._request_timeout_s
        failures: list[Unavailable] = []
        for url in self._endpoints.round():
            try:
                with trio.move_on_after(open_timeout_s):
                    return await self._open_lines(url, path, body, token, read_timeout_s)
            except MalformedAnswer as exc:
                raise type(exc)(f"{url}: {exc}") from exc
            except Unavailable as exc:
                failures.append(exc)
            else:
                failures.append(Unavailable(f"{url}: no stream within {open_timeout_s:g} s"))
        raise _joined(failures)

    async def aclose(self) -> None:
        """Close all connections. Requests under way fail with `Unavailable`, later ones with `trio.ClosedResourceError`."""
        self._closed = True
        for stream in list(self._streams):
            await stream.aclose()
        with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
            await self._client.aclose()

    async def _post_to(self, url: str, path: str, body: Json, token: str | None, *, require_leader: bool) -> Json:
        answer = await self._open(url, path, body, token, require_leader=require_leader)
        try:
            return decode_answer(await _receive_all(answer))
        finally:
            await answer.aclose()

    async def _open_lines(
        self, url: str, path: str, body: Json, token: str | None, read_timeout_s: float | None
    ) -> Lines:
        answer = await self._open_streamed(url, path, body, token, read_timeout_s)
        try:
            await _check_status(answer, answer.status)
            lines = Lines(answer, self._endpoints)
            await lines.wait_first()
        except BaseException:
            await answer.aclose()
            raise
        return lines

    async def _open_streamed(
        self, url: str, path: str, body: Json, token: str | None, read_timeout_s: float | None
    ) -> StreamedAnswer:
        self._prepare(url)
        content = encode_request(body)
        headers = "".join(f"{name}: {value}\r\n" for name, value in _headers(url, content, token, require_leader=True))
        with self._naming_tls_files(url):
            answer = await open_streamed(
                url,
                f"POST {path} HTTP/1.1\r\n{headers}\r\n".encode("ascii") + content,
                tls=self._tls,
                socket_options=self._socket_options,
                dial_timeout_s=self._dial_timeout_s,
                request_timeout_s=self._request_timeout_s,
                read_timeout_s=read_timeout_s,
            )
        if self._closed:  # meanwhile
            await answer.aclose()
            raise Unavailable(f"{url}: this etcd client has been closed")
        self._streams.add(answer)
        return answer

    async def _open(self, url: str, path: str, body: Json, token: str | None, *, require_leader: bool) -> Answer:
        self._prepare(url)
        content = encode_request(body)
        headers = _headers(url, content, token, require_leader=require_leader)
        timeout = httpx.Timeout(self._request_timeout_s, connect=self._dial_timeout_s)
        extensions = {"timeout": timeout.as_dict()}
        request = httpx.Request("POST", url + path, headers=headers, stream=_Body(content), extensions=extensions)
        with self._naming_tls_files(url), _translate(url):
            response = await self._client.send(request, stream=True)
        answer = Answer(response, url)
        try:
            await _check_status(answer, response.status_code)
        except BaseException:
            await answer.aclose()
            raise
        return answer

    def _prepare(self, url: str) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this etcd client has been closed")
        if isinstance(self._tls, RenewedContext) and url.startswith("https:"):
            self._tls.renew()

    @contextmanager
    def _naming_tls_files(self, url: str) -> Iterator[None]:
        """Say which file is to blame where one cannot be used."""
        try:
            yield
        except TlsFailed as exc:
            if isinstance(self._tls, RenewedContext) and self._tls.problem:
                raise TlsFailed(f"{url}: {self._tls.problem}", sent=False) from exc
            raise


def _headers(url: str, content: bytes, token: str | None, *, require_leader: bool) -> list[tuple[str, str]]:
    headers = [
        ("Host", url.partition("://")[2]),
        ("Content-Length", str(len(content))),
        ("Content-Type", "application/json"),
        # etcd compresses nothing, and what is not unpacked cannot grow beyond MAX_ANSWER_BYTES.
        ("Accept-Encoding", "identity"),
    ]
    if require_leader:
        headers.append(_REQUIRE_LEADER)
    if token:
        headers.append(("Authorization", token))
    return headers


@contextmanager
def _translate(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as exc:
        sent = not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        error = TlsFailed if is_tls_refusal(exc) else Unavailable
        raise error(f"{url}: {reason(exc)}", sent=sent) from exc


def _joined(failures: Sequence[Unavailable]) -> Unavailable:
    if len(failures) == 1:
        return failures[0]
    error = TlsFailed if all(isinstance(failure, TlsFailed) for failure in failures) else Unavailable
    return error("; ".join(map(str, failures)), sent=any(failure.sent for failure in failures))

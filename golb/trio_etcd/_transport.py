"""POST JSON to one of etcd's members and read the answer: the only file that knows httpx's behaviour.

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

import httpx
import trio

from ._errors import MalformedAnswer, Unavailable
from ._stream import LineSplitter
from ._wire import Json, decode_answer, decode_error, encode_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._endpoints import Endpoints

MAX_ANSWER_BYTES = 64 << 20
"""The longest answer, or line of a streamed one, that is read. etcd's own limit for a request is 1.5 MiB by default."""

_CLOSE_TIMEOUT_S = 1.0

# A member that loses power or a cable sends nothing, also no FIN: a watch would wait for it for ever. Probed after 10 s
# of silence, then every 5 s, it is given up after 25 s; the last option bounds unacknowledged data, which stops the probes.
_SOCKET_OPTIONS = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if sys.platform == "linux":
    _SOCKET_OPTIONS += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000),
    ]


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

    async def receive_all(self) -> bytes:
        """Return the whole body.

        Raises:
            MalformedAnswer: it is longer than `MAX_ANSWER_BYTES`.
            Unavailable: as for `receive_some`.
        """
        parts: list[bytes] = []
        length_bytes = 0
        while (part := await self.receive_some()) is not None:
            parts.append(part)
            length_bytes += len(part)
            if length_bytes > MAX_ANSWER_BYTES:
                raise MalformedAnswer(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return b"".join(parts)

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


class Lines:
    """A streamed answer, line by line; whoever opened it closes it."""

    def __init__(self, answer: Answer, endpoints: Endpoints) -> None:
        self._answer = answer
        self._endpoints = endpoints
        self._splitter = LineSplitter(MAX_ANSWER_BYTES)
        self._lines: deque[bytes] = deque()

    async def wait_first(self) -> None:
        """Wait until a line is there to be received, or raise as `receive` does."""
        while not self._lines:
            part = await self._answer.receive_some()
            if part is None:
                raise Unavailable(f"{self._answer.url}: the stream has ended")
            self._lines.extend(self._splitter.feed(part))

    async def receive(self) -> bytes:
        """Return the next line. Cancelled while it waits, it ends the stream.

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
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._endpoints = endpoints
        self._dial_timeout_s = dial_timeout_s
        self._request_timeout_s = request_timeout_s
        self._closed = False
        if ssl_context is None:
            needs_tls = any(url.startswith("https:") for url in endpoints.urls)
            # Reading the system's certificates takes some 20 ms, and this one without any trusts nobody.
            ssl_context = ssl.create_default_context() if needs_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=ssl_context,
                trust_env=False,
                # A limit would let watches, each of which holds a connection, block the requests beside them.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=4),
                socket_options=_SOCKET_OPTIONS,
            ),
            trust_env=False,
        )

    async def post(self, path: str, body: Json, token: str | None, *, repeatable: bool) -> Json:
        """Return the answer of the first member that is available.

        `repeatable` says that nothing is lost if the request is served twice.

        Raises:
            EtcdError: what etcd answered instead, or `Unavailable` for all members tried.
        """
        failures: list[Unavailable] = []
        for url in self._endpoints.round():
            try:
                return await self._post_to(url, path, body, token)
            except MalformedAnswer as exc:
                raise MalformedAnswer(f"{url}: {exc}") from exc
            except Unavailable as exc:
                failures.append(exc)
                if exc.sent and not repeatable:
                    self._endpoints.skip(url)
                    break
        raise _joined(failures)

    async def open_stream(self, path: str, body: Json, token: str | None, *, read_timeout_s: float | None) -> Lines:
        """Return the streamed answer of the first member that is available, once its first line has arrived.

        `read_timeout_s` is the longest silence allowed after that; None allows any.

        Raises:
            EtcdError: what etcd answered instead, or `Unavailable` for all members tried.
        """
        # httpx has one read timeout for the head of an answer and all of its body, which here may be none.
        open_timeout_s = self._dial_timeout_s + self._request_timeout_s
        failures: list[Unavailable] = []
        for url in self._endpoints.round():
            try:
                with trio.move_on_after(open_timeout_s):
                    return await self._open_lines(url, path, body, token, read_timeout_s)
            except MalformedAnswer as exc:
                raise MalformedAnswer(f"{url}: {exc}") from exc
            except Unavailable as exc:
                failures.append(exc)
            else:
                failures.append(Unavailable(f"{url}: no stream within {open_timeout_s:g} s"))
        raise _joined(failures)

    async def aclose(self) -> None:
        """Close all connections. Requests under way fail with `Unavailable`, later ones with `trio.ClosedResourceError`."""
        self._closed = True
        with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
            await self._client.aclose()

    async def _post_to(self, url: str, path: str, body: Json, token: str | None) -> Json:
        answer = await self._open(url, path, body, token, self._request_timeout_s)
        try:
            return decode_answer(await answer.receive_all())
        finally:
            await answer.aclose()

    async def _open_lines(
        self, url: str, path: str, body: Json, token: str | None, read_timeout_s: float | None
    ) -> Lines:
        answer = await self._open(url, path, body, token, read_timeout_s)
        try:
            lines = Lines(answer, self._endpoints)
            await lines.wait_first()
        except BaseException:
            await answer.aclose()
            raise
        return lines

    async def _open(self, url: str, path: str, body: Json, token: str | None, read_timeout_s: float | None) -> Answer:
        if self._closed:
            raise trio.ClosedResourceError("this etcd client has been closed")
        content = encode_request(body)
        headers = {
            "Host": url.partition("://")[2],
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            # etcd compresses nothing, and what is not unpacked cannot grow beyond MAX_ANSWER_BYTES.
            "Accept-Encoding": "identity",
        }
        if token:
            headers["Authorization"] = token
        timeout = httpx.Timeout(self._request_timeout_s, connect=self._dial_timeout_s, read=read_timeout_s)
        extensions = {"timeout": timeout.as_dict()}
        request = httpx.Request("POST", url + path, headers=headers, stream=_Body(content), extensions=extensions)
        with _translate(url):
            response = await self._client.send(request, stream=True)
        answer = Answer(response, url)
        if response.status_code == httpx.codes.OK:
            return answer
        try:
            text = await answer.receive_all()
        finally:
            await answer.aclose()
        raise decode_error(response.status_code, text)


@contextmanager
def _translate(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as exc:
        sent = not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        raise Unavailable(f"{url}: {_reason(exc)}", sent=sent) from exc


def _reason(exc: Exception) -> str:
    # What is wrong with a certificate, httpx and Trio leave to the errors behind theirs, which are without a text.
    cause: BaseException | None = exc
    while isinstance(cause, Exception) and not str(cause):
        cause = cause.__cause__ or cause.__context__
    name = type(exc).__name__
    return f"{name}: {cause}" if isinstance(cause, Exception) else name


def _joined(failures: Sequence[Unavailable]) -> Unavailable:
    if len(failures) == 1:
        return failures[0]
    return Unavailable("; ".join(map(str, failures)), sent=any(failure.sent for failure in failures))

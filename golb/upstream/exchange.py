"""One exchange: a request to an endpoint, its answer to the client, nothing of either collected.

A request whose body has arrived whole is sent and answered in the caller's own task. Only a body that is still to come
needs a second task, and so does watching for a client that goes away, which begins when the answer takes long.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog
import trio

from golb.errors import AnswerBroken, ClientGone, LocalError, NoConnection, UpstreamError, UpstreamTimeoutError
from golb.fibers import attach
from golb.forwarding import IDEMPOTENT
from golb.headers import switches_as_asked, with_lead, without_hop_by_hop
from golb.pipes import PipePool
from golb.upstream.connection import StaleConnectionError, UpstreamConnection
from golb.upstream.pool import Pool
from golb.upstream.rests import rest_policy
from golb.upstream.tunnel import relay_tunnel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from golb.asgi import Event, Receive, ReceiveInto
    from golb.config import Config
    from golb.deadlines import Deadlines, TimeoutQueue
    from golb.forwarding import Call
    from golb.health import Health, RestingEndpoints
    from golb.pipes import Pipe
    from golb.upstream.answers import Answer
    from golb.upstream.connection import EndpointStream
    from golb.weights import Endpoint

LOG = structlog.get_logger()

# A client is watched once its answer has taken so long: most answers are there by then, and cost nothing for it.
_WATCH_AFTER_S: Final = 0.05
# How long to wait for an endpoint's 100 before the body is sent without (RFC 9110, 10.1.1).
_CONTINUE_TIMEOUT_S: Final = 1.0
# What is left of a body goes by a pipe if it is at least so long; below that a pipe costs more than it saves.
PIPED_BYTES: Final = 65536

_CONTINUE_STATUS: Final = 100
_TUNNEL_STATUS: Final = 101


class Upstream:
    """All connections to endpoints.

    Args:
        open_stream: opens a connection to an endpoint, as `open_socket` does.
        deadlines: keeps the timeouts below; all in seconds, 0 = none.
        connect_timeout_s: for a connection to be there.
        response_timeout_s: for an answer's head, and for each further piece of it.
        idle_timeout_s: after which an unused connection is closed.
        max_idle: connections kept open to one endpoint while they are not used.
        resting: the endpoints that rest because they failed; kept here, and heeded by whoever chooses endpoints.
    """

    def __init__(
        self,
        open_stream: Callable[[Endpoint], Awaitable[EndpointStream]],
        deadlines: Deadlines,
        *,
        connect_timeout_s: float,
        response_timeout_s: float,
        idle_timeout_s: float,
        max_idle: int,
        resting: RestingEndpoints,
    ) -> None:
        self.open_stream = open_stream
        self.resting = resting
        self._deadlines = deadlines
        self.connect_timeout_s = connect_timeout_s or float("inf")
        self.max_idle = max_idle
        self.timeouts: TimeoutQueue[UpstreamConnection] = deadlines.queue(response_timeout_s, self._time_out)
        """Of waits for an endpoint, to read or to answer."""
        self.idle_timeouts: TimeoutQueue[UpstreamConnection] = deadlines.queue(
            idle_timeout_s, lambda connection: connection.pool.forget(connection)
        )
        self._pipes = PipePool()
        self._watch_queue = deadlines.queue(_WATCH_AFTER_S, self._start_watching)
        self._nursery: trio.Nursery | None = None

    @property
    def now_s(self) -> float:
        """The time by which endpoints rest, in seconds, up to a tick late."""
        return self._deadlines.now_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """House the tasks that watch clients; ready at once, ends only by cancellation."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._pipes.close()
        raise AssertionError  # sleep_forever does not return

    def reconfigure(self, config: Config) -> None:
        """Take new timeouts and rests over. Waits under way go by the new timeouts; a rest under way ends as it would have, unless none are wanted."""
        self.connect_timeout_s = config.connect_timeout or float("inf")
        self.max_idle = config.upstream_max_idle
        self.timeouts.timeout_s = config.response_timeout
        self.idle_timeouts.timeout_s = config.upstream_idle_timeout
        self.resting.policy = rest_policy(config)
        if not self.resting.policy.is_on:
            self.resting.end_all()

    def open(self, endpoint: Endpoint) -> Pool:
        """Begin to use an endpoint."""
        return Pool(endpoint, self)

    def close(self, pool: Pool) -> None:
        """End using it; answers under way go on."""
        self.resting.forget(pool.health)
        pool.close()

    async def forward(self, pool: Pool, call: Call) -> None:
        """Send a request to an endpoint and pass its answer on.

        Raises:
            NoConnection: the endpoint cannot be reached, and got nothing.
            UpstreamError: no answer could be had, and nothing was sent to the client.
            AnswerBroken: the answer broke off; the client must see that.
            ClientGone: nobody is there to answer.
        """
        health = pool.health
        is_trial = health.is_resting
        if is_trial:
            self.resting.begin_trial(health, self.now_s)
        uploads = call.more_body  # whatever of the body has passed by then is lost to a second try
        connection = pool.take()
        try:
            if connection is None:
                connection = await pool.connect()
            is_stale = False
            try:
                await self._exchange(connection, call, uploads=uploads)
            except StaleConnectionError as stale:
                if stale.sent and (uploads or call.method not in IDEMPOTENT):
                    raise
                is_stale = True
            if is_stale:
                connection.abort()
                connection = await pool.connect()
                await self._exchange(connection, call, uploads=uploads)
        except BaseException as exc:
            if connection is not None:
                connection.abort()
            if isinstance(exc, UpstreamError | AnswerBroken) and not isinstance(exc, LocalError):
                self._note_failure(health, exc, is_trial=is_trial)
            if is_trial:
                self.resting.end_trial(health)
            raise
        pool.put(connection)
        if health.failures:
            self.resting.succeed(health, trial=is_trial)
        if is_trial:
            self.resting.end_trial(health)

    def _note_failure(self, health: Health, exc: UpstreamError | AnswerBroken, *, is_trial: bool) -> None:
        unsent = isinstance(exc, NoConnection)
        self.resting.fail(health, self.now_s, str(exc), unsent=unsent, trial=is_trial)

    def _exchange(self, connection: UpstreamConnection, call: Call, *, uploads: bool) -> Coroutine[Any, Any, None]:
        return self._exchange_with_upload(connection, call) if uploads else self._exchange_at_once(connection, call)

    async def _exchange_at_once(self, connection: UpstreamConnection, call: Call) -> None:
        request = call.head
        if call.body:
            request += call.body
            call.bytes_in = call.body_bytes
        # The endpoint may have begun on it while golb does the rest.
        is_sent = connection.stream.send_later(request)
        connection.begin(call.receive, head_request=call.method == "HEAD")
        self._watch_queue.start(connection.wait, connection)
        failure: BaseException | None = None
        try:
            if not is_sent:
                await connection.write(request)
            await self._relay_answer(connection, call, None)
        except BaseException as exc:  # noqa: BLE001 - raised below: neither a handler nor a `finally` may wait, see golb/mypyc.py
            failure = exc
        self._watch_queue.stop(connection.wait)
        if connection.watcher is not None:
            await connection.end_watch()
        if failure is not None:
            try:
                raise failure
            finally:
                failure = None  # its traceback leads here: kept, the two would be a cycle

    async def _exchange_with_upload(self, connection: UpstreamConnection, call: Call) -> None:
        connection.begin(call.receive, head_request=call.method == "HEAD")
        connection.request_sent = False
        call.bytes_in = call.body_bytes
        await connection.write(call.head + call.body)
        failure: Exception | None = None
        asked_for_body = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload, connection, call, asked_for_body)
            try:
                await self._relay_answer(connection, call, asked_for_body)
            except Exception as exc:  # noqa: BLE001 - raised below, as itself and not in a group
                failure = exc
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not connection.request_sent:
            connection.spoil()  # the endpoint still waits for the rest

    async def _upload(self, connection: UpstreamConnection, call: Call, asked_for_body: trio.Event) -> None:
        """Send the body as it comes, then watch the client.

        The endpoint's time to answer begins at the end of the body: how long that takes is up to the client.
        """
        try:
            if call.expects_continue:
                with trio.move_on_after(_CONTINUE_TIMEOUT_S):
                    await asked_for_body.wait()
                if connection.answer.status:  # answered without the body
                    connection.watch()
                    return
            received = bool(call.body)
            while call.more_body:
                if received and call.receive_into is not None and (call.bytes_left or 0) >= PIPED_BYTES:
                    await self._upload_by_pipe(connection, call, call.receive_into)
                elif data := call.frame(await call.receive()):
                    await connection.write(data)
                received = True
            connection.request_sent = True
            connection.watch()
            await _wait_for_disconnect(call.receive)
            connection.abort(ClientGone("the client went away before its answer was there"))
        except ClientGone as exc:
            connection.abort(exc)
        except UpstreamError:
            connection.watch()  # the endpoint reads no more: why, its answer or its failure tells the reader

    async def _upload_by_pipe(self, connection: UpstreamConnection, call: Call, receive_into: ReceiveInto) -> None:
        pipe = self._pipes.take()
        if pipe is None:
            call.receive_into = None
            return
        try:
            while call.more_body:
                call.pass_body(await receive_into(pipe))
                await connection.write_from(pipe)
        finally:
            self._pipes.give_back(pipe)

    async def _relay_answer(
        self, connection: UpstreamConnection, call: Call, asked_for_body: trio.Event | None
    ) -> None:
        send = call.send
        answer = await connection.read_head()
        while answer.interim is not None:
            await self._relay_interim(answer, call, asked_for_body)
            await connection.read_head()
        call.answered_s = perf_counter()
        call.status = answer.status
        if asked_for_body is not None:
            asked_for_body.set()
        event: Event = {"type": "http.response.start", "status": answer.status}
        if answer.final_hosts or answer.forwarded_for:
            event["headers"] = with_lead(call.lead, answer.headers, answer.final_hosts, answer.forwarded_for)
        elif call.lead_lines and answer.lines:
            event["golb.lines"] = [*call.lead_lines, *[line.written for line in answer.lines]]
            event["golb.length"] = answer.lines[-1].length
        else:
            event["headers"] = call.lead + answer.headers
        if answer.status == _TUNNEL_STATUS:
            granted = [value for name, value in answer.headers if name == b"upgrade"]
            if not (answer.upgraded and call.upgrade and switches_as_asked(granted, call.upgrade)):
                raise UpstreamError("the endpoint switched to another protocol without being asked")
            connection.spoil()
            # From here on `receive` is the tunnel's.
            self._watch_queue.stop(connection.wait)
            if connection.watcher is not None:
                await connection.end_watch()
            await send(event)
            connection.stream.give_way(gives_way=True)
            await relay_tunnel(connection, call)
            return
        # Whether trailers come is known only at the end, but has to be announced here.
        trailers = (
            answer.chunked
            and (not answer.complete or bool(answer.trailers))
            and "http.response.trailers" in call.extensions
        )
        if trailers:
            event["trailers"] = True
        await send(event)
        if answer.complete:
            call.came_whole = True
            last = answer.take_body()
        else:
            # The answer has begun; what is to come of it takes turns with requests, whose answers wait for their beginning.
            connection.stream.give_way(gives_way=True)
            last = await self._relay_body(connection, answer, call, by_pipe="golb.pipe" in call.extensions)
            connection.stream.give_way(gives_way=False)
        call.bytes_out += len(last)
        await send({"type": "http.response.body", "body": last})
        if trailers:
            await send({"type": "http.response.trailers", "headers": answer.trailers})

    async def _relay_body(self, connection: UpstreamConnection, answer: Answer, call: Call, *, by_pipe: bool) -> bytes:
        """Pass the body on as it comes; return its last piece, which is for the caller to pass on."""
        send = call.send
        if not answer.body:  # it may be long in coming, and the head is not to wait for it
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        while True:
            try:
                body = await connection.read_body()
            except UpstreamError as exc:
                raise AnswerBroken(str(exc)) from exc
            if answer.complete:
                return body
            call.bytes_out += len(body)
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if by_pipe and (answer.bytes_left or 0) >= PIPED_BYTES:
                pipe = self._pipes.take()
                if pipe is not None:
                    await self._relay_body_by_pipe(connection, answer, call, pipe)
                    return b""

    async def _relay_body_by_pipe(self, connection: UpstreamConnection, answer: Answer, call: Call, pipe: Pipe) -> None:
        """Pass all of the body on, but for its end, which is for the caller."""
        try:
            while not answer.complete:
                try:
                    await connection.read_body_into(pipe)
                except UpstreamError as exc:
                    raise AnswerBroken(str(exc)) from exc
                call.bytes_out += pipe.held
                await call.send({"type": "http.response.body", "golb.pipe": pipe, "more_body": True})
        finally:
            self._pipes.give_back(pipe)

    async def _relay_interim(self, answer: Answer, call: Call, asked_for_body: trio.Event | None) -> None:
        for status, headers in answer.interim or ():
            if status == _CONTINUE_STATUS:
                # It is for golb: the client gets its own when its body is read.
                if asked_for_body is not None:
                    asked_for_body.set()
            elif "golb.informational" in call.extensions:
                event = {"type": "golb.informational", "status": status, "headers": without_hop_by_hop(headers)}
                await call.send(event)
        answer.interim = None

    def _time_out(self, connection: UpstreamConnection) -> None:
        connection.abort(UpstreamTimeoutError(f"no answer within {self.timeouts.timeout_s:g} s"))

    def _start_watching(self, connection: UpstreamConnection) -> None:
        connection.watch()
        if self._nursery is not None and connection.receive is not None:
            connection.watcher = watcher = _Watcher(connection, connection.receive)
            self._nursery.start_soon(watcher.run)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Watcher:
    """A task that waits for a client to go away, and then breaks off what is done for it."""

    def __init__(self, connection: UpstreamConnection, receive: Receive) -> None:
        self._connection = connection
        self._receive = receive
        self._scope = trio.CancelScope()
        self._done = trio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                await _wait_for_disconnect(self._receive)
                self._connection.abort(ClientGone("the client went away before its answer was there"))
        except Exception:  # `receive` may be any server's; nothing of it reaches the other requests
            LOG.exception("client cannot be watched")
            self._connection.abort(ClientGone("the client could not be watched"))
        finally:
            self._done.set()

    async def stop(self) -> None:
        """End the task; when this returns, nobody calls `receive` any more."""
        self._scope.cancel()
        await attach()
        with trio.CancelScope(shield=True):  # the task waits for nothing but what has just been cancelled
            await self._done.wait()

"""Weighted round robin: forwards each function call to the endpoint whose turn it is."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final

import structlog

from golb.errors import AnswerBroken, ClientGone, NoConnection, NoEndpoint, NoFunction, Overloaded, UpstreamError
from golb.forwarding import Call, RequestHeaders
from golb.handlers.base import Handler
from golb.handlers.failover import RetryBudget, is_replayable, may_be_sent_again
from golb.handlers.places import Caller, Destination, Member, Places
from golb.handlers.reports import function_report
from golb.headers import TOKEN, X_FINAL_HOST, X_FORWARDED_FOR, canonical, frame_chunk, mark_name
from golb.history import WeightHistory
from golb.line_budget import LineBudget
from golb.mypyc import mypyc_attr
from golb.routes import split_target

if TYPE_CHECKING:
    from golb.asgi import Event, Receive, Scope, Send
    from golb.config import Config
    from golb.errors import GolbError
    from golb.handlers.base import HandlerContext
    from golb.headers import Headers
    from golb.history import Change
    from golb.routes import Route
    from golb.weights import Endpoint, WeightUpdate

LOG = structlog.get_logger()

# In front of what differs from one request, or one answer, to the next; each with the end of the line before.
_HOST_START: Final = b" HTTP/1.1\r\nHost: "
_FINAL_HOST_START: Final = b"\r\n" + canonical(X_FINAL_HOST) + b": "
_CHAIN_START: Final = b"\r\n" + canonical(X_FORWARDED_FOR) + b": "
_NO_EXTENSIONS: Final[dict[str, Any]] = {}
# A request that has been sent, or has lost time, is sent again so often at most: it may be what the endpoints fail by.
_MORE_TRIES: Final = 2
# One that endpoints have refused at once goes on for longer, but not through a thousand of them.
_MORE_QUICK_TRIES: Final = 10
# Golb's own servers refuse these themselves; another one may not.
_NOT_IN_TARGET: Final = re.compile(rb"[\x00-\x20\x7f]")
# Whether their marks count is worked out once, some microseconds each.
_KNOWN_PEERS: Final = 4096


@mypyc_attr(allow_interpreted_subclasses=True)
class WeightedRoundRobinHandler(Handler):
    """The load balancer proper."""

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        # What a class made from this one waits for is not known here.
        self.runs_in_fibers = type(self) is WeightedRoundRobinHandler
        config = context.config
        self._upstream = context.upstream
        self._zone = config.zone
        self._has_weights = False
        self.history = WeightHistory()
        """It is read in slices, as it may be long, so no report has it."""
        self._failure_lines = LineBudget(perf_counter, lambda times: LOG.warning("more calls failed", times=times))
        self._unknown_function = 0
        self._no_function_call = 0
        self._places = Places(config, context.upstream, self._open, self._close)
        self._routes = self._places.routes
        self.retries = RetryBudget(
            config.retry_budget / 100,
            config.retry_budget_min,
            waiting=config.queue,
            timeout_s=config.queue_timeout,
        )
        self._node = config.node_name.encode("ascii")
        self._mark = mark_name(config.node_name)
        self._mark_line_start = b"\r\n" + canonical(self._mark) + b": "
        self._answer_lines = _CHAIN_START + self._node + self._mark_line_start
        """In front of an answer's own, between the endpoint and the time in this node's mark."""
        self._node_header = (X_FORWARDED_FOR, self._node)
        self._set_switches(config)

    def handle_weight_update(self, update: WeightUpdate) -> None:
        self.history.add(update, time_ns() / 1e9)
        self._places.apply(update)

    def handle_weights_loaded(self) -> None:
        self._has_weights = True

    def handle_config(self, config: Config) -> None:
        self._set_switches(config)
        self._places.reconfigure(config)
        self.retries.reconfigure(
            config.retry_budget / 100,
            config.retry_budget_min,
            waiting=config.queue,
            timeout_s=config.queue_timeout,
        )

    def _set_switches(self, config: Config) -> None:
        self._logs_requests = config.log_level == "debug"
        self._fails_over = config.failover
        trusted = config.trusted_proxies
        self._trusts = None if trusted.trusts_all else lru_cache(_KNOWN_PEERS)(trusted.trusts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request; answer it here where it cannot be forwarded."""
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served here")
        target = scope.get("golb.target")
        if target is None:
            target = _target(scope)
            if _NOT_IN_TARGET.search(target) or not TOKEN.fullmatch(scope["method"].encode()):
                cause = "the request's method or target could not stand in a request line"
                await _answer(scope, send, HTTPStatus.BAD_REQUEST, cause, [])
                return
        split = split_target(target)
        if split is None:
            self._no_function_call += 1
            cause = f"{_shown(target)} calls no function of zone {self._zone}; /function/<function>/... would"
            await _answer(scope, send, HTTPStatus.NOT_FOUND, cause, [])
            return
        began_s = perf_counter()
        name, rest = split
        notes = scope.get("golb.notes")
        if notes is not None:
            notes.function = name
        # In front of the answer's own headers. The first stays empty until an endpoint is chosen.
        lead = [(X_FINAL_HOST, b""), self._node_header, (self._mark, _now())]
        places = self._places
        route = self._routes.get(name)
        if route is None and not places.is_limited:
            await self._answer_nowhere(scope, send, NoFunction(), name, lead)
            return
        headers = RequestHeaders(scope["headers"], self._mark)
        if not headers.is_plain:
            if headers.has_own_mark:
                await self._answer_loop(scope, send, name, lead)
                return
            if self._trusts is not None:
                client = scope["client"]
                if client is None or not self._trusts(client[0]):
                    headers.distrust()
        call = Call(scope["method"], lead, receive, send, scope.get("extensions") or _NO_EXTENSIONS, began_s)
        lack: NoFunction | NoEndpoint | Overloaded | None = None
        try:
            if not headers.is_plain or scope["http_version"] >= "2":
                await _take_what_has_arrived(call, scope, headers)
            schedule = None if route is None else route.direct_local if headers.forwarded else route.direct
            # What nearly every request meets is a schedule: no bound to keep, and nobody rests.
            if route is None or schedule is None or places.is_limited:
                caller = Caller(name, headers.forwarded, is_replayable(call.method, more_body=call.more_body))
                route, member = await places.enter(caller, None if call.more_body else receive)
                lead[2] = (self._mark, _now())
                call.ready_s = perf_counter()
            else:
                member = schedule.next()
                places.begin(route, member)
        except (NoFunction, NoEndpoint, Overloaded) as exc:
            lack = exc.with_traceback(None)  # which leads here: kept, the two would be a cycle
        except ClientGone:
            if route is not None:
                route.gone += 1
            raise
        if route is None or lack is not None:
            await self._answer_nowhere(scope, send, lack or NoFunction(), name, lead)
            return
        await self._forward(scope, target, rest, headers, call, route, member)

    async def _forward(
        self,
        scope: Scope,
        target: bytes,
        rest: bytes,
        headers: RequestHeaders,
        call: Call,
        route: Route,
        member: Member,
    ) -> None:
        """Ask the endpoint, and others where one fails and the request may be sent again; count what becomes of it.

        Args:
            scope: of the request.
            target: as the client sent it, and a gateway gets it.
            rest: of the target, as the function gets it.
            headers: of the request.
            call: all but its head.
            route: the function, in which `member` has been begun; left when this ends.
            member: the first to ask.
        """
        notes = scope.get("golb.notes")
        replayable = is_replayable(call.method, more_body=call.more_body)
        takes_lines = "golb.lines" in call.extensions
        tried: list[Member] = []
        try:
            while True:
                member.calls += 1
                destination = member.destination
                seen_target = target if destination.is_gateway else rest
                chain = headers.chain(self._node, scope["client"])
                if notes is not None:
                    notes.ask(destination.pool.endpoint, seen_target, chain, headers.lines)
                authority = destination.authority
                call.lead[0] = (X_FINAL_HOST, authority)
                if takes_lines:
                    call.lead_lines = [_FINAL_HOST_START, authority, self._answer_lines, call.lead[2][1]]
                call.head = headers.head(
                    [
                        call.method.encode(),
                        b" ",
                        seen_target,
                        _HOST_START,
                        authority,
                        _FINAL_HOST_START,
                        authority,
                        _CHAIN_START,
                        chain,
                        self._mark_line_start,
                        call.lead[2][1],
                    ],
                    upgrade=bool(call.upgrade),
                    expects_continue=call.expects_continue,
                    to_gateway=destination.is_gateway,
                )
                call.sent_s = perf_counter()
                failure: UpstreamError | None = None
                try:
                    await self._upstream.forward(destination.pool, call)
                    member.count(call.status)
                except UpstreamError as exc:
                    failure = exc.with_traceback(None)  # as above
                except AnswerBroken as broken:
                    member.failures += 1
                    route.broken += 1
                    self._log_failure("answer broke off", route, member, broken)
                    raise
                finally:
                    member.bytes_in += call.bytes_in
                    member.bytes_out += call.bytes_out
                if failure is None:
                    break
                member.failures += 1
                if notes is not None:
                    notes.fail(failure)
                other = await self._another(
                    route, member, tried, failure, forwarded=headers.forwarded, replayable=replayable
                )
                self._log_failure("call failed", route, member, failure, other)
                if other is None:
                    await self._answer_failure(scope, call, route, member, failure)
                    break
                member = other
                member.retries += 1
                call.forget_answer()
                call.ready_s = perf_counter()
                call.lead[2] = (self._mark, _now())
        except ClientGone:
            route.gone += 1
            raise
        finally:
            self._places.leave(route, member)
            if tried:
                self.retries.give_back()
        ended_s = perf_counter()
        own_s = call.sent_s - call.ready_s + (ended_s - call.answered_s if call.came_whole else 0.0)
        route.count(call.status, ended_s - call.began_s, call.answered_s - call.began_s, own_s)
        if notes is not None:
            notes.own_s = own_s
        if self._logs_requests:
            endpoint = str(member.destination.pool.endpoint)
            LOG.debug("called", function=route.function, endpoint=endpoint, method=call.method)

    def function_names(self) -> list[str]:
        return self.history.functions()

    def function_report(self, function: str) -> dict[str, Any] | None:
        route = self._routes.get(function.encode())
        if route is None:
            return None
        return function_report(route, self._places, self.history.last(function), self._upstream.now_s)

    def weight_changes(self, function: str) -> list[Change]:
        return self.history.of(function)

    def totals(self) -> dict[str, Any]:
        places, resting, retries = self._places, self._upstream.resting, self.retries
        return {
            "functions": len(self._routes),
            "in_flight": places.in_flight,
            "waiting": places.queue.waiting,
            "held": places.held.waiting,
            "unknown_function": self._unknown_function,
            "no_function_call": self._no_function_call,
            "second_tries": {"in_use": retries.in_use, "begun": retries.begun, "exhausted": retries.exhausted},
            "resting": len(resting),
            "rests_begun": resting.begun,
        }

    async def _another(
        self,
        route: Route,
        failed: Member,
        tried: list[Member],
        exc: UpstreamError,
        *,
        forwarded: bool,
        replayable: bool,
    ) -> Member | None:
        """Return the endpoint to ask instead of one that has failed; None if the request may not be sent again."""
        if not (self._fails_over and may_be_sent_again(exc, replayable=replayable)):
            return None
        if len(tried) >= (_MORE_QUICK_TRIES if isinstance(exc, NoConnection) and exc.quick else _MORE_TRIES):
            return None
        if not tried and not await self.retries.take(lambda: self._places.in_flight):
            return None
        tried.append(failed)
        return self._places.move(route, failed, tried, local=forwarded)

    async def _answer_loop(self, scope: Scope, send: Send, name: bytes, lead: Headers) -> None:
        """Answer a request that has been here before."""
        route = self._routes.get(name)
        if route is not None:
            route.loops += 1
        cause = f"function {_shown(name)}: this call has passed {self._node.decode()} before, it is in a loop"
        await _answer(scope, send, HTTPStatus.LOOP_DETECTED, cause, lead)

    async def _answer_failure(self, scope: Scope, call: Call, route: Route, failed: Member, exc: UpstreamError) -> None:
        """Answer a request in place of an endpoint that has failed."""
        cause = f"function {route.function} in zone {self._zone}: endpoint {failed.destination.pool.endpoint}: {exc}"
        await _answer(scope, call.send, exc.status, cause, call.lead)
        call.status, call.answered_s = exc.status, perf_counter()

    async def _answer_nowhere(
        self, scope: Scope, send: Send, exc: NoFunction | NoEndpoint | Overloaded, name: bytes, lead: Headers
    ) -> None:
        """Answer a request that goes to no endpoint."""
        status = HTTPStatus.SERVICE_UNAVAILABLE
        route = self._routes.get(name)
        if isinstance(exc, Overloaded):
            if route is not None:
                route.overloaded += 1
            cause = f"function {_shown(name)} in zone {self._zone}: {exc}"
        elif isinstance(exc, NoEndpoint):
            if route is not None:
                route.no_endpoint += 1
            cause = self._no_endpoint(name)
        elif self._has_weights:
            self._unknown_function += 1
            status = HTTPStatus.NOT_FOUND
            cause = f"zone {self._zone} has no function {_shown(name)}"
        else:
            cause = f"the weights of zone {self._zone} have not been loaded yet"
        await _answer(scope, send, status, cause, lead)

    def _log_failure(
        self,
        event: str,
        route: Route,
        member: Member,
        exc: GolbError,
        other: Member | None = None,
    ) -> None:
        if self._failure_lines.take():
            endpoint = str(member.destination.pool.endpoint)
            again = {} if other is None else {"sent_to": str(other.destination.pool.endpoint)}
            LOG.warning(event, function=route.function, endpoint=endpoint, cause=str(exc), **again)

    def _no_endpoint(self, name: bytes) -> str:
        route = self._routes.get(name)
        if route is not None and route.every:  # so it was `local` that had none
            return (
                f"function {_shown(name)} has no endpoint of its own in zone {self._zone}, "
                "and a call that another load balancer forwarded goes to no gateway"
            )
        return f"function {_shown(name)} has no endpoint with a positive weight in zone {self._zone}"

    def _open(self, endpoint: Endpoint) -> Destination:
        return Destination(self._upstream.open(endpoint))

    def _close(self, destination: Destination) -> None:
        self._upstream.close(destination.pool)


async def _take_what_has_arrived(call: Call, scope: Scope, headers: RequestHeaders) -> None:
    """Take what of the body need not be waited for, and note how the rest is to come.

    An endpoint may answer before the body has come, so a body that has not come must not hold the head back. Only
    in HTTP/2 and 3 without a length nothing but the first event tells whether there is a body at all.
    """
    event: Event = {}
    more_body = True
    if scope.get("golb.body_ready", False) or (scope["http_version"] >= "2" and headers.length is None):
        asked_s = perf_counter()
        event = await call.receive()
        call.ready_s += perf_counter() - asked_s  # to wait is no work
        if event["type"] == "http.disconnect":
            raise ClientGone("the client went away before its request was complete")
        more_body = bool(event.get("more_body", False))
    body = bytes(event.get("body", b""))
    if headers.length is not None:
        call.body, call.body_bytes = body, len(body)
        call.more_body = more_body and len(body) < headers.length
        call.bytes_left = headers.length - len(body)
    else:
        headers.chunked = headers.chunked or more_body or bool(body)
        if headers.chunked:
            headers.is_plain = False
            call.body = frame_chunk(body, None if more_body else event.get("trailers", []))
            call.body_bytes, call.more_body, call.bytes_left = len(body), more_body, None
    call.expects_continue = headers.expects_continue and call.more_body and not call.body
    if headers.upgrade and "golb.tunnel" in call.extensions:
        call.upgrade = headers.upgrade
    if call.more_body:
        call.receive_into = scope.get("golb.receive_into")


def _now() -> bytes:
    """Return the time in seconds since 1970, with 7 decimals. Formatting a float takes three times as long."""
    digits = b"%d" % time_ns()
    return digits[:-9] + b"." + digits[-9:-2]


def _target(scope: Scope) -> bytes:
    """Put the request target together again, for servers that have only its parts."""
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path


async def _answer(scope: Scope, send: Send, status: int, cause: str, lead: Headers) -> None:
    """Answer in golb's own name."""
    notes = scope.get("golb.notes")
    if notes is not None:
        notes.error = cause
    text = f"golb: {cause}\n".encode()
    headers = [*lead, (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"1"))  # the weights change every second or so
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})


def _shown(text: bytes) -> str:
    """Show what a client sent, in one line and not for long."""
    return ascii(text[:100].decode("utf-8", "replace"))

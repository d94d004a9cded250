"""The spans of a call: one for the call as its client sees it, one for each endpoint that is asked.

An endpoint gets the context of its own span in place of the client's (W3C Trace Context), so that its spans hang below.
`tracestate` and `baggage` go on as they are. Names and attributes follow OpenTelemetry's conventions for HTTP.
A thread of the SDK exports the spans, in batches, and drops what comes faster than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from golb import __version__
from golb.calls import TRACEPARENT
from golb.headers import canonical

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from golb.calls import CallRecord
    from golb.errors import UpstreamError
    from golb.headers import Headers
    from golb.weights import Endpoint

_TRACEPARENT_START = b"\r\n" + canonical(TRACEPARENT) + b": "
_TRACESTATE_START = b"\r\n" + canonical(b"tracestate") + b": "
# Of version 00; later ones may be longer, and OpenTelemetry would log each that is very long.
_MAX_TRACEPARENT_BYTES = 256
# Spans wait in memory to be exported.
_MAX_TEXT = 1024
# How long the last spans may take to be exported when golb ends.
_END_S = 2.0
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of all calls.

    Args:
        node: this node's name, in each span's resource unless OTEL_RESOURCE_ATTRIBUTES says otherwise.
        zone: likewise.
    """

    def __init__(self, node: str, zone: str) -> None:
        own = {
            "service.name": "golb",
            "service.version": __version__,
            "service.instance.id": node,
            "golb.zone": zone,
        }
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        # At exit it would wait for a collector that is away; `run` bounds that.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("golb", __version__)

    def begin(self, method: str, headers: Headers) -> Trace:
        """Begin the span of a call, below the one that its `traceparent` names; header names in lower case."""
        return Trace(self._tracer, method, _parent(headers))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Export what is left when golb ends, for two seconds at most; ready at once, ends only by cancellation."""
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(_END_S, shield=True):
                await trio.to_thread.run_sync(self._provider.shutdown, abandon_on_cancel=True)
        raise AssertionError  # not reached


class Trace:
    """The spans of one call, from `begin` to `end`, which has to come."""

    __slots__ = ("_asked", "_call", "_context", "_has_parent", "_method", "_times_asked", "_tracer")

    def __init__(self, tracer: Tracer, method: str, parent: Context | None) -> None:
        self._tracer = tracer
        self._method = method
        self._has_parent = parent is not None
        self._call = tracer.start_span(method, parent, SpanKind.SERVER, {"http.request.method": method})
        self._context = set_span_in_context(self._call)
        self._asked: Span | None = None
        self._times_asked = 0

    def ask(self, endpoint: Endpoint, target: bytes, lines: list[bytes]) -> None:
        """Begin the span of a call to an endpoint, before its head is written.

        Args:
            endpoint: which one.
            target: as it gets it.
            lines: of the head, as `RequestHeaders` has them; its `traceparent` is replaced.
        """
        attributes: dict[str, AttributeValue] = {
            "http.request.method": self._method,
            "server.address": endpoint.host,
            "server.port": endpoint.port,
            "url.full": f"http://{endpoint.authority}{target[:_MAX_TEXT].decode('latin-1')}",
        }
        if self._times_asked:
            attributes["http.request.resend_count"] = self._times_asked
        self._times_asked += 1
        self._asked = self._tracer.start_span(self._method, self._context, SpanKind.CLIENT, attributes)
        context = self._asked.get_span_context()
        if context.is_valid:  # it is not where OTEL_SDK_DISABLED is set
            dropped = (_TRACEPARENT_START,) if self._has_parent else (_TRACEPARENT_START, _TRACESTATE_START)
            value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            lines[:] = [line for line in lines if not line.startswith(dropped)]
            lines.append(_TRACEPARENT_START + value.encode("ascii"))

    def fail(self, exc: UpstreamError) -> None:
        """End the span of a call to an endpoint that failed."""
        if self._asked is not None:
            self._asked.set_attribute("error.type", type(exc).__name__)
            self._asked.set_status(Status(StatusCode.ERROR, str(exc)))
            self._asked.end()
            self._asked = None

    def end(self, record: CallRecord) -> None:
        """End what has not ended."""
        if self._asked is not None:
            _end(self._asked, record, _CLIENT_ERROR)
        call = self._call
        if call.is_recording():
            path, question_mark, query = record.target[:_MAX_TEXT].partition("?")
            attributes: dict[str, AttributeValue] = {
                "url.path": path,
                "client.address": record.client,
                "network.protocol.version": record.http_version,
                "http.request.body.size": record.bytes_in,
                "http.response.body.size": record.bytes_out,
                "golb.function": record.function[:_MAX_TEXT],
                "golb.retries": record.retries,
                "golb.request_id": record.request_id,
            }
            if question_mark:
                attributes["url.query"] = query
            if self._times_asked:  # so there is such a function: clients cannot make up names of spans
                route = f"/function/{record.function}"
                attributes["http.route"] = route
                call.update_name(f"{self._method} {route}")
            call.set_attributes(attributes)
        _end(call, record, _SERVER_ERROR)


def _end(span: Span, record: CallRecord, error_from: int) -> None:
    if record.status:
        span.set_attribute("http.response.status_code", record.status)
    if record.error is not None or record.status >= error_from:
        span.set_attribute("error.type", str(record.status) if record.status >= error_from else "_OTHER")
        span.set_status(Status(StatusCode.ERROR, record.error))
    span.end()


def _parent(headers: Headers) -> Context | None:
    """Return what `traceparent` names; None where it is missing, malformed, or there are two."""
    values = [value for name, value in headers if name == TRACEPARENT]
    if len(values) != 1 or len(values[0]) > _MAX_TRACEPARENT_BYTES:
        return None
    return _PROPAGATOR.extract({"traceparent": values[0].decode("latin-1")}) or None

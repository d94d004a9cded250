"""An OTLP collector for tests: what it is sent over HTTP it parses and keeps."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from attrs import define, field
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Iterator


@define
class Collector:
    """What has come so far."""

    port: int
    spans: list[Any] = field(factory=list)
    resources: list[dict[str, str]] = field(factory=list)
    """Attributes that are texts, of each export."""
    paths: list[str] = field(factory=list)
    """Of the URLs."""

    def of_servers(self) -> list[Any]:
        """Return the spans of calls, in the order in which they began."""
        return self._of_kind(Span.SPAN_KIND_SERVER)

    def of_clients(self) -> list[Any]:
        """Return the spans of calls to endpoints, in the order in which they began."""
        return self._of_kind(Span.SPAN_KIND_CLIENT)

    def _of_kind(self, kind: int) -> list[Any]:
        found = [span for span in self.spans if span.kind == kind]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Run a collector on a free port of loopback, in threads of its own."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.paths.append(self.path)
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                texts = {one.key: one.value.string_value for one in of_resource.resource.attributes}
                collector.resources.append(texts)
                for of_scope in of_resource.scope_spans:
                    collector.spans.extend(of_scope.spans)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        collector = Collector(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()

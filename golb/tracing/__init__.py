"""Traces of calls, by OpenTelemetry: the extra `golb[otel]`."""

from golb.tracing.loading import load_tracing

__all__ = ["load_tracing"]

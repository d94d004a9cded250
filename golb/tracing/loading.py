"""OpenTelemetry is loaded only where it is wanted: it is an extra, takes half a second to import, and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golb.errors import ConfigError

if TYPE_CHECKING:
    from golb.tracing.spans import Tracing


def load_tracing(node: str, zone: str) -> Tracing:
    """Make what traces calls; it reads the `OTEL_*` variables, as OpenTelemetry's SDK has them.

    Raises:
        ConfigError: the SDK is not installed, or one of these variables holds what it cannot.
    """
    try:
        from golb.tracing.spans import Tracing  # noqa: PLC0415 - see above
    except ModuleNotFoundError as exc:
        raise ConfigError(f"eb_go_lb_tracing is 'otlp', which needs golb[otel]: there is no module {exc.name}") from exc
    try:
        return Tracing(node, zone)
    except ValueError as exc:
        raise ConfigError(f"eb_go_lb_tracing is 'otlp', and a variable for it, OTEL_..., is refused: {exc}") from exc

"""A run's records as traces of OpenTelemetry: one for each task, with what `kon explain` tells of it."""

from kon.tracing.choice import Choice, chosen
from kon.tracing.gather import gathered
from kon.tracing.spans import Origin, Span, spans_of

__all__ = ["Choice", "Origin", "Span", "chosen", "gathered", "spans_of"]
